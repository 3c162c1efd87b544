#include "core/ha/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"

const char *ha_action_text(enum ha_action_kind kind)
{
    static const char *const texts[] = {
#define X(id, text) [HA_DO_##id] = text,
        HA_ACTIONS(X)
#undef X
    };

    CHECK((size_t)kind < ARRAY_LEN(texts));
    return texts[kind];
}

const char *ha_job_text(enum ha_job_kind kind)
{
    static const char *const texts[] = {
#define X(id, text) [HA_JOB_##id] = text,
        HA_JOBS(X)
#undef X
    };

    CHECK((size_t)kind < ARRAY_LEN(texts));
    return texts[kind];
}

void plan_reset(struct ha_plan *p)
{
    record_key_deinit(&p->record.next);
    free(p->record.sync);
    *p = (struct ha_plan){0};
}

struct ha_action *plan_add(struct ha_plan *p, enum ha_action_kind kind)
{
    CHECK(p->count < HA_ACTIONS_MAX);
    struct ha_action *a = &p->actions[p->count++];
    *a = (struct ha_action){.kind = kind};
    return a;
}

bool plan_has(const struct ha_plan *p, enum ha_action_kind kind)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->actions[i].kind == kind)
            return true;
    return false;
}

struct ha_action *plan_job(struct ha_plan *p, enum ha_job_kind job, const char *subject)
{
    struct ha_action *a = plan_add(p, HA_DO_START_JOB);

    a->job = job;
    str_copy(a->subject, sizeof(a->subject), subject ? subject : "");
    return a;
}

struct ha_record_change *plan_record(struct ha_plan *p, const struct record_key *now)
{
    CHECK(!record_key_is_opaque(now));
    CHECK(!plan_has(p, HA_DO_RECORD));
    (void)plan_add(p, HA_DO_RECORD);
    record_key_copy(now, &p->record.next);
    p->record.next.present = true;
    p->record.expected_revision = now->mod_revision;
    return &p->record;
}

struct ha_action *plan_stop(struct ha_plan *p, enum ha_stop mode, msec budget_ms)
{
    struct ha_action *a = plan_job(p, HA_JOB_STOP, NULL);

    a->stop = mode;
    a->budget_ms = budget_ms;
    return a;
}

bool plan_why(struct ha_plan *p, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(p->why, sizeof(p->why), fmt, args); /* a cut reason is still the reason */
    va_end(args);
    return true;
}

void plan_wake(struct ha_plan *p, msec at_ms)
{
    p->wake_ms = msec_min(p->wake_ms, at_ms);
}
