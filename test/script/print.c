#include "print.h"

#include <inttypes.h>

static void print_moment(struct buf *out, const char *name, msec at_ms)
{
    if (at_ms == MSEC_NEVER)
        buf_printf(out, " %s=never", name);
    else
        buf_printf(out, " %s=%.3f", name, (double)at_ms / 1000);
}

static void print_record(struct buf *out, const struct ha_record_change *change)
{
    AUTO(cstr) char *text = record_key_text(&change->next);

    buf_printf(out, " %s", text);
    if (change->take_leader_key)
        buf_add_str(out, " and take the leader key");
    if (change->drop_leader_key)
        buf_add_str(out, " and drop the leader key");
    if (change->sync)
        buf_printf(out, " sync %s", *change->sync ? change->sync : "deleted");
}

void print_action(struct buf *out, const struct ha_action *a, const struct ha_plan *p)
{
    static const char *const asked[] = {
        [HA_ANSWER_RESTART] = "restart", [HA_ANSWER_REINIT] = "reinit", [HA_ANSWER_RECOVER] = "recover"};

    buf_printf(out, ">   %s", ha_action_text(a->kind));
    if (a->kind == HA_DO_START_JOB)
        buf_printf(out, " %s", ha_job_text(a->job));
    if (a->kind == HA_DO_START_JOB && a->job == HA_JOB_START)
        buf_add_str(out, a->start == HA_START_PRIMARY ? " as primary" : " as standby");
    if (a->kind == HA_DO_START_JOB && a->job == HA_JOB_STOP)
        buf_printf(out, " %s%s",
                   a->stop == HA_STOP_FAST        ? "fast"
                   : a->stop == HA_STOP_IMMEDIATE ? "immediate"
                                                  : "kill",
                   a->checkpoint_first ? " after a checkpoint" : "");
    if (a->kind == HA_DO_START_JOB && a->job == HA_JOB_DISCARD)
        buf_add_str(out, a->remove ? " remove" : " move aside");
    if (a->subject[0])
        buf_printf(out, " %s", a->subject);
    if (a->term)
        buf_printf(out, " term=%" PRIu64, a->term);
    if (a->timeline)
        buf_printf(out, " timeline=%u", a->timeline);
    if (a->kind == HA_DO_ANSWER)
        buf_printf(out, " %s %s", asked[a->answer_to], a->ok ? "ok" : "failed");
    if (a->kind == HA_DO_LOAD_NAMES)
        buf_printf(out, " '%s'", p->list);
    if (a->pid)
        buf_printf(out, " pid=%u", a->pid);
    if (a->kind == HA_DO_RECORD)
        print_record(out, &p->record);
    buf_add_char(out, '\n');
}

void print_plan(struct buf *out, const struct ha_plan *p, msec now_ms)
{
    buf_printf(out, "> %.3f %s%s%s\n", (double)now_ms / 1000, p->why, p->serving ? " [serving]" : "",
               p->wants_out ? " [wants out]" : "");
    if (p->promise.term)
        buf_printf(out, ">   promise term %" PRIu64 " to %s, settled %" PRIu64 "\n", p->promise.term, p->promise.to,
                   p->promise.settled);
    if (p->vote.grants[0])
        buf_printf(out, ">   grants %s\n", p->vote.grants);
    if (p->vote.free_of)
        buf_printf(out, ">   free of %" PRId64 "\n", p->vote.free_of);
    if (p->freeze)
        buf_printf(out, ">   freeze for term %" PRIu64 "\n", p->freeze);
    for (size_t i = 0; i < p->count; i++)
        print_action(out, &p->actions[i], p);
    if (p->fence.kill_ms != MSEC_NEVER) {
        buf_add_str(out, ">   fence");
        print_moment(out, "stop", p->fence.stop_ms);
        print_moment(out, "quit", p->fence.quit_ms);
        print_moment(out, "kill", p->fence.kill_ms);
        buf_add_char(out, '\n');
    }
}
