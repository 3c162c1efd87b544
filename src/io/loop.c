#include "io/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"

enum {
    TURN_EVENTS_MAX = 64, /* descriptors served between two looks at the clock; the rest comes next turn */
    MS_PER_S = 1000,
    NS_PER_MS = 1000 * 1000,
};

struct loop_fd {
    struct loop *loop;
    int fd;
    unsigned int events; /* 0: not in the epoll set, so that a hang-up nobody waits for is not reported */
    loop_fd_fn *fn;      /* NULL: removed */
    loop_drop_fn *drop;
    void *arg;
    struct list link; /* in loop->fds, after removal in loop->removed */
};

struct loop_signal {
    struct loop *loop;
    int signo;
    int fd;
    bool was_blocked; /* before us; removal leaves it so */
    struct loop_fd *watch;
    loop_signal_fn *fn;
    void *arg;
    struct list link;
};

struct deferred {
    loop_timer_fn *fn;
    void *arg;
    struct list link;
};

struct loop {
    int epoll_fd;
    int timer_fd;  /* CLOCK_BOOTTIME: the timeout of epoll_wait() stands still in suspend */
    msec armed_ms; /* what timer_fd is set to */
    bool in_turn, stop;
    msec lag_ms;        /* longest lateness since somebody asked */
    msec gap_ms;        /* lateness that is a gap; MSEC_NEVER: none is */
    msec resumed_ms;    /* end of the last gap; 0: there was none */
    struct list timers; /* by time; equal times in the order of setting */
    struct list fds, removed;
    struct list signals;
    struct list deferred;
};

static msec clock_ms(clockid_t id)
{
    struct timespec now;

    int failed = clock_gettime(id, &now);
    CHECK(!failed);
    return (msec)now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS;
}

msec loop_clock_ms(void)
{
    return clock_ms(CLOCK_BOOTTIME);
}

int64_t wall_clock_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

/* A reader that went away is an error of its write, not the end of this program. */
static void ignore_sigpipe(void)
{
    struct sigaction now;

    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        (void)signal(SIGPIPE, SIG_IGN); /* cannot fail for a valid signal */
}

struct loop *loop_new(void)
{
    struct loop *l = mem_zero(1, sizeof(*l));

    ignore_sigpipe();
    list_init(&l->timers);
    list_init(&l->fds);
    list_init(&l->removed);
    list_init(&l->signals);
    list_init(&l->deferred);
    l->armed_ms = MSEC_NEVER;
    l->gap_ms = MSEC_NEVER;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    CHECK(l->epoll_fd >= 0);
    l->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    CHECK(l->timer_fd >= 0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int failed = epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->timer_fd, &event);
    CHECK(!failed);
    return l;
}

static void free_removed(struct loop *l)
{
    LIST_EACH (it, tmp, &l->removed) {
        list_remove(it);
        free(LIST_ENTRY(it, struct loop_fd, link));
    }
}

void loop_free(struct loop *l)
{
    if (!l)
        return;

    CHECK(!l->in_turn);
    LIST_EACH (it, tmp, &l->signals)
        loop_signal_remove(LIST_ENTRY(it, struct loop_signal, link));
    while (!list_empty(&l->fds)) {
        struct loop_fd *f = LIST_ENTRY(l->fds.next, struct loop_fd, link);
        loop_drop_fn *drop = f->drop;
        void *arg = f->arg;

        loop_fd_remove(f);
        if (drop)
            drop(arg);
    }
    LIST_EACH (it, tmp, &l->timers)
        loop_timer_clear(LIST_ENTRY(it, struct loop_timer, link)); /* its owner may clear it again */
    LIST_EACH (it, tmp, &l->deferred)
        free(LIST_ENTRY(it, struct deferred, link));
    free_removed(l);
    (void)close(l->timer_fd);
    (void)close(l->epoll_fd);
    free(l);
}

/* ---- descriptors ---- */

static uint32_t to_epoll(unsigned int events)
{
    return (events & LOOP_READ ? EPOLLIN : 0U) | (events & LOOP_WRITE ? EPOLLOUT : 0U);
}

static void epoll_update(struct loop_fd *f, int op)
{
    struct epoll_event event = {.events = to_epoll(f->events), .data.ptr = f};

    /* Fails for a file, a closed descriptor or one added twice: our own bugs. */
    int failed = epoll_ctl(f->loop->epoll_fd, op, f->fd, &event);
    CHECK(!failed);
}

struct loop_fd *loop_fd_add(struct loop *l, int fd, unsigned int events, loop_fd_fn *fn, void *arg)
{
    CHECK(fn);
    CHECK(fd >= 0);
    struct loop_fd *f = mem_zero(1, sizeof(*f));

    *f = (struct loop_fd){.loop = l, .fd = fd, .events = events, .fn = fn, .arg = arg};
    list_add_tail(&l->fds, &f->link);
    if (events)
        epoll_update(f, EPOLL_CTL_ADD);
    return f;
}

void loop_fd_events(struct loop_fd *f, unsigned int events)
{
    CHECK(f->fn);
    unsigned int old = f->events;

    if (events == old)
        return;

    f->events = events;
    epoll_update(f, !old ? EPOLL_CTL_ADD : !events ? EPOLL_CTL_DEL : EPOLL_CTL_MOD);
}

void loop_fd_on_loop_free(struct loop_fd *f, loop_drop_fn *drop)
{
    f->drop = drop;
}

void loop_fd_remove(struct loop_fd *f)
{
    if (!f)
        return;

    CHECK(f->fn);
    struct loop *l = f->loop;
    struct epoll_event unused = {0};

    /* Fails if a library closed its descriptor before telling us: then it is out of the set already. */
    if (f->events)
        (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, f->fd, &unused);
    f->fn = NULL;
    list_remove(&f->link);
    list_add_tail(&l->removed, &f->link);
    if (!l->in_turn)
        free_removed(l);
}

/* ---- timers ---- */

void loop_timer_init(struct loop_timer *t, struct loop *l, loop_timer_fn *fn, void *arg)
{
    *t = (struct loop_timer){.loop = l, .at_ms = MSEC_NEVER, .fn = fn, .arg = arg};
    list_init(&t->link);
}

void loop_timer_clear(struct loop_timer *t)
{
    if (!t->loop)
        return; /* never initialised: a half-built owner */

    list_remove(&t->link);
    t->at_ms = MSEC_NEVER;
}

void loop_timer_set(struct loop_timer *t, msec at_ms)
{
    CHECK(t->loop);
    CHECK(t->fn);
    loop_timer_clear(t);
    if (at_ms == MSEC_NEVER)
        return;

    /* From the back: most timers are set further away than what is there. */
    struct list *before = t->loop->timers.prev;
    while (before != &t->loop->timers && LIST_ENTRY(before, struct loop_timer, link)->at_ms > at_ms)
        before = before->prev;
    t->at_ms = at_ms;
    list_add_tail(before->next, &t->link);
}

void loop_timer_set_about(struct loop_timer *t, msec at_ms)
{
    msec phase_ms = getpid() % LOOP_GRID_MS; /* processes of one host wake one after the other */
    msec shared_ms = (at_ms - phase_ms) / LOOP_GRID_MS * LOOP_GRID_MS + phase_ms;

    loop_timer_set(t, shared_ms > loop_clock_ms() ? shared_ms : at_ms);
}

static msec timers_next_ms(const struct loop *l)
{
    if (list_empty(&l->timers))
        return MSEC_NEVER;
    return LIST_ENTRY(l->timers.next, struct loop_timer, link)->at_ms;
}

static void timers_arm(struct loop *l, msec at_ms)
{
    struct itimerspec when = {0}; /* all zero: off */

    if (at_ms == l->armed_ms)
        return;

    if (at_ms != MSEC_NEVER) {
        when.it_value.tv_sec = at_ms / MS_PER_S;
        when.it_value.tv_nsec = at_ms % MS_PER_S * NS_PER_MS;
    }
    int failed = timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    CHECK(!failed);
    l->armed_ms = at_ms;
}

static void timers_run(struct loop *l)
{
    struct list due;
    msec now_ms = loop_clock_ms();

    /* Taken off first: what a callback sets for "now" waits for the next turn, so descriptors get theirs. */
    list_init(&due);
    while (timers_next_ms(l) <= now_ms) {
        struct list *first = l->timers.next;
        list_remove(first);
        list_add_tail(&due, first);
    }
    while (!list_empty(&due)) {
        struct loop_timer *t = LIST_ENTRY(due.next, struct loop_timer, link);
        loop_timer_clear(t);
        t->fn(t->arg);
    }
}

/* ---- signals ---- */

static void signal_ready(int fd, unsigned int ready, void *arg)
{
    struct loop_signal *s = arg;
    struct signalfd_siginfo info;

    (void)ready; /* only reading was asked for */
    if (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        s->fn(s->signo, s->arg);
}

struct loop_signal *loop_signal_add(struct loop *l, int signo, loop_signal_fn *fn, void *arg)
{
    sigset_t set;
    sigset_t old;

    LIST_EACH (it, tmp, &l->signals)
        CHECK(LIST_ENTRY(it, struct loop_signal, link)->signo != signo);
    (void)sigemptyset(&set); /* cannot fail */
    int failed = sigaddset(&set, signo);
    CHECK(!failed);
    failed = pthread_sigmask(SIG_BLOCK, &set, &old);
    CHECK(!failed);

    struct loop_signal *s = mem_zero(1, sizeof(*s));
    *s = (struct loop_signal){
        .loop = l, .signo = signo, .was_blocked = sigismember(&old, signo) == 1, .fn = fn, .arg = arg};
    s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    CHECK(s->fd >= 0);
    s->watch = loop_fd_add(l, s->fd, LOOP_READ, signal_ready, s);
    list_add_tail(&l->signals, &s->link);
    return s;
}

void loop_signal_remove(struct loop_signal *s)
{
    struct signalfd_siginfo info;
    sigset_t set;

    if (!s)
        return;

    /* What is pending was meant for the callback; unblocked, it could end the program. */
    while (read(s->fd, &info, sizeof(info)) > 0)
        ;
    if (!s->was_blocked) {
        (void)sigemptyset(&set);
        (void)sigaddset(&set, s->signo);
        (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* was accepted when it was blocked */
    }
    loop_fd_remove(s->watch);
    (void)close(s->fd);
    list_remove(&s->link);
    free(s);
}

/* ---- deferred calls ---- */

void loop_defer(struct loop *l, loop_timer_fn *fn, void *arg)
{
    struct deferred *d = mem_zero(1, sizeof(*d));

    CHECK(fn);
    *d = (struct deferred){.fn = fn, .arg = arg};
    list_add_tail(&l->deferred, &d->link);
}

static void deferred_run(struct loop *l)
{
    struct list now;

    /* What these defer in turn comes after the next look at the descriptors. */
    list_init(&now);
    while (!list_empty(&l->deferred)) {
        struct list *first = l->deferred.next;
        list_remove(first);
        list_add_tail(&now, first);
    }
    while (!list_empty(&now)) {
        struct deferred *d = LIST_ENTRY(now.next, struct deferred, link);
        loop_timer_fn *fn = d->fn;
        void *arg = d->arg;

        list_remove(&d->link);
        free(d);
        fn(arg);
    }
}

/* ---- lateness ---- */

static void note_lateness(struct loop *l, msec late_ms, msec now_ms)
{
    l->lag_ms = msec_max(l->lag_ms, late_ms);
    if (late_ms >= l->gap_ms)
        l->resumed_ms = now_ms;
}

/* The wait is over: had it to end earlier? A timer that was due before it began waited for the turn, not for us. */
static void note_wait(struct loop *l, msec since_ms, msec now_ms)
{
    msec due_ms = msec_max(timers_next_ms(l), since_ms);

    if (due_ms < now_ms)
        note_lateness(l, now_ms - due_ms, now_ms);
}

msec loop_take_lag_ms(struct loop *l)
{
    msec lag_ms = l->lag_ms;

    l->lag_ms = 0;
    return lag_ms;
}

void loop_set_gap(struct loop *l, msec gap_ms)
{
    CHECK(gap_ms > 0);
    l->gap_ms = gap_ms;
}

msec loop_resumed_ms(const struct loop *l)
{
    return l->resumed_ms;
}

/* ---- turns ---- */

static void fds_run(const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++) {
        struct loop_fd *f = events[i].data.ptr;
        uint32_t got = events[i].events;
        unsigned int ready = 0;

        if (!f || !f->fn)
            continue; /* our timer descriptor; removed by an earlier callback of this turn */

        if (got & (EPOLLIN | EPOLLERR | EPOLLHUP))
            ready |= LOOP_READ;
        if (got & (EPOLLOUT | EPOLLERR | EPOLLHUP))
            ready |= LOOP_WRITE;
        f->fn(f->fd, ready, f->arg);
    }
}

/* How long epoll may wait; sets the descriptor that ends the wait for a timer. */
static int turn_prepare(struct loop *l, msec max_wait_ms)
{
    msec next_ms = timers_next_ms(l);

    if (!list_empty(&l->deferred) || max_wait_ms <= 0 || next_ms <= loop_clock_ms())
        return 0;

    timers_arm(l, next_ms);
    return max_wait_ms > INT32_MAX ? -1 : (int)max_wait_ms;
}

void loop_turn(struct loop *l, msec max_wait_ms)
{
    struct epoll_event events[TURN_EVENTS_MAX];
    msec began_ms = loop_clock_ms();

    CHECK(!l->in_turn);
    int count = epoll_wait(l->epoll_fd, events, TURN_EVENTS_MAX, turn_prepare(l, max_wait_ms));
    CHECK(count >= 0 || errno == EINTR);
    msec awake_ms = loop_clock_ms();
    note_wait(l, began_ms, awake_ms);

    l->in_turn = true;
    for (int i = 0; i < count; i++) {
        uint64_t ticks;

        if (events[i].data.ptr)
            continue;
        if (read(l->timer_fd, &ticks, sizeof(ticks)) > 0)
            l->armed_ms = MSEC_NEVER; /* fired: off until set again */
    }
    timers_run(l);
    fds_run(events, count);
    msec served_ms = loop_clock_ms();
    note_lateness(l, served_ms - awake_ms, served_ms);
    deferred_run(l);
    msec ended_ms = loop_clock_ms();
    note_lateness(l, ended_ms - served_ms, ended_ms);
    l->in_turn = false;
    free_removed(l);
}

void loop_run(struct loop *l)
{
    while (!l->stop)
        loop_turn(l, MSEC_NEVER);
    l->stop = false;
}

void loop_stop(struct loop *l)
{
    l->stop = true;
}
