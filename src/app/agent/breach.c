#include "app/agent/breach.h"

#include <stdlib.h>

#include "app/agent/local.h"
#include "app/agent/state.h"
#include "base/str.h"
#include "io/log.h"
#include "pg/breach_ask.h"
#include "pg/instance.h"
#include "pg/probe.h"

enum {
    LOOK_EVERY_MS = 30000, /* settings are changed by hand */
    LOOK_BUDGET_MS = 5000,
    CALM_MS = 1000,    /* after a promotion the processors are the clients' */
    KEEP_MS = 3600000, /* what has happened, and is over, is shown for so long */
};

/* Something that happened: a walsender that was ended, a list that was overridden. */
struct event {
    struct breach what;
    msec last_ms;
};

struct breach_watch {
    struct agent *a;
    struct loop_timer timer;
    struct sql *asking; /* NULL: no question is under way */
    bool by_quorum, serving;

    struct breaches settings;        /* by the last answer */
    struct event events[BREACH_MAX]; /* the oldest gives way */
    size_t event_count;
    struct breaches found, told;
    uint64_t version, walsenders_ended;
};

/* ---- what there is ---- */

static void tell(struct breach_watch *w)
{
    for (size_t i = 0; i < w->found.count; i++) {
        const struct breach *one = &w->found.at[i];
        if (!breaches_have(&w->told, one))
            log_warning("promise.broken", "%s: %s", one->text, breach_words(one->reason));
    }
    for (size_t i = 0; i < w->told.count; i++)
        if (!breaches_have(&w->found, &w->told.at[i]))
            log_info("promise.mended", "no longer: %s", w->told.at[i].text);
    w->told = w->found;
}

static void forget_old_events(struct breach_watch *w)
{
    size_t kept = 0;

    for (size_t i = 0; i < w->event_count; i++)
        if (loop_clock_ms() - w->events[i].last_ms < KEEP_MS)
            w->events[kept++] = w->events[i];
    w->event_count = kept;
}

static void join(struct breach_watch *w)
{
    struct breaches all = {0};

    forget_old_events(w);
    if (w->by_quorum) {
        all = w->settings;
        for (size_t i = 0; i < w->event_count; i++)
            breaches_add(&all, w->events[i].what.reason, w->events[i].what.text, w->events[i].what.count);
    }
    bool changed = !breaches_equal(&all, &w->found);
    w->found = all;
    if (!changed)
        return;
    w->version++;
    tell(w);
    agent_wake(w->a);
}

static struct event *event_of(struct breach_watch *w, const struct breach *one)
{
    struct event *oldest = &w->events[0];

    for (size_t i = 0; i < w->event_count; i++) {
        struct event *e = &w->events[i];
        if (e->what.reason == one->reason && str_eq(e->what.text, one->text))
            return e;
        if (e->last_ms < oldest->last_ms)
            oldest = e;
    }
    if (w->event_count < BREACH_MAX)
        oldest = &w->events[w->event_count++];
    *oldest = (struct event){.what = *one};
    return oldest;
}

static void note(struct breach_watch *w, enum breach_reason reason, const char *text)
{
    struct breach one = {.reason = reason};

    str_copy(one.text, sizeof(one.text), text);
    struct event *e = event_of(w, &one);
    e->what.count++;
    e->last_ms = loop_clock_ms();
    join(w);
}

void breach_watch_walsender(struct breach_watch *w, const struct pg_walsender *s)
{
    AUTO(cstr)
    char *text =
        str_fmt("a %s of user %s from %s under the name of %s%s",
                !s->physical   ? "logical walsender"
                : s->slot_name ? "walsender with another slot"
                               : "walsender without a slot",
                s->usename ? s->usename : "?", s->client_addr ? s->client_addr : "this host", s->application_name,
                s->physical ? " (pg_receivewal, pg_basebackup?)" : " (a subscription, pg_recvlogical?)");

    w->walsenders_ended++;
    note(w, BREACH_WALSENDER, text);
}

void breach_watch_names(struct breach_watch *w, const char *other)
{
    AUTO(cstr) char *text = str_fmt("synchronous_standby_names: %s", other);

    note(w, BREACH_NAMES, text);
}

/* ---- asking ---- */

static void look_later(struct breach_watch *w)
{
    loop_timer_set_about(&w->timer, loop_clock_ms() + LOOK_EVERY_MS);
}

static void answered(const struct sql_result *result, void *arg)
{
    struct breach_watch *w = arg;
    struct breaches settings = {0};

    w->asking = NULL; /* it frees itself */
    look_later(w);
    if (!breach_read(result, &settings)) {
        log_debug("promise.not_asked", "%s, keeping what was known", result->err.text);
        return;
    }
    w->settings = settings;
    /* Where a line of ours is overridden the next writing of the files takes the override away. */
    if (breaches_of(&settings, BREACH_NAMES) || breaches_of(&settings, BREACH_OVERRIDE)) {
        w->a->reload_needed = true;
        agent_wake(w->a);
    }
    join(w);
}

static void look(void *arg)
{
    struct breach_watch *w = arg;
    struct agent *a = w->a;

    if (!w->by_quorum || !a->instance || !local_answers(a->local) || w->asking) {
        look_later(w);
        join(w);
        return;
    }
    struct sql_target target = pg_instance_local(a->instance, NULL);
    w->asking = breach_ask(a->loop, &target, LOOK_BUDGET_MS, answered, w);
}

void breach_watch_notice(struct breach_watch *w, bool by_quorum, bool serving)
{
    bool now = (by_quorum && !w->by_quorum) || (serving && !w->serving);
    bool changed = by_quorum != w->by_quorum;

    w->by_quorum = by_quorum;
    w->serving = serving;
    if (!by_quorum)
        w->settings = (struct breaches){0};
    if (changed)
        join(w);
    if (now && !w->asking)
        loop_timer_set(&w->timer, loop_clock_ms() + CALM_MS);
}

/* ---- the public side ---- */

const struct breaches *breach_watch_found(const struct breach_watch *w)
{
    return &w->found;
}

uint64_t breach_watch_version(const struct breach_watch *w)
{
    return w->version;
}

uint64_t breach_watch_walsenders_ended(const struct breach_watch *w)
{
    return w->walsenders_ended;
}

struct breach_watch *breach_watch_new(struct agent *a)
{
    struct breach_watch *w = mem_zero(1, sizeof(*w));

    w->a = a;
    loop_timer_init(&w->timer, a->loop, look, w);
    look_later(w);
    return w;
}

void breach_watch_free(struct breach_watch *w)
{
    if (!w)
        return;
    loop_timer_clear(&w->timer);
    sql_free(w->asking);
    free(w);
}
