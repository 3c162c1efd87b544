/* Parts that nodes wrote, and the story that is made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "wire/cluster.h"
#include "wire/report.h"

static struct report_part *part_of(const char *node)
{
    struct report_part *p = mem_zero(1, sizeof(*p));

    p->term = 8;
    p->by_quorum = true;
    p->wall_ms = 1764000000000;
    p->lost_bytes = -1;
    str_copy(p->node, sizeof(p->node), node);
    str_copy(p->old_leader, sizeof(p->old_leader), "n1");
    return p;
}

static void put(json_t *parts, struct report_part *take_part)
{
    (void)json_object_set_new(parts, take_part->node, report_part_json(take_part));
    free(take_part);
}

static struct report_part *coordinator(void)
{
    struct report_part *p = part_of("n3");

    p->at[REPORT_HEARD] = 10000;
    p->at[REPORT_SUSPECTED] = 10305;
    p->at[REPORT_CALLED] = 10320;
    p->at[REPORT_CHOSEN] = 10400;
    p->at[REPORT_ELECTED] = 10410;
    str_copy(p->whom, sizeof(p->whom), "n1");
    str_copy(p->why, sizeof(p->why), "n1 is silent for 305 ms");
    p->ages[p->age_count++] = (struct report_age){"n2", 310};
    p->ages[p->age_count++] = (struct report_age){"n4", MSEC_NEVER};
    p->coordinated = true;
    str_copy(p->winner, sizeof(p->winner), "n2");
    str_copy(p->decided, sizeof(p->decided), "n2 has it");
    p->ballots[p->ballot_count++] = (struct report_ballot){.name = "n2",
                                                           .frozen = true,
                                                           .frozen_ms = 41,
                                                           .timeline = 3,
                                                           .timeline_term = 7,
                                                           .known = true,
                                                           .position = 0x5000000};
    p->ballots[p->ballot_count++] = (struct report_ballot){.name = "n1", .frozen_ms = -1, .why_not = "is silent"};
    return p;
}

static struct report_part *winner(void)
{
    struct report_part *p = part_of("n2");

    p->at[REPORT_PROMISED] = 77000; /* another clock */
    p->at[REPORT_ELECTED] = 77100;
    p->at[REPORT_PRIMARY] = 77300;
    p->at[REPORT_MARKED] = 77350;
    p->at[REPORT_SERVING] = 77390;
    p->won = true;
    p->timeline = 4;
    p->from_timeline = 3;
    p->fork = 0x5000000;
    return p;
}

static json_int_t number(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static const char *text(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

static void test_the_parts_make_one_story(void **state)
{
    json_t *parts = json_object();
    put(parts, coordinator());
    put(parts, winner());

    json_t *r = report_merged("8", parts);
    assert_string_equal(text(r, "kind"), "failover");
    assert_string_equal(text(r, "old_leader"), "n1");
    assert_string_equal(text(r, "new_leader"), "n2");
    assert_string_equal(text(r, "coordinator"), "n3");
    assert_string_equal(text(r, "reason"), "n1 is silent for 305 ms");
    const json_t *phases = json_object_get(r, "phases");
    assert_int_equal(number(phases, "detect"), 320);
    assert_int_equal(number(phases, "freeze"), 80);
    assert_int_equal(number(phases, "choose"), 10);
    assert_int_equal(number(phases, "promote"), 200);
    assert_int_equal(number(phases, "marker"), 50);
    assert_int_equal(number(phases, "open"), 40);
    assert_int_equal(number(r, "total_ms"), 700);
    assert_true(json_is_true(json_object_get(json_object_get(r, "lost"), "proved")));
    const json_t *vote = json_array_get(json_object_get(r, "ballots"), 0);
    assert_string_equal(text(vote, "lsn"), "0/5000000");
    assert_int_equal(number(vote, "timeline_term"), 7);
    assert_null(json_object_get(json_array_get(json_object_get(r, "ballots"), 1), "frozen_ms"));
    const json_t *seen = json_array_get(json_object_get(r, "seen"), 0);
    const json_t *moments = json_object_get(seen, "moments");
    assert_int_equal(number(moments, "suspected"), 305); /* after the first of its own */
    assert_null(json_object_get(moments, "serving"));
    assert_null(json_object_get(r, "returned"));
    json_decref(r);
    json_decref(parts);
}

static void test_what_is_not_known_is_not_claimed(void **state)
{
    json_t *parts = json_object();
    put(parts, coordinator());

    json_t *r = report_merged("8", parts);
    assert_null(json_object_get(r, "lost")); /* the winner has not told */
    assert_null(json_object_get(json_object_get(r, "phases"), "promote"));
    assert_string_equal(text(r, "new_leader"), "n2");
    json_decref(r);

    struct report_part *w = winner();
    w->by_quorum = false;
    put(parts, w);
    r = report_merged("8", parts);
    assert_false(json_is_true(json_object_get(json_object_get(r, "lost"), "proved")));
    assert_string_equal(text(json_object_get(r, "lost"), "text"), "not known");
    json_decref(r);

    w = winner();
    w->by_quorum = false;
    w->lost_bytes = 4096;
    w->lost_age_ms = 900;
    put(parts, w);
    r = report_merged("8", parts);
    assert_int_equal(number(json_object_get(r, "lost"), "bytes"), 4096);
    json_decref(r);
    json_decref(parts);
}

/* Of an asynchronous failover, with what the old leader told once it was back (extra < 0: it was not). */
static void assert_lost(struct report_part *take_winner, int64_t extra, bool exact, const char *bound, int64_t bytes)
{
    json_t *parts = json_object();

    take_winner->by_quorum = false;
    put(parts, take_winner);
    if (extra >= 0) {
        struct report_part *old = part_of("n1");
        old->by_quorum = false;
        put(parts, old);
        report_part_return(json_object_get(parts, "n1"), "rewind", 10, extra, exact);
    }
    json_t *r = report_merged("8", parts);
    const json_t *lost = json_object_get(r, "lost");
    assert_string_equal(text(lost, "bound"), bound);
    assert_int_equal(json_is_true(json_object_get(lost, "proved")), str_eq(bound, "none"));
    if (bytes >= 0)
        assert_int_equal(number(lost, "bytes"), bytes);
    else
        assert_null(json_object_get(lost, "bytes"));
    json_decref(r);
    json_decref(parts);
}

static struct report_part *winner_that_knows(int64_t lost_bytes, bool handed)
{
    struct report_part *w = winner();

    w->lost_bytes = lost_bytes;
    w->handed = handed;
    return w;
}

static void test_what_is_lost_is_no_more_than_what_is_known(void **state)
{
    assert_lost(winner_that_knows(-1, false), -1, false, "unknown", -1);
    assert_lost(winner_that_knows(0, false), -1, false, "unknown", 0);
    assert_lost(winner_that_knows(100, false), -1, false, "at_least", 100);
    assert_lost(winner_that_knows(-1, true), -1, false, "none", 0);
    /* The old leader is back: after a stop in good order its end is the end, after a crash it is only what it has. */
    assert_lost(winner_that_knows(100, false), 300, true, "at_most", 300);
    assert_lost(winner_that_knows(100, false), 300, false, "at_least", 300);
    assert_lost(winner_that_knows(100, false), 0, true, "none", 0);
    assert_lost(winner_that_knows(0, false), 0, false, "unknown", 0);
}

static void test_the_newest_reports_are_kept(void **state)
{
    json_t *failovers = json_object();
    term gone[4];

    for (int t = 1; t <= REPORTS_KEPT; t++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%d", t);
        (void)json_object_set_new(failovers, name, json_object());
    }
    (void)json_object_set_new(failovers, "no term", json_object());
    assert_int_equal(reports_to_remove(failovers, REPORTS_KEPT, gone, 4), 0); /* written again */
    assert_int_equal(reports_to_remove(failovers, REPORTS_KEPT + 1, gone, 4), 1);
    assert_int_equal(gone[0], 1);
    for (int t = REPORTS_KEPT + 1; t <= REPORTS_KEPT + 9; t++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%d", t);
        (void)json_object_set_new(failovers, name, json_object());
    }
    assert_int_equal(reports_to_remove(failovers, 3, gone, 4), 4); /* not the one that is written, however old */
    for (size_t i = 0; i < 4; i++)
        assert_int_not_equal(gone[i], 3);
    json_decref(failovers);
}

static void test_a_leader_that_is_back_says_so_in_its_own_part(void **state)
{
    json_t *parts = json_object(), *own;
    put(parts, coordinator());
    put(parts, winner());
    put(parts, part_of("n1"));
    own = json_object_get(parts, "n1");
    report_part_return(own, "rewind", 2300, 120, true);

    json_t *r = report_merged("8", parts);
    const json_t *back = json_object_get(r, "returned");
    assert_string_equal(text(back, "node"), "n1");
    assert_string_equal(text(back, "how"), "rewind");
    assert_int_equal(number(back, "extra_bytes"), 120);
    assert_true(json_is_true(json_object_get(back, "unacknowledged")));
    json_decref(r);
    report_part_return(own, "start", 10, -1, false);
    r = report_merged("8", parts);
    assert_null(json_object_get(json_object_get(r, "returned"), "extra_bytes"));
    json_decref(r);
    json_decref(parts);
}

static void test_a_switchover_has_a_stop_instead_of_a_suspicion(void **state)
{
    json_t *parts = json_object();
    struct report_part *old = part_of("n1"), *w = winner();
    old->switchover = w->switchover = old->coordinated = true;
    old->at[REPORT_STOPPING] = 500;
    old->at[REPORT_CHOSEN] = 900;
    old->at[REPORT_ELECTED] = 910;
    put(parts, old);
    put(parts, w);

    json_t *r = report_merged("8", parts);
    assert_string_equal(text(r, "kind"), "switchover");
    assert_int_equal(number(json_object_get(r, "phases"), "stop"), 400);
    assert_null(json_object_get(json_object_get(r, "phases"), "detect"));
    json_decref(r);
    json_decref(parts);
}

static void test_a_part_has_a_limit(void **state)
{
    struct report_part *p = coordinator();
    p->ballot_count = REPORT_BALLOTS_MAX;
    p->age_count = REPORT_BALLOTS_MAX;
    for (size_t i = 0; i < REPORT_BALLOTS_MAX; i++) {
        memset(p->ballots[i].name, 'a', REPORT_NAME_MAX - 1);
        memset(p->ballots[i].why_not, '"', REPORT_NAME_MAX - 1);
        memset(p->ages[i].name, 'a' + (int)(i % 26), REPORT_NAME_MAX - 1);
    }
    json_t *part = report_part_json(p);
    AUTO(cstr) char *value = report_part_text(part);
    assert_true(strlen(value) <= REPORT_TEXT_MAX);
    assert_non_null(strstr(value, "n2 has it"));
    json_decref(part);
    free(p);
}

static void test_other_peoples_keys_are_taken_as_they_are(void **state)
{
    static const struct {
        const char *name, *value;
    } keys[] = {
        {"pgkeep_failovers/8/n2", "{\"v\":1,\"term\":8,\"mode\":\"quorum\",\"kind\":\"failover\",\"old_leader\":\"n1\","
                                  "\"won\":{\"from\":3,\"timeline\":4},\"node\":\"n2\","
                                  "\"suspicion\":{\"whom\":\"n1\",\"why\":\"PostgreSQL of n1 died\"}}"},
        {"pgkeep_failovers/8/n3", "[1]"},
        {"pgkeep_failovers/8/n4", "no JSON"},
        {"pgkeep_failovers/9/n4", "{\"v\":\"x\",\"moments\":7,\"won\":[],\"call\":1}"},
        {"pgkeep_failovers/x/n4", "{\"v\":1}"},
        {"pgkeep_failovers/11", "{\"v\":1}"},
        {"pgkeep_failovers/10/n1", "{\"v\":7,\"moments\":7,\"won\":{},\"call\":{\"ballots\":3},\"suspicion\":[]}"},
        {"history", "[[1,100,\"x\"],[3,200,\"no recovery target specified\",\"t\",\"n2\"]]"},
    };
    struct cluster_key read[ARRAY_LEN(keys)];
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        read[i] =
            (struct cluster_key){.name = keys[i].name, .value = keys[i].value, .value_len = strlen(keys[i].value)};
    AUTO(cluster) struct cluster *c = cluster_read(read, ARRAY_LEN(keys), 1);

    assert_null(c->bad);
    json_t *all = reports_merged(c->failovers);
    assert_int_equal(json_array_size(all), 2);
    assert_int_equal(number(json_array_get(all, 0), "term"), 8);
    assert_int_equal(number(json_array_get(all, 1), "term"), 10);
    json_decref(all);
    assert_null(report_find(c->failovers, "9"));
    assert_null(report_find(c->failovers, "12"));
    json_t *newest = report_find(c->failovers, "");
    assert_int_equal(number(newest, "term"), 10);
    json_decref(newest);

    json_t *lines = reports_history(c->history, c->failovers);
    assert_string_equal(json_string_value(json_array_get(json_array_get(lines, 1), 2)),
                        "failover: PostgreSQL of n1 died");
    assert_string_equal(json_string_value(json_array_get(json_array_get(lines, 0), 2)), "x");
    assert_string_equal(json_string_value(json_array_get(json_array_get(c->history, 1), 2)),
                        "no recovery target specified");
    json_decref(lines);
    assert_null(report_find(NULL, ""));
    lines = reports_history(NULL, NULL);
    assert_int_equal(json_array_size(lines), 0);
    json_decref(lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_parts_make_one_story),
        cmocka_unit_test(test_what_is_not_known_is_not_claimed),
        cmocka_unit_test(test_what_is_lost_is_no_more_than_what_is_known),
        cmocka_unit_test(test_the_newest_reports_are_kept),
        cmocka_unit_test(test_a_leader_that_is_back_says_so_in_its_own_part),
        cmocka_unit_test(test_a_switchover_has_a_stop_instead_of_a_suspicion),
        cmocka_unit_test(test_a_part_has_a_limit),
        cmocka_unit_test(test_other_peoples_keys_are_taken_as_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
