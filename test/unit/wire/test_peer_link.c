/* How two agents get to know each other, as bytes and proofs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/str.h"
#include "wire/peer_link.h"

static struct peer_hello hello(const char *from, const char *to)
{
    struct peer_hello h = {.version = 1, .oldest = 1, .system_id = 7};

    memset(h.nonce, 0x5a, sizeof(h.nonce));
    str_copy(h.cluster, sizeof(h.cluster), "/service/one/");
    str_copy(h.from, sizeof(h.from), from);
    str_copy(h.to, sizeof(h.to), to);
    return h;
}

static struct peer_frame frame_of(const unsigned char *bytes, size_t len)
{
    struct span in = {bytes, len};
    struct peer_frame frame;

    assert_int_equal(peer_frame_next(&in, &frame), PEER_OK);
    assert_int_equal(in.len, 0);
    return frame;
}

static void test_a_hello_comes_back_as_it_was_sent(void **state)
{
    struct peer_hello sent = hello("n1", "n2");
    struct peer_hello got;
    unsigned char bytes[PEER_HELLO_MAX];

    sent.has_verified = true;
    struct peer_frame frame = frame_of(bytes, peer_hello_frame(&sent, bytes));
    assert_int_equal(frame.kind, PEER_HELLO);
    assert_true(peer_hello_read(frame.body, &got));
    assert_int_equal(got.version, 1);
    assert_int_equal(got.oldest, 1);
    assert_true(got.has_verified);
    assert_memory_equal(got.nonce, sent.nonce, PEER_NONCE);
    assert_string_equal(got.cluster, "/service/one/");
    assert_string_equal(got.from, "n1");
    assert_string_equal(got.to, "n2");
    assert_int_equal(got.system_id, 7);
}

static void test_the_longest_hello_fits(void **state)
{
    struct peer_hello sent = hello("", "");
    struct peer_hello got;
    unsigned char bytes[PEER_HELLO_MAX];

    memset(sent.cluster, 'c', PEER_CLUSTER_MAX - 1);
    memset(sent.from, 'f', PEER_NAME_MAX - 1);
    memset(sent.to, 't', PEER_NAME_MAX - 1);
    assert_true(peer_hello_read(frame_of(bytes, peer_hello_frame(&sent, bytes)).body, &got));
    assert_string_equal(got.cluster, sent.cluster);
    assert_string_equal(got.from, sent.from);
    assert_string_equal(got.to, sent.to);
}

static void test_any_split_gives_the_same_frames(void **state)
{
    struct peer_hello sent = hello("n1", "n2");
    unsigned char bytes[2 * PEER_HELLO_MAX];
    struct peer_frame frame;
    size_t len = peer_hello_frame(&sent, bytes);
    size_t both = len + peer_hello_frame(&sent, bytes + len);

    for (size_t have = 0; have < len; have++) {
        struct span in = {bytes, have};
        assert_int_equal(peer_frame_next(&in, &frame), PEER_MORE);
        assert_int_equal(in.len, have);
    }
    struct span in = {bytes, both};
    assert_int_equal(peer_frame_next(&in, &frame), PEER_OK);
    assert_int_equal(frame.whole.len, len);
    assert_ptr_equal(in.at, bytes + len);
    assert_int_equal(peer_frame_next(&in, &frame), PEER_OK);
    assert_int_equal(in.len, 0);
}

static void test_frames_have_a_length_that_can_be(void **state)
{
    static const char *const bad[] = {"\0\0\0\0", "\xff\xff\xff\xff", "\0\0\x40\x3d"};
    struct peer_frame frame;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct span in = {(const unsigned char *)bad[i], 4};
        assert_int_equal(peer_frame_next(&in, &frame), PEER_BAD);
    }
}

static bool reads(const char *bytes, size_t len)
{
    struct span in = {(const unsigned char *)bytes, len};
    struct peer_hello got;

    return peer_hello_read(in, &got);
}
#define READS(bytes) reads(bytes, sizeof(bytes) - 1)
#define NONCE      \
    "\0\x04\0\x20" \
    "0123456789abcdef0123456789abcdef"

static void test_a_hello_that_is_none_is_refused(void **state)
{
    assert_true(READS("\0\x01\0\x01\x01" NONCE "\0\x06\0\x01x"));
    assert_true(READS("\0\x01\0\x01\x01" NONCE "\0\x06\0\x01x\0\x63\0\x01+")); /* of a later version */
    assert_false(READS(""));
    assert_false(READS("\0\x01\0\x01\x01\0\x06\0\x01x"));                          /* no nonce */
    assert_false(READS("\0\x01\0\x01\x01" NONCE));                                 /* no name */
    assert_false(READS(NONCE "\0\x06\0\x01x"));                                    /* no version */
    assert_false(READS("\0\x01\0\x01\x01" NONCE "\0\x06\0\x02x"));                 /* past the end */
    assert_false(READS("\0\x01\0\x01\x01" NONCE NONCE "\0\x06\0\x01x"));           /* twice */
    assert_false(READS("\0\x01\0\x01\x01\0\x04\0\x02++\0\x06\0\x01x"));            /* a short nonce */
    assert_false(READS("\0\x01\0\x01\x01" NONCE "\0\x06\0\x02x\0"));               /* a NUL in the name */
    assert_false(READS("\0\x01\0\x01\x01" NONCE "\0\x06\0\x01x\0\x08\0\x01\x01")); /* a short identifier */
}

static void test_what_a_connection_is_refused_for(void **state)
{
    struct peer_hello acceptor = hello("n2", "n1");
    char why[PEER_REASON_MAX];
    struct peer_hello connector;

#define REFUSED(change, text)                                        \
    do {                                                             \
        connector = hello("n1", "n2");                               \
        change;                                                      \
        assert_true(peer_hello_refused(&acceptor, &connector, why)); \
        assert_string_equal(why, text);                              \
    } while (0)

    connector = hello("n1", "n2");
    assert_false(peer_hello_refused(&acceptor, &connector, why));
    connector.system_id = 0; /* not known yet: a new node */
    assert_false(peer_hello_refused(&acceptor, &connector, why));
    connector.version = 9; /* and version 1 can read it */
    assert_false(peer_hello_refused(&acceptor, &connector, why));
    REFUSED(connector.version = connector.oldest = 2, "version 2 of the agents' protocol does not go with version 1");
    REFUSED(str_copy(connector.cluster, 20, "/service/t\nwo/"), "cluster /service/t?wo/ is not cluster /service/one/");
    REFUSED(str_copy(connector.to, 10, "n3"), "this is n2, not n3");
    REFUSED(str_copy(connector.from, 10, "n2"), "both sides are called n2");
    REFUSED(str_copy(connector.from, 10, "n4"), "that is n4, not n1");
    REFUSED(connector.system_id = 8, "system identifier 8 is not 7");
}

static void test_a_proof_holds_for_its_key_its_side_and_its_nonces_only(void **state)
{
    struct peer_hello one = hello("n1", "n2");
    struct peer_hello two = hello("n2", "n1");
    unsigned char first[PEER_HELLO_MAX];
    unsigned char second[PEER_HELLO_MAX];
    unsigned char other[PEER_HELLO_MAX];
    unsigned char mac[PEER_MAC];
    unsigned char another[PEER_MAC];
    unsigned char bytes[PEER_PROOF_FRAME];
    struct span a = {first, peer_hello_frame(&one, first)};
    struct span b = {second, peer_hello_frame(&two, second)};

    one.nonce[0] ^= 1;
    struct span c = {other, peer_hello_frame(&one, other)};
    peer_secret(PEER_OF_CONNECTOR, "u:p", a, b, mac);
    peer_proof_frame(mac, bytes);
    struct peer_frame frame = frame_of(bytes, sizeof(bytes));
    assert_int_equal(frame.kind, PEER_PROOF);
    assert_true(peer_proof_is(frame.body, mac));

    peer_secret(PEER_OF_CONNECTOR, "u:q", a, b, another);
    assert_false(peer_proof_is(frame.body, another));
    peer_secret(PEER_OF_CONNECTOR, "", a, b, another);
    assert_false(peer_proof_is(frame.body, another));
    peer_secret(PEER_OF_ACCEPTOR, "u:p", a, b, another);
    assert_false(peer_proof_is(frame.body, another));
    peer_secret(PEER_OF_SESSION, "u:p", a, b, another);
    assert_false(peer_proof_is(frame.body, another));
    peer_secret(PEER_OF_CONNECTOR, "u:p", b, a, another);
    assert_false(peer_proof_is(frame.body, another));
    peer_secret(PEER_OF_CONNECTOR, "u:p", c, b, another);
    assert_false(peer_proof_is(frame.body, another));
    frame.body.len--;
    assert_false(peer_proof_is(frame.body, mac));
}

static void test_a_state_is_read_in_its_session_and_in_its_turn_only(void **state)
{
    unsigned char key[PEER_MAC] = {1, 2, 3};
    unsigned char message[PEER_STATE_MAX];
    unsigned char bytes[3][PEER_FRAME_MAX];
    size_t len[3];
    AUTO(peer_session) struct peer_session *ours = peer_session_new(key);
    AUTO(peer_session) struct peer_session *theirs = peer_session_new(key);
    struct peer_state sent;
    struct peer_state got;

    key[0] ^= 1;
    AUTO(peer_session) struct peer_session *another = peer_session_new(key);
    peer_state_init(&sent);
    str_copy(sent.name, sizeof(sent.name), "n1");
    for (term t = 0; t < 3; t++) {
        sent.promised = t;
        struct span encoded = {message, peer_encode(&sent, message)};
        len[t] = peer_state_frame(ours, encoded, bytes[t]);
        assert_int_equal(frame_of(bytes[t], len[t]).kind, PEER_STATE);
    }
#define FRAME(t) frame_of(bytes[t], len[t]).body
    assert_false(peer_state_read(another, FRAME(0), &got));
    assert_false(peer_state_read(theirs, FRAME(1), &got)); /* one is missing */
    assert_true(peer_state_read(theirs, FRAME(0), &got));
    assert_false(peer_state_read(theirs, FRAME(0), &got)); /* replayed */
    for (size_t i = 5; i < len[1]; i++) {
        bytes[1][i] ^= 1;
        if (peer_state_read(theirs, FRAME(1), &got))
            fail_msg("byte %zu does not matter", i);
        bytes[1][i] ^= 1;
    }
    assert_true(peer_state_read(theirs, FRAME(1), &got));
    assert_int_equal(got.promised, 1);
    struct span cut = FRAME(2);
    cut.len = PEER_MAC - 1;
    assert_false(peer_state_read(theirs, cut, &got));
    assert_true(peer_state_read(theirs, FRAME(2), &got));
    assert_int_equal(got.promised, 2);
}

static void test_the_code_of_a_state_is_its_hmac(void **state)
{
    unsigned char key[PEER_MAC] = {9};
    unsigned char mac[PEER_MAC];
    unsigned char message[PEER_STATE_MAX];
    unsigned char bytes[PEER_FRAME_MAX];
    AUTO(peer_session) struct peer_session *session = peer_session_new(key);
    struct peer_state sent;

    peer_state_init(&sent);
    str_copy(sent.name, sizeof(sent.name), "n1");
    for (int i = 0; i < 2; i++) { /* the context is used again */
        struct span encoded = {message, peer_encode(&sent, message)};
        size_t len = peer_state_frame(session, encoded, bytes);
        assert_non_null(HMAC(EVP_sha256(), key, sizeof(key), bytes + 5, len - 5 - PEER_MAC, mac, NULL));
        assert_memory_equal(bytes + len - PEER_MAC, mac, PEER_MAC);
    }
}

static void test_a_reason_is_cut_and_cleaned(void **state)
{
    unsigned char bytes[4 + 1 + PEER_REASON_MAX];
    char text[400];
    char why[PEER_REASON_MAX];

    peer_refusal_read(frame_of(bytes, peer_refusal_frame("no\x1b[31m\n", bytes)).body, why);
    assert_string_equal(why, "no?[31m?");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    peer_refusal_read(frame_of(bytes, peer_refusal_frame(text, bytes)).body, why);
    assert_int_equal(strlen(why), PEER_REASON_MAX - 1);
    peer_refusal_read((struct span){(const unsigned char *)text, sizeof(text) - 1}, why);
    assert_int_equal(strlen(why), PEER_REASON_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hello_comes_back_as_it_was_sent),
        cmocka_unit_test(test_the_longest_hello_fits),
        cmocka_unit_test(test_any_split_gives_the_same_frames),
        cmocka_unit_test(test_frames_have_a_length_that_can_be),
        cmocka_unit_test(test_a_hello_that_is_none_is_refused),
        cmocka_unit_test(test_what_a_connection_is_refused_for),
        cmocka_unit_test(test_a_proof_holds_for_its_key_its_side_and_its_nonces_only),
        cmocka_unit_test(test_a_state_is_read_in_its_session_and_in_its_turn_only),
        cmocka_unit_test(test_the_code_of_a_state_is_its_hmac),
        cmocka_unit_test(test_a_reason_is_cut_and_cleaned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
