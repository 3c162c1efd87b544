#include "wire/report.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static const char *const moment_names[] = {
#define X(id, text) text,
    REPORT_MOMENTS(X)
#undef X
};

/* ---- a part ---- */

static void put_text(json_t *o, const char *name, const char *text)
{
    if (text[0])
        (void)json_object_set_new(o, name, json_string(text));
}

static void put_lsn(json_t *o, const char *name, lsn at)
{
    char text[LSN_TEXT_MAX];

    if (at)
        (void)json_object_set_new(o, name, json_string(lsn_text(at, text)));
}

static json_t *moments_json(const struct report_part *p)
{
    json_t *o = json_object();
    msec first_ms = MSEC_NEVER;

    for (size_t i = 0; i < REPORT_MOMENT_COUNT; i++)
        if (p->at[i])
            first_ms = msec_min(first_ms, p->at[i]);
    for (size_t i = 0; i < REPORT_MOMENT_COUNT; i++)
        if (p->at[i])
            (void)json_object_set_new(o, moment_names[i], json_integer(p->at[i] - first_ms));
    return o;
}

static json_t *suspicion_json(const struct report_part *p)
{
    json_t *o = json_object(), *ages = json_object();

    put_text(o, "whom", p->whom);
    put_text(o, "why", p->why);
    for (size_t i = 0; i < p->age_count; i++)
        (void)json_object_set_new(ages, p->ages[i].name,
                                  p->ages[i].ms == MSEC_NEVER ? json_null() : json_integer(p->ages[i].ms));
    (void)json_object_set_new(o, "ages", ages);
    return o;
}

static json_t *ballot_json(const struct report_ballot *b)
{
    json_t *o = json_object();

    put_text(o, "name", b->name);
    (void)json_object_set_new(o, "frozen", json_boolean(b->frozen));
    if (b->frozen_ms >= 0)
        (void)json_object_set_new(o, "frozen_ms", json_integer(b->frozen_ms));
    if (b->timeline)
        (void)json_object_set_new(o, "timeline", json_integer(b->timeline));
    if (b->known)
        (void)json_object_set_new(o, "timeline_term", json_integer((json_int_t)b->timeline_term));
    put_lsn(o, "lsn", b->position);
    put_text(o, "why_not", b->why_not);
    return o;
}

static json_t *call_json(const struct report_part *p)
{
    json_t *o = json_object(), *ballots = json_array();

    put_text(o, "winner", p->winner);
    put_text(o, "decided", p->decided);
    for (size_t i = 0; i < p->ballot_count; i++)
        (void)json_array_append_new(ballots, ballot_json(&p->ballots[i]));
    (void)json_object_set_new(o, "ballots", ballots);
    return o;
}

static json_t *won_json(const struct report_part *p)
{
    json_t *o = json_pack("{s:I, s:I}", "timeline", (json_int_t)p->timeline, "from", (json_int_t)p->from_timeline);

    put_lsn(o, "fork", p->fork);
    if (p->handed)
        (void)json_object_set_new(o, "handed", json_true());
    if (!p->by_quorum && p->lost_bytes >= 0) {
        (void)json_object_set_new(o, "lost_bytes", json_integer(p->lost_bytes));
        (void)json_object_set_new(o, "lost_age_ms", json_integer(p->lost_age_ms));
    }
    return o;
}

json_t *report_part_json(const struct report_part *p)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "v", json_integer(REPORT_VERSION));
    (void)json_object_set_new(o, "term", json_integer((json_int_t)p->term));
    put_text(o, "node", p->node);
    (void)json_object_set_new(o, "at", json_integer(p->wall_ms));
    put_text(o, "mode", p->by_quorum ? "quorum" : "asynchronous");
    put_text(o, "kind", p->switchover ? "switchover" : "failover");
    put_text(o, "old_leader", p->old_leader);
    (void)json_object_set_new(o, "moments", moments_json(p));
    if (p->whom[0])
        (void)json_object_set_new(o, "suspicion", suspicion_json(p));
    if (p->coordinated)
        (void)json_object_set_new(o, "call", call_json(p));
    if (p->won)
        (void)json_object_set_new(o, "won", won_json(p));
    return o;
}

void report_part_return(json_t *part, const char *how, msec took_ms, int64_t extra_bytes, bool exact)
{
    json_t *o = json_object();

    put_text(o, "how", how);
    (void)json_object_set_new(o, "ms", json_integer(took_ms));
    if (extra_bytes >= 0)
        (void)json_object_set_new(o, "extra_bytes", json_integer(extra_bytes));
    if (extra_bytes >= 0 && exact)
        (void)json_object_set_new(o, "exact", json_true());
    (void)json_object_set_new(part, "returned", o);
}

char *report_part_text(const json_t *part)
{
    char *text = json_dumps(part, JSON_COMPACT);

    if (strlen(text) <= REPORT_TEXT_MAX)
        return text;
    free(text);
    json_t *less = json_deep_copy(part);
    (void)json_object_del(json_object_get(less, "call"), "ballots");
    (void)json_object_del(json_object_get(less, "suspicion"), "ages");
    text = json_dumps(less, JSON_COMPACT);
    json_decref(less);
    return text;
}

/* ---- reading ---- */

static const char *text_of(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));

    return text ? text : "";
}

/* NULL: no part, or one that this program cannot read. */
static json_t *readable(json_t *part)
{
    return json_is_object(part) && json_integer_value(json_object_get(part, "v")) >= 1 ? part : NULL;
}

/* The part that has this object; NULL: none. */
static json_t *part_with(const json_t *parts, const char *name)
{
    const char *node;
    json_t *part;

    json_object_foreach((json_t *)parts, node,
                        part) if (readable(part) && json_is_object(json_object_get(part, name))) return part;
    return NULL;
}

/* From one moment to a later one, both of the same node's clock. Adds nothing where either is not known. */
static void phase(json_t *phases, const char *name, const json_t *part, const char *from, const char *to)
{
    const json_t *moments = json_object_get(part, "moments");
    const json_t *begin = json_object_get(moments, from), *end = json_object_get(moments, to);
    json_int_t took = json_integer_value(end) - json_integer_value(begin);

    if (json_is_integer(begin) && json_is_integer(end) && took >= 0)
        (void)json_object_set_new(phases, name, json_integer(took));
}

static bool has_moment(const json_t *part, const char *name)
{
    return json_is_integer(json_object_get(json_object_get(part, "moments"), name));
}

static json_t *phases_of(bool by_quorum, const json_t *call, const json_t *won, const json_t *old)
{
    json_t *phases = json_object();
    const json_t *seen = by_quorum ? call : won;

    if (old && has_moment(old, "stopping"))
        phase(phases, "stop", old, "stopping", by_quorum ? "chosen" : "stopped");
    else
        phase(phases, "detect", seen, has_moment(seen, "heard") ? "heard" : "suspected",
              by_quorum ? "called" : "elected");
    if (by_quorum) {
        phase(phases, "freeze", call, "called", "chosen");
        phase(phases, "choose", call, "chosen", "elected");
    }
    phase(phases, "promote", won, "elected", "primary");
    if (by_quorum)
        phase(phases, "marker", won, "primary", "marked");
    phase(phases, "open", won, by_quorum ? "marked" : "primary", "serving");
    return phases;
}

static json_int_t sum(const json_t *phases)
{
    const char *name;
    json_t *ms;
    json_int_t total = 0;

    json_object_foreach((json_t *)phases, name, ms) total += json_integer_value(ms);
    return total;
}

/* Takes *take_text. bytes < 0: there is no number. */
static json_t *lost(const char *bound, json_int_t bytes, json_t *take_text)
{
    json_t *o = json_pack("{s:b, s:s}", "proved", str_eq(bound, "none"), "bound", bound);

    if (bytes >= 0)
        (void)json_object_set_new(o, "bytes", json_integer(bytes));
    (void)json_object_set_new(o, "text", take_text);
    return o;
}

/*
 * What was acknowledged and is gone. Asynchronous: nobody knows before the old leader is back, unless it handed over;
 * and then it is WAL that can be counted, whether its commits were acknowledged or not.
 */
static json_t *lost_of(bool by_quorum, const json_t *won, const json_t *returned)
{
    const json_t *w = json_object_get(won, "won");
    const json_t *bytes = json_object_get(w, "lost_bytes"), *extra = json_object_get(returned, "extra_bytes");
    json_int_t published = json_is_integer(bytes) ? json_integer_value(bytes) : -1;
    json_int_t counted = json_is_integer(extra) ? json_integer_value(extra) : -1;
    bool exact = json_is_true(json_object_get(returned, "exact"));

    if (by_quorum)
        return lost(
            "none", 0,
            json_string("nothing: proved, the new leader had all that can have been acknowledged by the quorum"));
    if (json_is_true(json_object_get(w, "handed")))
        return lost("none", 0,
                    json_string("nothing: the old leader had stopped in good order, and all of it was here"));
    if (counted == 0 && exact)
        return lost("none", 0, json_string("nothing: the old leader's WAL ended within the history that survived"));
    if (counted >= 0 && exact)
        return lost(
            "at_most", counted,
            json_sprintf("at most %lld bytes of WAL, counted when the old leader was back", (long long)counted));
    if (counted > 0)
        return lost("at_least", counted,
                    json_sprintf("at least %lld bytes of WAL, which the old leader had when it was back; how much more "
                                 "it had is not known",
                                 (long long)counted));
    if (published > 0)
        return lost("at_least", published,
                    json_sprintf("asynchronous: %lld bytes that the old leader had published %lld ms before, and what "
                                 "it wrote after that",
                                 (long long)published,
                                 (long long)json_integer_value(json_object_get(w, "lost_age_ms"))));
    if (published == 0)
        return lost("unknown", 0,
                    json_sprintf("asynchronous: nothing that the old leader had published %lld ms before; what it "
                                 "wrote after that is not known",
                                 (long long)json_integer_value(json_object_get(w, "lost_age_ms"))));
    return lost("unknown", -1, json_string("not known"));
}

/* The coordinator's suspicion, or any. */
static const json_t *suspicion_of(const json_t *parts, const json_t *call)
{
    const json_t *own = json_object_get(call, "suspicion");

    return own ? own : json_object_get(part_with(parts, "suspicion"), "suspicion");
}

static json_t *any_part(const json_t *parts)
{
    const char *node;
    json_t *part;

    json_object_foreach((json_t *)parts, node, part) if (readable(part)) return part;
    return NULL;
}

static json_t *seen_of(const json_t *parts)
{
    json_t *seen = json_array(), *part;
    const char *node;

    json_object_foreach((json_t *)parts, node, part)
    {
        if (!readable(part))
            continue;
        json_t *o = json_pack("{s:s}", "node", node);
        static const char *const fields[] = {"moments", "suspicion"};
        for (size_t i = 0; i < ARRAY_LEN(fields); i++)
            if (json_object_get(part, fields[i]))
                (void)json_object_set(o, fields[i], json_object_get(part, fields[i]));
        (void)json_array_append_new(seen, o);
    }
    return seen;
}

static void put_return(json_t *o, bool by_quorum, const json_t *back)
{
    json_t *returned = json_object_get(back, "returned");

    if (!json_is_object(returned))
        return;
    json_t *copy = json_deep_copy(returned);
    (void)json_object_set_new(copy, "node", json_string(text_of(back, "node")));
    (void)json_object_set_new(copy, "unacknowledged", json_boolean(by_quorum));
    (void)json_object_set_new(o, "returned", copy);
}

json_t *report_merged(const char *term_text, const json_t *parts)
{
    const json_t *any = any_part(parts);
    int64_t number = 0;

    if (!any || !str_to_int(term_text, 1, INT64_MAX, &number))
        return NULL;
    const json_t *call = part_with(parts, "call"), *won = part_with(parts, "won");
    const json_t *base = won ? won : call ? call : any;
    const json_t *old = readable(json_object_get(parts, text_of(base, "old_leader")));
    const json_t *suspicion = suspicion_of(parts, call);
    bool by_quorum = str_eq(text_of(base, "mode"), "quorum");
    bool switchover = str_eq(text_of(base, "kind"), "switchover");
    json_t *o = json_object(), *phases = phases_of(by_quorum, call, won, switchover ? old : NULL);

    (void)json_object_set_new(o, "v", json_integer(REPORT_VERSION));
    (void)json_object_set_new(o, "term", json_integer(number));
    (void)json_object_set_new(o, "kind", json_string(switchover ? "switchover" : "failover"));
    (void)json_object_set_new(o, "mode", json_string(text_of(base, "mode")));
    (void)json_object_set_new(o, "at", json_integer(json_integer_value(json_object_get(base, "at"))));
    put_text(o, "old_leader", text_of(base, "old_leader"));
    put_text(o, "new_leader", won ? text_of(won, "node") : text_of(json_object_get(call, "call"), "winner"));
    put_text(o, "coordinator", text_of(call, "node"));
    put_text(o, "reason", switchover ? "handed over in good order" : text_of(suspicion, "why"));
    put_text(o, "decided", text_of(json_object_get(call, "call"), "decided"));
    json_t *ballots = json_object_get(json_object_get(call, "call"), "ballots");
    (void)json_object_set_new(o, "ballots", json_is_array(ballots) ? json_incref(ballots) : json_array());
    if (won)
        (void)json_object_set(o, "won", json_object_get(won, "won"));
    (void)json_object_set_new(o, "total_ms", json_integer(sum(phases)));
    (void)json_object_set_new(o, "phases", phases);
    if (won)
        (void)json_object_set_new(o, "lost",
                                  lost_of(by_quorum, won, json_object_get(part_with(parts, "returned"), "returned")));
    put_return(o, by_quorum, part_with(parts, "returned"));
    (void)json_object_set_new(o, "seen", seen_of(parts));
    return o;
}

static int newer_first(const void *a, const void *b)
{
    term left = *(const term *)a, right = *(const term *)b;

    return left > right ? -1 : left < right;
}

size_t reports_to_remove(const json_t *failovers, term kept, term *ret_terms, size_t cap)
{
    term *terms = mem_zero(json_object_size(failovers) + 1, sizeof(*terms));
    size_t count = 0, found = 0;
    const char *term_text;
    json_t *parts;
    int64_t t;

    json_object_foreach((json_t *)failovers, term_text, parts)
    {
        if (str_to_int(term_text, 1, INT64_MAX, &t) && (term)t != kept)
            terms[count++] = (term)t;
    }
    qsort(terms, count, sizeof(*terms), newer_first);
    for (size_t i = REPORTS_KEPT - 1; i < count && found < cap; i++)
        ret_terms[found++] = terms[i];
    free(terms);
    return found;
}

static int by_term(const void *a, const void *b)
{
    json_int_t left = json_integer_value(json_object_get(*(json_t *const *)a, "term"));
    json_int_t right = json_integer_value(json_object_get(*(json_t *const *)b, "term"));

    return left < right ? -1 : left > right;
}

json_t *reports_merged(const json_t *failovers)
{
    json_t *all = json_array(), *parts, **sorted = mem_zero(json_object_size(failovers) + 1, sizeof(json_t *));
    const char *term_text;
    size_t count = 0;

    json_object_foreach((json_t *)failovers, term_text, parts)
    {
        json_t *one = report_merged(term_text, parts);
        if (one)
            sorted[count++] = one;
    }
    qsort(sorted, count, sizeof(json_t *), by_term);
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(all, sorted[i]);
    free(sorted);
    return all;
}

json_t *report_find(const json_t *failovers, const char *term_text)
{
    if (term_text[0])
        return report_merged(term_text, json_object_get(failovers, term_text));
    json_t *all = reports_merged(failovers);
    json_t *newest = json_incref(json_array_get(all, json_array_size(all) - 1));

    json_decref(all);
    return newest;
}

/* ---- history ---- */

/* "failover: n1 is silent …", of the report whose winner left this timeline. NULL: none knows. */
static char *reason_for(const json_t *reports, json_int_t timeline, const char *leader)
{
    for (size_t i = json_array_size(reports); i-- > 0;) {
        const json_t *r = json_array_get(reports, i), *won = json_object_get(r, "won");
        bool same = json_integer_value(json_object_get(won, "from")) == timeline &&
                    json_integer_value(json_object_get(won, "timeline")) != timeline &&
                    (!leader || str_eq(leader, text_of(r, "new_leader")));
        if (same && text_of(r, "reason")[0])
            return str_fmt("%s: %s", text_of(r, "kind"), text_of(r, "reason"));
    }
    return NULL;
}

json_t *reports_history(const json_t *history, const json_t *failovers)
{
    json_t *lines = json_is_array(history) ? json_deep_copy(history) : json_array();
    json_t *reports = reports_merged(failovers);

    for (size_t i = 0; i < json_array_size(lines); i++) {
        json_t *line = json_array_get(lines, i);
        json_int_t timeline = json_integer_value(json_array_get(line, 0));
        char *reason = reason_for(reports, timeline, json_string_value(json_array_get(line, 4)));
        if (reason && json_array_size(line) > 2)
            (void)json_array_set_new(line, 2, json_string(reason));
        free(reason);
    }
    json_decref(reports);
    return lines;
}
