/*
 * switchover, failover: the leader is asked over REST; if nobody answers, the request is put into the
 * store, where the members look for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/ctl/ctl.h"
#include "app/ctl/members.h"
#include "app/ctl/prompt.h"
#include "app/ctl/scheduled.h"
#include "app/ctl/show.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "base/str.h"
#include "io/loop.h"
#include "wire/cluster_view.h"

/* A member answers when it is over, at the latest after 2 * max(10, loop_wait) seconds; loop_wait may be a minute. */
enum { SWITCHOVER_MS = 150 * 1000 };

struct change {
    bool failover; /* else switchover */
    bool force;
    const char *cluster_name;
    struct cluster *cluster;
    char *leader;               /* to be demoted; NULL: there is none (failover) */
    char *candidate;            /* NULL: the best */
    const char *scheduled_text; /* --scheduled; NULL: not given */
    bool scheduled;
    struct scheduled at;
};

static void change_deinit(struct change *ch)
{
    cluster_free(ch->cluster);
    free(ch->leader);
    free(ch->candidate);
}

static inline void change_freep(struct change *ch)
{
    change_deinit(ch);
}

static const char *action_of(const struct change *ch)
{
    return ch->failover ? "failover" : "switchover";
}

/* The leader, as given, asked for, or taken from the store. */
static bool settle_leader(struct change *ch, const char *given, int *ret_exit)
{
    const char *current = ch->cluster->leader;

    if (ch->failover) {
        ch->leader = str_dup(current);
        return true;
    }
    if (str_empty(current)) {
        *ret_exit = ctl_refuse("This cluster has no leader");
        return false;
    }
    if (given || ch->force) {
        ch->leader = str_dup(given ? given : current);
    } else if (!prompt_text(stdin, stdout, cluster_is_standby(ch->cluster) ? "Standby Leader" : "Primary", current,
                            &ch->leader)) {
        *ret_exit = ctl_abort();
        return false;
    }
    if (str_eq(ch->leader, current))
        return true;
    *ret_exit = ctl_refuse("Member %s is not the leader of cluster %s", ch->leader, ch->cluster_name);
    return false;
}

static bool may_be_candidate(const struct change *ch, const struct member *m)
{
    return !str_eq(m->name, ch->cluster->leader) && !m->tags.nofailover;
}

/* "['n2', 'n3']", as patronictl lists them; free() it. "[]": nobody. */
static char *candidates_shown(const struct change *ch)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    buf_add_char(&out, '[');
    for (size_t i = 0; i < ch->cluster->member_count; i++)
        if (may_be_candidate(ch, &ch->cluster->members[i]))
            buf_printf(&out, "%s'%s'", out.len > 1 ? ", " : "", ch->cluster->members[i].name);
    buf_add_char(&out, ']');
    return buf_take(&out);
}

static bool check_candidate(const struct change *ch, int *ret_exit)
{
    const struct member *m = cluster_member(ch->cluster, ch->candidate);

    if (m && may_be_candidate(ch, m))
        return true;
    if (str_eq(ch->candidate, ch->cluster->leader))
        *ret_exit = ctl_refuse("Member %s is already the leader of cluster %s", ch->candidate, ch->cluster_name);
    else
        *ret_exit = ctl_refuse("Member %s does not exist in cluster %s or is tagged as nofailover", ch->candidate,
                               ch->cluster_name);
    return false;
}

static bool settle_candidate(struct change *ch, const char *given, int *ret_exit)
{
    AUTO(cstr) char *names = candidates_shown(ch);
    AUTO(cstr) char *question = str_fmt("Candidate %s", names);

    if (str_eq(names, "[]")) {
        *ret_exit = ctl_refuse("No candidates found to %s to", action_of(ch));
        return false;
    }
    ch->candidate = str_dup(given);
    if (!given && !ch->force && !prompt_text(stdin, stdout, question, "", &ch->candidate)) {
        *ret_exit = ctl_abort();
        return false;
    }
    if (ch->candidate && !*ch->candidate)
        free(TAKE(ch->candidate));
    if (ch->failover && !ch->candidate) {
        *ret_exit = ctl_refuse("Failover could be performed only to a specific candidate");
        return false;
    }
    return !ch->candidate || check_candidate(ch, ret_exit);
}

/* In a synchronous cluster only the synchronous standbys are sure to have every commit. */
static bool confirm_asynchronous(const struct change *ch, int *ret_exit)
{
    const struct cluster *c = ch->cluster;

    if (ch->force || !ch->failover || !cluster_is_synchronous(c) || !c->sync.present || str_empty(c->sync.leader) ||
        cluster_sync_lists(c, ch->candidate) || str_eq_nocase(c->sync.leader, ch->candidate))
        return true;

    AUTO(cstr)
    char *question = str_fmt("Are you sure you want to failover to the asynchronous node %s?", ch->candidate);
    return show_confirm(question, "Aborting failover", ret_exit);
}

static bool settle_moment(struct change *ch, int *ret_exit)
{
    char example[SHOW_TIME_MAX];
    AUTO(cstr) char *question = str_fmt("When should the switchover take place (e.g. %s ) ", show_next_hour(example));
    AUTO(cstr) char *answer = NULL;

    if (ch->failover)
        return true;
    if (!ch->scheduled_text && !ch->force) {
        if (!prompt_text(stdin, stdout, question, "now", &answer)) {
            *ret_exit = ctl_abort();
            return false;
        }
        ch->scheduled_text = answer;
    }
    switch (scheduled_parse(ch->scheduled_text, wall_clock_ms(), &ch->at)) {
    case SCHEDULED_NOW:
        return true;
    case SCHEDULED_AT:
        ch->scheduled = true;
        if (!cluster_is_paused(ch->cluster))
            return true;
        *ret_exit = ctl_refuse("Can't schedule switchover in the paused state");
        return false;
    case SCHEDULED_BAD:
        *ret_exit = ctl_refuse(
            "Unable to parse scheduled timestamp (%s). It should be in an unambiguous format (e.g. ISO 8601)",
            ch->scheduled_text);
        return false;
    }
    return false;
}

static bool confirm_change(const struct change *ch, int *ret_exit)
{
    AUTO(cstr)
    char *demoting = ch->cluster->leader ? str_fmt(", demoting current leader %s", ch->cluster->leader) : str_dup("");
    AUTO(cstr)
    char *question =
        ch->scheduled ? str_fmt("Are you sure you want to schedule switchover of cluster %s at %s%s?", ch->cluster_name,
                                ch->at.iso, demoting)
                      : str_fmt("Are you sure you want to %s cluster %s%s?", action_of(ch), ch->cluster_name, demoting);
    AUTO(cstr) char *refusal = str_fmt("Aborting %s%s", ch->scheduled ? "scheduled " : "", action_of(ch));

    return ch->force || show_confirm(question, refusal, ret_exit);
}

/* New reference: the body for REST. */
static json_t *request_of(const struct change *ch)
{
    json_t *body = json_object();

    if (!ch->failover)
        json_object_set_new(body, "leader", json_string(ch->leader));
    json_object_set_new(body, "candidate", ch->candidate ? json_string(ch->candidate) : json_null());
    if (ch->scheduled)
        json_object_set_new(body, "scheduled_at", json_string(ch->at.iso));
    return body;
}

static void note_change(const struct change *ch, const struct member *asked)
{
    const struct member *from = ch->cluster->leader ? cluster_member(ch->cluster, ch->cluster->leader) : NULL;
    const struct member *to = ch->candidate ? cluster_member(ch->cluster, ch->candidate) : NULL;
    AUTO(cstr) char *from_label = from ? member_label(from) : str_dup("nobody");
    AUTO(cstr) char *to_label = to ? member_label(to) : str_dup("the best standby");

    ctl_note("Cluster %s: %s from %s to %s, asking %s at %s", ch->cluster_name, action_of(ch), from_label, to_label,
             asked->name, asked->api_url ? asked->api_url : "no REST address");
}

/* The key that the members watch. Unconditional, as the REST API writes it. */
static bool put_request(struct ctl *ctl, const struct change *ch, struct err *err)
{
    AUTO(cstr) char *key = str_fmt("/%s/%s/failover", ctl->settings->namespace_, ch->cluster_name);
    AUTO(cstr)
    char *value = failover_key_text(ch->failover ? NULL : ch->leader, ch->candidate, ch->scheduled ? ch->at.iso : NULL);
    const struct store_op put = {.kind = STORE_PUT, .key = key, .value = value};
    const struct store_txn txn = {.then = &put, .then_count = 1};
    bool succeeded = false;

    return wait_txn(ctl, &txn, &succeeded, err);
}

static int fall_back_to_store(struct ctl *ctl, const struct change *ch, const struct err *why)
{
    char time[SHOW_TIME_MAX];
    struct err err;

    ctl_note("Warning: %s", why->text);
    (void)printf("%s Could not %s using Patroni api, falling back to DCS\n", show_time(time, true), action_of(ch));
    if (!put_request(ctl, ch, &err))
        return ctl_fail(&err);
    show_members(ctl, ch->cluster, ch->cluster_name, false, LISTING_PRETTY);
    ctl_note("The request is in the store; the members act on it at their next look. Watch it by: %s list %s -W",
             ctl->program, ch->cluster_name);
    return CTL_OK;
}

/* "Switchover failed, details: 503, …" with the first letter large. */
static int report_failure(const struct change *ch, const struct rest_reply *reply)
{
    (void)printf("%s failed, details: %d, %s\n", ch->failover ? "Failover" : "Switchover", reply->status, reply->body);
    return CTL_FAILED;
}

static int carry_out(struct ctl *ctl, const struct change *ch)
{
    const struct member *leader = cluster_leader_member(ch->cluster);
    const struct member *asked = leader ? leader : ch->candidate ? cluster_member(ch->cluster, ch->candidate) : NULL;
    AUTO(rest_reply) struct rest_reply reply = {0};
    AUTO(cluster) struct cluster *after = NULL;
    json_t *body = request_of(ch);
    char time[SHOW_TIME_MAX];
    struct err err;

    if (!asked) {
        json_decref(body);
        (void)err_set(&err, ERR_NOT_FOUND, "the leader %s has no member key", ch->leader ? ch->leader : "");
        return fall_back_to_store(ctl, ch, &err);
    }
    note_change(ch, asked);
    wait_begin(ctl, ch->scheduled ? "scheduling" : ch->failover ? "failing over" : "switching over");
    bool answered = wait_rest(ctl, asked, "POST", action_of(ch), body, SWITCHOVER_MS, &reply, &err);
    wait_end(ctl);
    json_decref(body);

    if (!answered)
        return fall_back_to_store(ctl, ch, &err);
    if (reply.status != 200 && reply.status != 202)
        return report_failure(ch, &reply);

    (void)printf("%s %s\n", show_time(time, true), reply.body);
    if (!ctl_read(ctl, ch->cluster_name, &after, &err))
        return ctl_fail(&err);
    show_members(ctl, after, ch->cluster_name, false, LISTING_PRETTY);
    return CTL_OK;
}

static int change_leader(struct ctl *ctl, struct change *ch, const char *leader, const char *candidate)
{
    struct err err;
    int status = CTL_FAILED;

    if (!ctl_read(ctl, ch->cluster_name, &ch->cluster, &err))
        return ctl_fail(&err);
    (void)printf("Current cluster topology\n");
    show_members(ctl, ch->cluster, ch->cluster_name, false, LISTING_PRETTY);

    if (!settle_leader(ch, leader, &status) || !settle_candidate(ch, candidate, &status) ||
        !confirm_asynchronous(ch, &status) || !settle_moment(ch, &status) || !confirm_change(ch, &status))
        return status;
    return carry_out(ctl, ch);
}

int verb_switchover(struct ctl *ctl, int argc, char **argv)
{
    AUTO(change) struct change ch = {0};
    const char *leader = NULL, *candidate = NULL;
    int status;
    const struct opt opts[] = {
        {0, "leader primary master", "TEXT", "The name of the current leader", .text = &leader},
        {0, "candidate", "TEXT", "The name of the candidate", .text = &candidate},
        {0, "scheduled", "TEXT", "Timestamp of a scheduled switchover in unambiguous format (e.g. ISO 8601)",
         .text = &ch.scheduled_text},
        {0, "force", NULL, "Do not ask for confirmation at any point", .flag = &ch.force},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) ||
        !ctl_cluster_argument(ctl, argc, argv, &ch.cluster_name, &status))
        return status;
    return change_leader(ctl, &ch, leader, candidate);
}

/* With the leader named it is a switchover: the old patronictl took --leader here. */
int verb_failover(struct ctl *ctl, int argc, char **argv)
{
    AUTO(change) struct change ch = {.failover = true};
    const char *leader = NULL, *candidate = NULL;
    int status;
    const struct opt opts[] = {
        {0, "leader primary master", "TEXT", NULL, .text = &leader},
        {0, "candidate", "TEXT", "The name of the candidate", .text = &candidate},
        {0, "force", NULL, "Do not ask for confirmation at any point", .flag = &ch.force},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) ||
        !ctl_cluster_argument(ctl, argc, argv, &ch.cluster_name, &status))
        return status;
    ch.failover = !leader;
    return change_leader(ctl, &ch, leader, candidate);
}
