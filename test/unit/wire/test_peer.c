/* What agents tell each other, as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/str.h"
#include "wire/peer.h"

/* Each field has a value of its own, so that two that are mixed up show. */
static void fill(struct peer_state *s)
{
    peer_state_init(s);
    str_copy(s->name, sizeof(s->name), "n1");
    s->boot = 0x1122334455667788;
    s->seq = 7;
    s->ending = true;
    s->promised = 12;
    str_copy(s->coordinator, sizeof(s->coordinator), "n2#3");
    s->calls = 13;
    s->record_term = 11;
    s->record_revision = INT64_MAX;
    s->incarnation = 14;
    s->system_id = UINT64_MAX;
    s->freeze = PEER_FREEZE_STANDBY;
    s->frozen_term = 15;
    s->timeline = 16;
    s->position = 0x300000060;
    s->replayed = 0x300000050;
    s->process = PEER_PROC_ORPHANS;
    s->accepting = true;
    s->in_recovery = true;
    s->serving = true;
    s->sick = PEER_SICK_DISK | PEER_SICK_HALTED;
    s->failover_priority = 17;
    s->sync_priority = 18;
    str_copy(s->upstream, sizeof(s->upstream), "n3");
    s->upstream_term = 19;
    s->wal_age_ms = 20;
    s->unfit = true;
    s->told_ms = 22;
    str_copy(s->grants, sizeof(s->grants), "n4");
    s->free_of = 23;
    s->elector = true;
    s->heard[0] = (struct peer_heard){"n2", 21, 0xb007, 123456};
    s->heard[1] = (struct peer_heard){.name = "n3", .age_ms = UINT32_MAX};
    s->heard_count = 2;
}

static struct span bytes_of(const unsigned char *bytes, size_t len)
{
    return (struct span){bytes, len};
}

static void assert_same(const struct peer_state *a, const struct peer_state *b)
{
    unsigned char one[PEER_STATE_MAX];
    unsigned char two[PEER_STATE_MAX];
    size_t len = peer_encode(a, one);

    assert_int_equal(len, peer_encode(b, two));
    assert_memory_equal(one, two, len);
}

static void test_a_state_comes_back_as_it_was_sent(void **state)
{
    struct peer_state sent;
    struct peer_state got;
    unsigned char bytes[PEER_STATE_MAX];

    fill(&sent);
    struct span in = bytes_of(bytes, peer_encode(&sent, bytes));
    assert_int_equal(peer_decode(&in, &got), PEER_OK);
    assert_int_equal(in.len, 0);

    assert_string_equal(got.name, "n1");
    assert_int_equal(got.boot, 0x1122334455667788);
    assert_int_equal(got.seq, 7);
    assert_true(got.ending);
    assert_int_equal(got.promised, 12);
    assert_string_equal(got.coordinator, "n2#3");
    assert_int_equal(got.calls, 13);
    assert_int_equal(got.record_term, 11);
    assert_true(got.record_revision == INT64_MAX);
    assert_int_equal(got.incarnation, 14);
    assert_true(got.system_id == UINT64_MAX);
    assert_int_equal(got.freeze, PEER_FREEZE_STANDBY);
    assert_int_equal(got.frozen_term, 15);
    assert_int_equal(got.timeline, 16);
    assert_int_equal(got.position, 0x300000060);
    assert_int_equal(got.replayed, 0x300000050);
    assert_int_equal(got.process, PEER_PROC_ORPHANS);
    assert_true(got.accepting);
    assert_true(got.in_recovery);
    assert_false(got.primary);
    assert_true(got.serving);
    assert_int_equal(got.sick, PEER_SICK_DISK | PEER_SICK_HALTED);
    assert_int_equal(got.failover_priority, 17);
    assert_int_equal(got.sync_priority, 18);
    assert_string_equal(got.upstream, "n3");
    assert_int_equal(got.upstream_term, 19);
    assert_int_equal(got.wal_age_ms, 20);
    assert_true(got.unfit);
    assert_int_equal(got.told_ms, 22);
    assert_string_equal(got.grants, "n4");
    assert_int_equal(got.free_of, 23);
    assert_true(got.elector);
    assert_int_equal(got.heard_count, 2);
    assert_string_equal(got.heard[0].name, "n2");
    assert_int_equal(got.heard[0].age_ms, 21);
    assert_int_equal(got.heard[0].boot, 0xb007);
    assert_int_equal(got.heard[0].told_ms, 123456);
    assert_string_equal(got.heard[1].name, "n3");
    assert_true(got.heard[1].age_ms == UINT32_MAX);
}

static void test_the_longest_state_fits(void **state)
{
    struct peer_state sent;
    struct peer_state got;
    unsigned char bytes[PEER_STATE_MAX];

    fill(&sent);
    memset(sent.name, 'n', sizeof(sent.name) - 1);
    memset(sent.coordinator, 'c', sizeof(sent.coordinator) - 1);
    memset(sent.upstream, 'u', sizeof(sent.upstream) - 1);
    for (size_t i = 0; i < PEER_HEARD_MAX; i++) {
        memset(sent.heard[i].name, 'h', PEER_NAME_MAX - 1);
        sent.heard[i].name[PEER_NAME_MAX - 1] = '\0';
        sent.heard[i].age_ms = (uint32_t)i;
    }
    sent.heard_count = PEER_HEARD_MAX;

    struct span in = bytes_of(bytes, peer_encode(&sent, bytes));
    assert_int_equal(peer_decode(&in, &got), PEER_OK);
    assert_same(&sent, &got);
}

static void test_any_split_gives_the_same_messages(void **state)
{
    struct peer_state sent;
    struct peer_state got;
    unsigned char bytes[2 * PEER_STATE_MAX];

    fill(&sent);
    size_t len = peer_encode(&sent, bytes);
    sent.seq = 8;
    size_t both = len + peer_encode(&sent, bytes + len);

    for (size_t have = 0; have < len; have++) {
        struct span in = bytes_of(bytes, have);
        assert_int_equal(peer_decode(&in, &got), PEER_MORE);
        assert_ptr_equal(in.at, bytes);
        assert_int_equal(in.len, have);
    }
    struct span in = bytes_of(bytes, both);
    assert_int_equal(peer_decode(&in, &got), PEER_OK);
    assert_int_equal(got.seq, 7);
    assert_ptr_equal(in.at, bytes + len);
    assert_int_equal(peer_decode(&in, &got), PEER_OK);
    assert_int_equal(got.seq, 8);
    assert_int_equal(peer_decode(&in, &got), PEER_MORE);
}

static enum peer_result decode(const char *bytes, size_t len, struct peer_state *ret_state)
{
    struct span in = {(const unsigned char *)bytes, len};

    return peer_decode(&in, ret_state);
}
#define DECODE(bytes, ret) decode(bytes, sizeof(bytes) - 1, ret)

static void test_what_a_later_version_adds_is_skipped(void **state)
{
    struct peer_state got;

    /* version 2 that version 1 can read: a new field, a longer entry of `heard`, new values of both enums */
    assert_int_equal(DECODE("\0\0\0\x23\x02\x01"
                            "\0\x01\0\x01x"
                            "\0\x0c\0\x01\x63"
                            "\0\x11\0\x01\x63"
                            "\0\x1e\0\x09\x08\x01y\0\0\0\x05++"
                            "\xff\xff\0\x01z",
                            &got),
                     PEER_OK);
    assert_string_equal(got.name, "x");
    assert_int_equal(got.freeze, PEER_FREEZE_NONE);
    assert_int_equal(got.process, PEER_PROC_UNKNOWN);
    assert_int_equal(got.heard_count, 1);
    assert_string_equal(got.heard[0].name, "y");
    assert_int_equal(got.heard[0].age_ms, 5);
}

static void test_what_an_older_version_lacks_is_unknown(void **state)
{
    struct peer_state got;
    struct peer_state unknown;

    assert_int_equal(DECODE("\0\0\0\x07\x01\x01\0\x01\0\x01x", &got), PEER_OK);
    peer_state_init(&unknown);
    str_copy(unknown.name, sizeof(unknown.name), "x");
    assert_same(&unknown, &got);
    assert_true(got.wal_age_ms == UINT32_MAX);
}

static void test_what_is_malformed_is_refused(void **state)
{
    static const struct {
        const char *what;
        const char *bytes;
        size_t len;
    } cases[] = {
#define BAD(what, bytes) {what, bytes, sizeof(bytes) - 1}
        BAD("longer than any message", "\0\0\x3f\xfd"),
        BAD("length with the high bit", "\xff\xff\xff\xff"),
        BAD("no version", "\0\0\0\0"),
        BAD("half a version", "\0\0\0\x01\x01"),
        BAD("not for our version", "\0\0\0\x07\x02\x02\0\x01\0\x01x"),
        BAD("no name", "\0\0\0\x02\x01\x01"),
        BAD("an empty name", "\0\0\0\x06\x01\x01\0\x01\0\0"),
        BAD("a NUL in a name", "\0\0\0\x08\x01\x01\0\x01\0\x02x\0"),
        BAD("a field past the end", "\0\0\0\x07\x01\x01\0\x01\0\x02x"),
        BAD("half a field's head", "\0\0\0\x09\x01\x01\0\x01\0\x01x\0\x02"),
        BAD("a field twice", "\0\0\0\x0c\x01\x01\0\x01\0\x01x\0\x01\0\x01y"),
        BAD("fields out of order", "\0\0\0\x0c\x01\x01\0\x04\0\x01\0\0\x01\0\x01x"),
        BAD("a number of another width", "\0\0\0\x0c\x01\x01\0\x01\0\x01x\0\x02\0\x01\x05"),
        BAD("a bool of two bytes", "\0\0\0\x0d\x01\x01\0\x01\0\x01x\0\x04\0\x02\0\x01"),
        BAD("a bool that is neither", "\0\0\0\x0c\x01\x01\0\x01\0\x01x\0\x04\0\x01\x02"),
        BAD("an entry past its field", "\0\0\0\x0c\x01\x01\0\x01\0\x01x\0\x1e\0\x01\x06"),
        BAD("an entry's name past the entry", "\0\0\0\x12\x01\x01\0\x01\0\x01x\0\x1e\0\x07\x06\x06y\0\0\0\x05"),
        BAD("an entry without an age", "\0\0\0\x0e\x01\x01\0\x01\0\x01x\0\x1e\0\x03\x02\x01y"),
        BAD("an entry without a name", "\0\0\0\x11\x01\x01\0\x01\0\x01x\0\x1e\0\x06\x05\0\0\0\0\x05"),
#undef BAD
    };
    struct peer_state got;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span in = {(const unsigned char *)cases[i].bytes, cases[i].len};

        if (peer_decode(&in, &got) != PEER_BAD)
            fail_msg("%s: taken", cases[i].what);
        assert_int_equal(in.len, cases[i].len);
    }
}

static void test_a_text_that_is_too_long_is_refused(void **state)
{
    char bytes[4 + 2 + 4 + PEER_NAME_MAX] = {0, 0, 0, 2 + 4 + PEER_NAME_MAX - 256, 1, 1, 0, 1, 0, PEER_NAME_MAX - 256};
    struct peer_state got;

    memset(bytes + 10, 'x', PEER_NAME_MAX);
    assert_int_equal(decode(bytes, sizeof(bytes), &got), PEER_BAD);
    bytes[3]--;
    bytes[9]--;
    assert_int_equal(decode(bytes, sizeof(bytes) - 1, &got), PEER_OK);
    assert_int_equal(strlen(got.name), PEER_NAME_MAX - 1);
}

static void test_more_entries_than_there_is_room_for(void **state)
{
    char bytes[2048] = {0, 0, 0, 0, 1, 1, 0, 1, 0, 1, 'x', 0, 30, 0, 0};
    size_t len = 15;
    struct peer_state got;

    for (int i = 0; i < PEER_HEARD_MAX + 2; i++) {
        memcpy(bytes + len, "\x06\x01y\0\0\0\x05", 7);
        len += 7;
    }
    bytes[2] = (char)((len - 4) >> 8);
    bytes[3] = (char)(len - 4);
    bytes[13] = (char)((len - 15) >> 8);
    bytes[14] = (char)(len - 15);
    assert_int_equal(decode(bytes, len, &got), PEER_OK);
    assert_int_equal(got.heard_count, PEER_HEARD_MAX);
}

static struct peer_state before, now;

static bool news(void)
{
    bool is = peer_state_is_news(&before, &now);

    now = before;
    return is;
}

static void test_what_others_must_hear_at_once(void **state)
{
    fill(&before);
    before.freeze = PEER_FREEZE_NONE;
    now = before;
    assert_false(news());
#define SET(assignment) (now.assignment, news())
    assert_true(SET(boot = 1));
    assert_true(SET(ending = false));
    assert_true(SET(promised = 1));
    assert_true(SET(coordinator[0] = 'x'));
    assert_true(SET(calls = 1));
    assert_true(SET(record_term = 1));
    assert_true(SET(record_revision = 1));
    assert_true(SET(incarnation = 1));
    assert_true(SET(system_id = 1));
    assert_true(SET(freeze = PEER_FREEZE_FENCED));
    assert_true(SET(frozen_term = 1));
    assert_true(SET(process = PEER_PROC_NONE));
    assert_true(SET(accepting = false));
    assert_true(SET(in_recovery = false));
    assert_true(SET(primary = true));
    assert_true(SET(serving = false));
    assert_true(SET(sick = 0));
    assert_true(SET(failover_priority = 0));
    assert_true(SET(sync_priority = 0));
    assert_true(SET(upstream[0] = '\0'));
    assert_true(SET(upstream_term = 1));
    assert_true(SET(timeline = 100));
    assert_true(SET(grants[0] = '\0'));
    assert_true(SET(free_of = 24));
    assert_true(SET(elector = false));
}

static void test_what_merely_moves_waits_for_the_heartbeat(void **state)
{
    fill(&before);
    before.freeze = PEER_FREEZE_NONE;
    now = before;
    assert_false(SET(seq = 100));
    assert_false(SET(told_ms = 100));
    assert_false(SET(position = 100));
    assert_false(SET(replayed = 100));
    assert_false(SET(wal_age_ms = 100));
    assert_false(SET(heard[0].age_ms = 100));
    assert_false(SET(heard_count = 1));
}

static void test_the_position_of_a_frozen_one_is_waited_for(void **state)
{
    fill(&before);
    now = before;
    assert_true(SET(position = 100));
    assert_true(SET(timeline = 100));
    assert_false(SET(replayed = 100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_state_comes_back_as_it_was_sent),
        cmocka_unit_test(test_the_longest_state_fits),
        cmocka_unit_test(test_any_split_gives_the_same_messages),
        cmocka_unit_test(test_what_a_later_version_adds_is_skipped),
        cmocka_unit_test(test_what_an_older_version_lacks_is_unknown),
        cmocka_unit_test(test_what_is_malformed_is_refused),
        cmocka_unit_test(test_a_text_that_is_too_long_is_refused),
        cmocka_unit_test(test_more_entries_than_there_is_room_for),
        cmocka_unit_test(test_what_others_must_hear_at_once),
        cmocka_unit_test(test_what_merely_moves_waits_for_the_heartbeat),
        cmocka_unit_test(test_the_position_of_a_frozen_one_is_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
