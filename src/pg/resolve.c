#include "pg/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"

/* Shared by the thread and the job; the later of the two frees it. */
struct lookup {
    int refs; /* atomic */
    char *host;
    int done_fd; /* the thread's end of the pipe: closing it is the message */
    int failure; /* of getaddrinfo() */
    struct resolve_result result;
};

struct resolve_job {
    struct lookup *lookup; /* NULL: the address was numeric */
    int fd;                /* our end of the pipe */
    struct loop_fd *watch;
    struct loop_timer timer; /* deadline, or "answer at once" */
    struct resolve_result result;
    bool answering;
    resolve_fn *done;
    void *arg;
};

bool resolve_is_numeric(const char *host)
{
    unsigned char addr[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

static void lookup_unref(struct lookup *l)
{
    if (__atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL))
        return;
    free(l->host);
    free(l);
}

static void take_addresses(const struct addrinfo *list, struct resolve_result *result)
{
    for (const struct addrinfo *a = list; a && result->count < RESOLVE_ADDR_MAX; a = a->ai_next) {
        char *text = result->addr[result->count];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, RESOLVE_ADDR_TEXT_MAX, NULL, 0, NI_NUMERICHOST) == 0)
            result->count++;
    }
}

static void *run(void *arg)
{
    struct lookup *l = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;

    l->failure = getaddrinfo(l->host, NULL, &hints, &list);
    if (!l->failure) {
        take_addresses(list, &l->result);
        freeaddrinfo(list);
    }
    int fd = l->done_fd;
    lookup_unref(l); /* before the message: whoever gets it may free the rest */
    (void)close(fd);
    return NULL;
}

static void job_free(struct resolve_job *j)
{
    loop_timer_clear(&j->timer);
    loop_fd_remove(j->watch);
    if (j->fd >= 0)
        (void)close(j->fd);
    if (j->lookup)
        lookup_unref(j->lookup);
    free(j);
}

static void answer(struct resolve_job *j)
{
    j->answering = true;
    j->done(&j->result, j->arg);
    job_free(j);
}

static void thread_done(int fd, unsigned int ready, void *arg)
{
    struct resolve_job *j = arg;
    struct lookup *l = j->lookup;

    (void)fd;
    (void)ready;
    (void)__atomic_load_n(&l->refs, __ATOMIC_ACQUIRE); /* pairs with the thread's unref: what it wrote is seen */
    j->result = l->result;
    if (l->failure)
        (void)err_set(&j->result.err, ERR_NOT_FOUND, "host name \"%s\": %s", l->host, gai_strerror(l->failure));
    else if (!l->result.count)
        (void)err_set(&j->result.err, ERR_NOT_FOUND, "host name \"%s\": no address", l->host);
    answer(j);
}

static void timer_due(void *arg)
{
    struct resolve_job *j = arg;

    if (j->lookup)
        (void)err_set(&j->result.err, ERR_TIMEOUT, "host name \"%s\": no answer from the resolver in time",
                      j->lookup->host);
    answer(j);
}

static bool start_thread(struct resolve_job *j, const char *host)
{
    pthread_attr_t attr;
    pthread_t thread;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return err_sys(&j->result.err, errno, "opening a pipe");

    struct lookup *l = mem_zero(1, sizeof(*l));
    *l = (struct lookup){.refs = 2, .host = str_dup(host), .done_fd = ends[1]};
    j->fd = ends[0];
    j->lookup = l;
    CHECK(pthread_attr_init(&attr) == 0);
    CHECK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
    int failed = pthread_create(&thread, &attr, run, l);
    (void)pthread_attr_destroy(&attr);
    if (failed) {
        (void)close(ends[1]);
        lookup_unref(l);
        lookup_unref(TAKE(j->lookup));
        return err_sys(&j->result.err, failed, "starting a thread for a name look-up");
    }
    return true;
}

struct resolve_job *resolve_start(struct loop *l, const char *host, msec budget_ms, resolve_fn *done, void *arg)
{
    struct resolve_job *j = mem_zero(1, sizeof(*j));

    *j = (struct resolve_job){.fd = -1, .done = done, .arg = arg};
    loop_timer_init(&j->timer, l, timer_due, j);
    if (resolve_is_numeric(host)) {
        str_copy(j->result.addr[0], RESOLVE_ADDR_TEXT_MAX, host);
        j->result.count = 1;
        loop_timer_set(&j->timer, loop_clock_ms());
    } else if (!start_thread(j, host)) {
        loop_timer_set(&j->timer, loop_clock_ms());
    } else {
        j->watch = loop_fd_add(l, j->fd, LOOP_READ, thread_done, j);
        loop_timer_set(&j->timer, loop_clock_ms() + budget_ms);
    }
    return j;
}

void resolve_cancel(struct resolve_job *j)
{
    if (j && !j->answering)
        job_free(j);
}
