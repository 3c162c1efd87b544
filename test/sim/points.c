#include "test/sim/points.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/str.h"
#include "test/sim/co.h"
#include "test/sim/score.h"

void (*points_reached)(const char *name);

enum { TRAPS_MAX = 32, AGAIN = 10000 };

/* The linker names begin and end of the section. */
extern const struct fault_point __start_fault_points[], __stop_fault_points[];

struct hanging {
    struct proc *proc;
    uint64_t generation;
    struct co *co;
};

static struct trap traps[TRAPS_MAX];
static size_t trap_count;
static int waiting[HOSTS_MAX]; /* traps on that host */
static int waiting_anywhere;
static void (*kill_agent)(int host, usec stays_away);
static void (*cut_power)(int host);
static void (*isolate_host)(int host, usec for_so_long);
static struct hanging *stepping; /* who has just stepped aside */

const char *point_deed_text(enum point_deed deed)
{
    static const char *const texts[] = {
#define X(id, text) text,
        POINT_DEEDS(X)
#undef X
    };

    return texts[deed];
}

size_t points_count(void)
{
    size_t count = (size_t)(__stop_fault_points - __start_fault_points);

    CHECK(count <= SCORE_POINTS_MAX);
    return count;
}

const char *point_name(size_t i)
{
    return __start_fault_points[i].name;
}

bool point_can_fail(size_t i)
{
    return __start_fault_points[i].can_fail;
}

/* ---- hanging ---- */

static void go_on(void *arg);

static void stepped_aside(struct co *co)
{
    struct hanging *h = stepping;

    stepping = NULL;
    CHECK(!co == !h);
    if (h)
        h->co = co;
}

static void go_on(void *arg)
{
    struct hanging *h = arg;
    struct proc *p = h->proc;

    if (!p->alive || p->generation != h->generation) {
        co_drop(h->co);
        free(h);
        return;
    }
    if (p->stops > 1 || p->host->stops) { /* somebody else has stopped it as well */
        event_in(AGAIN, NULL, go_on, h);
        return;
    }
    story("%s goes on", p->what);
    world.current = p;
    proc_continue(p);
    struct co *co = co_go_on(h->co);
    world.current = NULL;
    stepped_aside(co);
    free(h);
}

static void hang(usec for_so_long)
{
    struct hanging *h = mem_zero(1, sizeof(*h));

    h->proc = world.current;
    h->generation = world.current->generation;
    proc_stop(world.current);
    event_in(for_so_long, NULL, go_on, h);
    stepping = h;
    co_step_aside();
}

/* Every event of a host on which a trap waits runs where it can be left. */
static void run_event(event_fn *fn, void *arg)
{
    if (waiting[world.current->host->id] || waiting_anywhere)
        stepped_aside(co_run(fn, arg));
    else
        fn(arg);
}

/* ---- traps ---- */

static int *count_of(const struct trap *t)
{
    return t->host == ANYWHERE ? &waiting_anywhere : &waiting[t->host];
}

static void remove_trap(size_t i)
{
    (*count_of(&traps[i]))--;
    traps[i] = traps[--trap_count];
}

void points_init(void (*kill)(int host, usec stays_away), void (*cut)(int host), void (*isolate)(int host, usec))
{
    isolate_host = isolate;
    kill_agent = kill;
    cut_power = cut;
    world_run_event = run_event;
}

void points_set(const struct trap *trap)
{
    for (size_t i = trap_count; i-- > 0;)
        if (traps[i].until < world.now)
            remove_trap(i);
    if (trap_count == TRAPS_MAX)
        return;
    traps[trap_count++] = *trap;
    (*count_of(trap))++;
}

/* The trap that goes off here; false: none. */
static bool springs(const struct fault_point *p, bool as_call, struct trap *ret_trap)
{
    int here = world.current->host->id;

    for (size_t i = 0; co_inside() && i < trap_count; i++) {
        struct trap *t = &traps[i];
        bool fits = (t->host == here || t->host == ANYWHERE) && t->until >= world.now &&
                    (!t->name[0] || str_eq(t->name, p->name)) && (t->deed != POINT_FAIL || as_call);
        if (!fits || --t->nth)
            continue;
        *ret_trap = *t;
        ret_trap->host = here;
        remove_trap(i);
        return true;
    }
    return false;
}

/* True: the call is to fail. */
static bool reached(const struct fault_point *p, bool as_call)
{
    struct score_point *score = &outcome->score.points[p - __start_fault_points];
    struct trap t;

    score->reached++;
    if (points_reached && world.current)
        points_reached(p->name);
    if (!world.current || !springs(p, as_call, &t))
        return false;
    story("=== %s at %s", point_deed_text(t.deed), p->name);
    score_hit(t.host);
    switch (t.deed) {
    case POINT_KILL:
        score->killed++;
        kill_agent(t.host, t.hangs);
        co_die();
    case POINT_CUT:
        score->cut++;
        cut_power(t.host);
        co_die();
    case POINT_HANG:
        score->hung++;
        hang(t.hangs);
        return false;
    case POINT_FAIL:
        score->failed++;
        return true;
    case POINT_ISOLATE:
        score->isolated++;
        isolate_host(t.host, t.hangs);
        return false;
    case POINT_DEED_COUNT:
        break;
    }
    UNREACHABLE();
}

void fault_point(const struct fault_point *p)
{
    (void)reached(p, false);
}

bool fault_point_fails(const struct fault_point *p, struct err *err)
{
    if (!reached(p, true))
        return false;
    (void)err_set(err, ERR_SYS, "no space left on device");
    return true;
}
