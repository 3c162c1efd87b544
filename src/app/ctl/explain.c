/*
 * explain, plan: why something happened, what could happen, and to whom. Looking, touching nothing.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "app/ctl/ctl.h"
#include "app/ctl/rest_any.h"
#include "app/ctl/show.h"
#include "app/ctl/verbs.h"
#include "app/ctl/yaml_out.h"
#include "base/str.h"
#include "wire/report.h"

#define EXPLAIN_FORMATS "pretty|json|yaml|yml"

static const char *text_of(const json_t *object, const char *field)
{
    const char *text = json_string_value(json_object_get(object, field));

    return text ? text : "";
}

/* An answer of whichever member gives one. False: the verb ends with *ret_exit. */
static bool ask_members(struct ctl *ctl, const char *name, const char *path, json_t **ret_answer, int *ret_exit)
{
    AUTO(cluster) struct cluster *c = NULL;
    AUTO(rest_reply) struct rest_reply reply = {0};
    AUTO(cstr) char *doing = str_fmt("Cluster %s", name);
    const struct member *who;
    struct err err;

    *ret_exit = CTL_FAILED;
    if (!ctl_read(ctl, name, &c, &err)) {
        *ret_exit = ctl_fail(&err);
        return false;
    }
    if (!c->member_count) {
        *ret_exit = ctl_refuse("cluster %s has no members", name);
        return false;
    }
    if (!rest_any(ctl, c, doing, "GET", path, NULL, &who, &reply)) {
        *ret_exit = ctl_refuse("no member of cluster %s answers: what its agents know cannot be told", name);
        return false;
    }
    if (reply.status != 200) {
        *ret_exit = ctl_refuse("%s answered %d: %s", who->name, reply.status, reply.body);
        return false;
    }
    *ret_answer = json_loads(reply.body, 0, NULL);
    if (json_is_object(*ret_answer))
        return true;
    json_decref(*ret_answer);
    *ret_exit = ctl_refuse("%s is run by a program that cannot tell (Patroni, or an earlier pgkeep)", who->name);
    return false;
}

/* ---- explain --now ---- */

static enum table_style verdict_style(const char *column, const char *text)
{
    if (!str_eq(column, "Verdict"))
        return TABLE_PLAIN;
    return str_eq(text, "leads") ? TABLE_STRONG : str_eq(text, "can") ? TABLE_GOOD : TABLE_BAD;
}

static json_t *cell(const json_t *object, const char *field)
{
    json_t *value = json_object_get(object, field);

    return value && !json_is_null(value) ? json_incref(value) : json_string("");
}

static struct listing *now_listing(const char *cluster_name, const json_t *answer)
{
    static const char *const columns[] = {"Member", "Verdict", "Why", "TL", "LSN", "Heard ms"};
    static const char *const fields[] = {"member", "verdict", "why", "timeline", "lsn", "heard_ms"};
    struct listing *l = listing_new();
    json_t *members = json_object_get(answer, "members");

    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        listing_column(l, columns[i], i < 3 ? TABLE_LEFT : TABLE_RIGHT);
    for (size_t i = 0; i < json_array_size(members); i++) {
        json_t *row = json_array();
        for (size_t k = 0; k < ARRAY_LEN(fields); k++)
            json_array_append_new(row, cell(json_array_get(members, i), fields[k]));
        json_array_append_new(l->rows, row);
    }
    l->title = str_fmt(" Cluster: %s (%s, term %lld), as %s sees it ", cluster_name, text_of(answer, "mode"),
                       (long long)json_integer_value(json_object_get(answer, "term")), text_of(answer, "asked"));
    l->style = verdict_style;
    return l;
}

static int explain_now_verb(struct ctl *ctl, const char *name, enum listing_format format)
{
    json_t *answer;
    int status;

    if (!ask_members(ctl, name, "explain", &answer, &status))
        return status;
    if (format == LISTING_PRETTY) {
        AUTO(listing) struct listing *l = now_listing(name, answer);
        show_listing(ctl, l, format, NULL);
        (void)printf(" %s: %s\n",
                     json_is_true(json_object_get(answer, "possible")) ? "Somebody could take over from the leader"
                                                                       : "Nobody could take over from the leader",
                     text_of(answer, "why"));
        if (json_is_true(json_object_get(answer, "paused")))
            (void)printf(" Maintenance mode: on; nobody is promoted unless an operator asks for it\n");
    } else {
        show_json(answer, format);
    }
    json_decref(answer);
    return CTL_OK;
}

/* ---- explain [N] ---- */

static int64_t number_of(const json_t *object, const char *field)
{
    return json_integer_value(json_object_get(object, field));
}

static void story_head(const json_t *report)
{
    char moment[SHOW_TIME_MAX] = "";
    time_t at = (time_t)(number_of(report, "at") / 1000);
    struct tm tm;

    if (at && localtime_r(&at, &tm))
        (void)strftime(moment, sizeof(moment), ", %Y-%m-%d %H:%M:%S", &tm);
    (void)printf("%s of term %lld%s (%s): %s -> %s\n",
                 str_eq(text_of(report, "kind"), "switchover") ? "Switchover" : "Failover",
                 (long long)number_of(report, "term"), moment, text_of(report, "mode"),
                 *text_of(report, "old_leader") ? text_of(report, "old_leader") : "?",
                 *text_of(report, "new_leader") ? text_of(report, "new_leader") : "?");
    if (*text_of(report, "reason"))
        (void)printf("  Why: %s\n", text_of(report, "reason"));
}

/* Who suspected, and how long each had not heard it by then. */
static void story_suspicion(const json_t *report)
{
    const json_t *seen = json_object_get(report, "seen");

    for (size_t i = 0; i < json_array_size(seen); i++) {
        const json_t *node = json_array_get(seen, i), *s = json_object_get(node, "suspicion");
        const char *agent;
        json_t *age;
        if (!s)
            continue;
        (void)printf("  %s suspected %s: %s\n", text_of(node, "node"), text_of(s, "whom"), text_of(s, "why"));
        json_object_foreach(json_object_get(s, "ages"), agent, age)
        {
            if (json_is_null(age))
                (void)printf("    %s never heard it\n", agent);
            else
                (void)printf("    %s had not heard it for %lld ms\n", agent, (long long)json_integer_value(age));
        }
    }
}

static void story_ballots(const struct ctl *ctl, const json_t *report)
{
    static const char *const columns[] = {"Member", "Frozen", "After ms", "TL", "Term of TL", "LSN", "May lead"};
    static const char *const fields[] = {"name", "frozen", "frozen_ms", "timeline", "timeline_term", "lsn"};
    const json_t *ballots = json_object_get(report, "ballots");
    AUTO(listing) struct listing *l = listing_new();

    if (*text_of(report, "coordinator"))
        (void)printf("  %s was decided by %s\n",
                     str_eq(text_of(report, "kind"), "switchover") ? "The successor" : "The election",
                     text_of(report, "coordinator"));
    if (json_array_size(ballots)) {
        for (size_t i = 0; i < ARRAY_LEN(columns); i++)
            listing_column(l, columns[i], i >= 2 && i <= 5 ? TABLE_RIGHT : TABLE_LEFT);
        for (size_t i = 0; i < json_array_size(ballots); i++) {
            json_t *row = json_array(), *b = json_array_get(ballots, i);
            const char *why_not = text_of(b, "why_not");
            for (size_t k = 0; k < ARRAY_LEN(fields); k++)
                json_array_append_new(row, k == 1
                                               ? json_string(json_is_true(json_object_get(b, "frozen")) ? "yes" : "no")
                                               : cell(b, fields[k]));
            json_array_append_new(row, *why_not ? json_sprintf("no: %s", why_not) : json_string("yes"));
            json_array_append_new(l->rows, row);
        }
        l->title = str_dup(" Votes ");
        show_listing(ctl, l, LISTING_PRETTY, NULL);
    }
    if (*text_of(report, "decided"))
        (void)printf("  Decided: %s\n", text_of(report, "decided"));
}

static void story_phases(const struct ctl *ctl, const json_t *report)
{
    static const char *const names[] = {"detect", "stop", "freeze", "choose", "promote", "marker", "open"};
    const json_t *phases = json_object_get(report, "phases");
    AUTO(listing) struct listing *l = listing_new();

    listing_column(l, "Took", TABLE_LEFT);
    listing_column(l, "ms", TABLE_RIGHT);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (json_object_get(phases, names[i]))
            json_array_append_new(l->rows, json_pack("[s, O]", names[i], json_object_get(phases, names[i])));
    json_array_append_new(l->rows, json_pack("[s, I]", "all", (json_int_t)number_of(report, "total_ms")));
    show_listing(ctl, l, LISTING_PRETTY, NULL);
}

static void story_end(const json_t *report)
{
    const json_t *back = json_object_get(report, "returned"), *extra = json_object_get(back, "extra_bytes");

    (void)printf("  Lost: %s\n", json_object_get(report, "lost") ? text_of(json_object_get(report, "lost"), "text")
                                                                 : "not known: the new leader has not told");
    if (!back) {
        (void)printf("  %s has not come back yet, as far as is known\n", text_of(report, "old_leader"));
        return;
    }
    (void)printf("  %s came back by %s, after %lld ms", text_of(back, "node"), text_of(back, "how"),
                 (long long)number_of(back, "ms"));
    if (json_is_integer(extra) && !json_integer_value(extra))
        (void)fputs("; all of its WAL is in the history that survived", stdout);
    else if (json_is_integer(extra))
        (void)printf("; %lld bytes of its WAL are not in the history that survived%s",
                     (long long)json_integer_value(extra),
                     json_is_true(json_object_get(back, "unacknowledged")) ? ", none of them acknowledged" : "");
    (void)putchar('\n');
}

static int no_report(const struct cluster *c, const char *cluster_name, const char *number)
{
    AUTO(buf) struct buf known = BUF_EMPTY;
    json_t *all = reports_merged(c->failovers);

    for (size_t i = 0; i < json_array_size(all); i++)
        buf_printf(&known, "%s%lld", i ? ", " : "", (long long)number_of(json_array_get(all, i), "term"));
    json_decref(all);
    if (!known.len)
        return ctl_refuse("no failover or switchover of cluster %s is on record", cluster_name);
    return ctl_refuse("no report of term %s is kept; there are those of %s", number, buf_cstr(&known));
}

static int explain_report(struct ctl *ctl, const char *name, const char *number, enum listing_format format)
{
    AUTO(cluster) struct cluster *c = NULL;
    struct err err;

    if (!ctl_read(ctl, name, &c, &err))
        return ctl_fail(&err);
    json_t *report = report_find(c->failovers, number);
    if (!report)
        return no_report(c, name, number);
    if (format == LISTING_PRETTY) {
        story_head(report);
        story_suspicion(report);
        story_ballots(ctl, report);
        story_phases(ctl, report);
        story_end(report);
    } else {
        show_json(report, format);
    }
    json_decref(report);
    return CTL_OK;
}

/* A number is the term of a report; what is none is a cluster. */
static const char *take_number(int *argc, char **argv)
{
    int64_t number;

    if (!*argc || !str_to_int(argv[*argc - 1], 0, INT64_MAX, &number))
        return "";
    return argv[--*argc];
}

int verb_explain(struct ctl *ctl, int argc, char **argv)
{
    const char *format = "pretty", *name;
    bool now = false;
    int status;
    const struct opt opts[] = {
        {0, "now", NULL, "For each node: why it could be promoted this moment, or could not", .flag = &now},
        {'f', "format", "TEXT", "Output format (pretty, json, yaml)", .text = &format, .choices = EXPLAIN_FORMATS},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status))
        return status;
    const char *number = take_number(&argc, argv);
    if (!ctl_cluster_argument(ctl, argc, argv, &name, &status))
        return status;
    if (now && *number)
        return ctl_misuse(ctl, "'--now' is about this moment, not about term %s.", number);
    return now ? explain_now_verb(ctl, name, listing_format_of(format))
               : explain_report(ctl, name, number, listing_format_of(format));
}

/* ---- plan --if-lost ---- */

static void add_fact(struct listing *l, const char *what, const char *text)
{
    json_array_append_new(l->rows, json_pack("[ss]", what, text));
}

/* "n2", "n2, or n3, n4: whoever has more when it is decided" */
static char *winners(const json_t *answer)
{
    const json_t *others = json_object_get(answer, "or");
    AUTO(buf) struct buf text = BUF_EMPTY;

    if (!json_is_true(json_object_get(answer, "possible")))
        return str_dup(json_is_true(json_object_get(answer, "leads")) ? "nobody" : "nobody leads");
    if (!json_is_true(json_object_get(answer, "leads")))
        return str_dup("nobody has to: the leader stays");
    buf_add_str(&text, text_of(answer, "winner"));
    for (size_t i = 0; i < json_array_size(others); i++)
        buf_printf(&text, "%s%s", i ? ", " : " or ", json_string_value(json_array_get(others, i)));
    if (json_array_size(others))
        buf_add_str(&text, ": any is as good, whoever has more at that moment");
    return buf_take(&text);
}

static void show_plan(const struct ctl *ctl, const json_t *answer)
{
    AUTO(listing) struct listing *l = listing_new();
    AUTO(cstr) char *who = winners(answer);

    listing_column(l, "Question", TABLE_LEFT);
    listing_column(l, "Answer", TABLE_LEFT);
    l->title = str_fmt(" If %s were lost ", text_of(answer, "if_lost"));
    add_fact(l, "Mode", text_of(answer, "mode"));
    add_fact(l, "Role", json_is_true(json_object_get(answer, "leads")) ? "leader" : "not the leader");
    add_fact(l, "Takes over", who);
    add_fact(l, "Because", text_of(answer, "why"));
    add_fact(l, "At risk", text_of(answer, "risk"));
    show_listing(ctl, l, LISTING_PRETTY, NULL);
}

/* As it may stand in a URL's query; free() it. */
static char *quoted(const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    struct buf out = BUF_EMPTY;

    for (const char *at = text; *at; at++)
        if (strchr(plain, *at))
            buf_add_char(&out, *at);
        else
            buf_printf(&out, "%%%02X", (unsigned char)*at);
    return buf_take(&out);
}

int verb_plan(struct ctl *ctl, int argc, char **argv)
{
    const char *format = "pretty", *lost = NULL, *name;
    json_t *answer;
    int status;
    const struct opt opts[] = {
        {0, "if-lost", "NODE", "The node that is lost", .text = &lost},
        {'f', "format", "TEXT", "Output format (pretty, json, yaml)", .text = &format, .choices = EXPLAIN_FORMATS},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) || !ctl_cluster_argument(ctl, argc, argv, &name, &status))
        return status;
    if (str_empty(lost))
        return ctl_misuse(ctl, "Missing option '--if-lost': which node?");
    AUTO(cstr) char *node = quoted(lost);
    AUTO(cstr) char *path = str_fmt("plan?if_lost=%s", node);
    if (!ask_members(ctl, name, path, &answer, &status))
        return status;
    if (listing_format_of(format) == LISTING_PRETTY)
        show_plan(ctl, answer);
    else
        show_json(answer, listing_format_of(format));
    json_decref(answer);
    return CTL_OK;
}
