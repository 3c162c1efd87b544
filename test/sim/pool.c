#include "test/sim/pool.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/run.h"

enum { CPU_SECONDS_MAX = 300 }; /* a world needs some hundredths of one; under a sanitizer, or valgrind, more */

struct place {
    pid_t pid; /* 0: free */
    struct outcome *outcome;
    pool_done_fn *done;
    void *arg;
};

struct pool {
    int jobs;
    struct place *places;
};

struct pool *pool_new(int jobs)
{
    struct pool *p = mem_zero(1, sizeof(*p));

    p->jobs = jobs;
    p->places = mem_zero((size_t)jobs, sizeof(*p->places));
    for (int i = 0; i < jobs; i++) {
        void *shared = mmap(NULL, sizeof(struct outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        CHECK(shared != MAP_FAILED);
        p->places[i].outcome = shared;
    }
    return p;
}

void pool_free(struct pool *p)
{
    for (int i = 0; i < p->jobs; i++)
        (void)munmap(p->places[i].outcome, sizeof(struct outcome)); /* it was mapped like this */
    free(p->places);
    free(p);
}

/* The process died of itself. */
static void note_crash(struct outcome *o, int status)
{
    str_copy(o->invariant, sizeof(o->invariant), "crash");
    if (WIFSIGNALED(status))
        (void)snprintf(o->text, sizeof(o->text), "ended by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    else
        (void)snprintf(o->text, sizeof(o->text), "ended with status %d", WEXITSTATUS(status));
}

static struct place *wait_for_one(struct pool *p)
{
    int status = 0;
    pid_t pid = wait(&status);
    struct place *place = NULL;

    CHECK(pid > 0);
    for (int i = 0; i < p->jobs; i++)
        if (p->places[i].pid == pid)
            place = &p->places[i];
    CHECK(place);
    place->pid = 0;
    if (!place->outcome->ended)
        note_crash(place->outcome, status);
    place->outcome->score.findings = place->outcome->invariant[0] != '\0';
    place->done(place->outcome, place->arg);
    return place;
}

static struct place *free_place(struct pool *p)
{
    for (int i = 0; i < p->jobs; i++)
        if (!p->places[i].pid)
            return &p->places[i];
    return NULL;
}

void pool_start(struct pool *p, const struct schedule *s, bool verbose, pool_done_fn *done, void *arg)
{
    struct place *place;

    while (!(place = free_place(p)))
        (void)wait_for_one(p);
    memset(place->outcome, 0, sizeof(*place->outcome));
    place->done = done;
    place->arg = arg;
    (void)fflush(stdout);
    place->pid = fork();
    CHECK(place->pid >= 0);
    if (!place->pid) {
        struct rlimit limit = {CPU_SECONDS_MAX, CPU_SECONDS_MAX};
        (void)setrlimit(RLIMIT_CPU, &limit); /* without it an endless loop is somebody's to end */
        run_schedule(s, place->outcome, verbose);
    }
}

void pool_wait(struct pool *p)
{
    bool any = true;

    while (any) {
        any = false;
        for (int i = 0; i < p->jobs; i++)
            any |= p->places[i].pid != 0;
        if (any)
            (void)wait_for_one(p);
    }
}
