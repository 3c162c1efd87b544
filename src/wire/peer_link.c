#include "wire/peer_link.h"

#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

enum {
    FRAME_HEAD = 5, /* u32 length, u8 kind */
    COUNTER = 8,
};

enum tag { TAG_VERSION = 1, TAG_OLDEST, TAG_VERIFIED, TAG_NONCE, TAG_CLUSTER, TAG_FROM, TAG_TO, TAG_SYSTEM };

_Static_assert(FRAME_HEAD + COUNTER + PEER_STATE_MAX + PEER_MAC <= PEER_FRAME_MAX, "the longest state fits");
_Static_assert(FRAME_HEAD + 8 * 4 + 3 + PEER_NONCE + PEER_CLUSTER_MAX + 2 * PEER_NAME_MAX + 8 <= PEER_HELLO_MAX,
               "the longest HELLO fits");

enum peer_result peer_frame_next(struct span *in, struct peer_frame *ret_frame)
{
    struct span rest = *in;
    struct span body;
    uint64_t len;
    uint64_t kind;

    if (!span_take_number(&rest, 4, &len))
        return PEER_MORE;
    if (len < 1 || len > PEER_FRAME_MAX - 4)
        return PEER_BAD;
    if (!span_take(&rest, len, &body))
        return PEER_MORE;
    if (!span_take_number(&body, 1, &kind))
        return PEER_BAD;
    *ret_frame = (struct peer_frame){(unsigned int)kind, body, {in->at, 4 + len}};
    *in = rest;
    return PEER_OK;
}

/* ---- writing ---- */

struct writer {
    unsigned char *at;
    size_t len, cap;
};

static void put_number(struct writer *w, size_t bytes, uint64_t value)
{
    CHECK(w->len + bytes <= w->cap);
    for (size_t i = 0; i < bytes; i++)
        w->at[w->len + i] = (unsigned char)(value >> 8 * (bytes - 1 - i));
    w->len += bytes;
}

static void put_bytes(struct writer *w, const void *bytes, size_t len)
{
    CHECK(w->len + len <= w->cap);
    memcpy(w->at + w->len, bytes, len);
    w->len += len;
}

static void frame_begin(struct writer *w, unsigned char *at, size_t cap, enum peer_frame_kind kind)
{
    *w = (struct writer){at, 0, cap};
    put_number(w, 4, 0);
    put_number(w, 1, kind);
}

static size_t frame_end(const struct writer *w)
{
    struct writer length = {w->at, 0, 4};

    put_number(&length, 4, w->len - 4);
    return w->len;
}

static void put_field(struct writer *w, enum tag tag, const void *bytes, size_t len)
{
    put_number(w, 2, tag);
    put_number(w, 2, len);
    put_bytes(w, bytes, len);
}

static void put_byte(struct writer *w, enum tag tag, uint8_t value)
{
    put_field(w, tag, &value, 1);
}

size_t peer_hello_frame(const struct peer_hello *h, unsigned char ret_bytes[PEER_HELLO_MAX])
{
    struct writer w;

    frame_begin(&w, ret_bytes, PEER_HELLO_MAX, PEER_HELLO);
    put_byte(&w, TAG_VERSION, h->version);
    put_byte(&w, TAG_OLDEST, h->oldest);
    put_byte(&w, TAG_VERIFIED, h->has_verified);
    put_field(&w, TAG_NONCE, h->nonce, sizeof(h->nonce));
    put_field(&w, TAG_CLUSTER, h->cluster, strlen(h->cluster));
    put_field(&w, TAG_FROM, h->from, strlen(h->from));
    put_field(&w, TAG_TO, h->to, strlen(h->to));
    put_number(&w, 2, TAG_SYSTEM);
    put_number(&w, 2, 8);
    put_number(&w, 8, h->system_id);
    return frame_end(&w);
}

/* ---- reading ---- */

static bool take_byte(struct span value, uint8_t *ret)
{
    uint64_t number;

    if (value.len != 1 || !span_take_number(&value, 1, &number))
        return false;
    *ret = (uint8_t)number;
    return true;
}

static bool set_field(struct peer_hello *h, uint64_t tag, struct span value)
{
    uint8_t byte = 0;

    switch (tag) {
    case TAG_VERSION:
        return take_byte(value, &h->version);
    case TAG_OLDEST:
        return take_byte(value, &h->oldest);
    case TAG_VERIFIED:
        if (!take_byte(value, &byte))
            return false;
        h->has_verified = byte != 0;
        return true;
    case TAG_NONCE:
        if (value.len != PEER_NONCE)
            return false;
        memcpy(h->nonce, value.at, PEER_NONCE);
        return true;
    case TAG_CLUSTER:
        return span_text(value, h->cluster, sizeof(h->cluster));
    case TAG_FROM:
        return span_text(value, h->from, sizeof(h->from));
    case TAG_TO:
        return span_text(value, h->to, sizeof(h->to));
    case TAG_SYSTEM:
        return value.len == 8 && span_take_number(&value, 8, &h->system_id);
    default:
        return true; /* of a later version */
    }
}

bool peer_hello_read(struct span body, struct peer_hello *ret_hello)
{
    struct peer_hello h = {0};
    uint64_t before = 0;
    bool has_nonce = false;

    while (body.len) {
        struct span value;
        uint64_t tag;
        uint64_t len;

        if (!span_take_number(&body, 2, &tag) || !span_take_number(&body, 2, &len) || !span_take(&body, len, &value) ||
            tag <= before || !set_field(&h, tag, value))
            return false;
        before = tag;
        has_nonce = has_nonce || tag == TAG_NONCE;
    }
    if (!has_nonce || !h.version || !h.from[0])
        return false;
    *ret_hello = h;
    return true;
}

/* What a terminal or a log would act on becomes "?". */
static void clean(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

static bool PRINTF_LIKE(2, 3) refused(char ret_why[PEER_REASON_MAX], const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(ret_why, PEER_REASON_MAX, fmt, args); /* cut is fine */
    va_end(args);
    clean(ret_why);
    return true;
}

bool peer_hello_refused(const struct peer_hello *ours, const struct peer_hello *theirs, char ret_why[PEER_REASON_MAX])
{
    if (theirs->oldest > ours->version || ours->oldest > theirs->version)
        return refused(ret_why, "version %d of the agents' protocol does not go with version %d", theirs->version,
                       ours->version);
    if (!str_eq(theirs->cluster, ours->cluster))
        return refused(ret_why, "cluster %.100s is not cluster %.100s", theirs->cluster, ours->cluster);
    if (str_eq(theirs->from, ours->from))
        return refused(ret_why, "both sides are called %.100s", ours->from);
    if (!str_eq(theirs->to, ours->from))
        return refused(ret_why, "this is %.100s, not %.100s", ours->from, theirs->to);
    if (!str_eq(theirs->from, ours->to))
        return refused(ret_why, "that is %.100s, not %.100s", theirs->from, ours->to);
    if (theirs->system_id && ours->system_id && theirs->system_id != ours->system_id)
        return refused(ret_why, "system identifier %" PRIu64 " is not %" PRIu64, theirs->system_id, ours->system_id);
    return false;
}

/* ---- proofs ---- */

static void mac_of(const void *key, size_t key_len, const unsigned char *bytes, size_t len,
                   unsigned char ret_mac[PEER_MAC])
{
    unsigned int mac_len = 0;
    const unsigned char *made = HMAC(EVP_sha256(), key, (int)key_len, bytes, len, ret_mac, &mac_len);

    CHECK(made);
    CHECK(mac_len == PEER_MAC);
}

void peer_secret(enum peer_secret which, const char *key, struct span connector_hello, struct span acceptor_hello,
                 unsigned char ret_mac[PEER_MAC])
{
    static const char *const labels[] = {
        [PEER_OF_CONNECTOR] = "pgkeep peer: connector",
        [PEER_OF_ACCEPTOR] = "pgkeep peer: acceptor",
        [PEER_OF_SESSION] = "pgkeep peer: session",
    };
    unsigned char bytes[64 + 2 * PEER_HELLO_MAX];
    struct writer w = {bytes, 0, sizeof(bytes)};

    put_bytes(&w, labels[which], strlen(labels[which]) + 1);
    put_bytes(&w, connector_hello.at, connector_hello.len); /* each begins with its length: no other pair is the same */
    put_bytes(&w, acceptor_hello.at, acceptor_hello.len);
    mac_of(key, strlen(key), bytes, w.len, ret_mac);
}

void peer_proof_frame(const unsigned char mac[PEER_MAC], unsigned char ret_bytes[PEER_PROOF_FRAME])
{
    struct writer w;

    frame_begin(&w, ret_bytes, PEER_PROOF_FRAME, PEER_PROOF);
    put_bytes(&w, mac, PEER_MAC);
    size_t len = frame_end(&w);
    CHECK(len == PEER_PROOF_FRAME);
}

bool peer_proof_is(struct span body, const unsigned char mac[PEER_MAC])
{
    return body.len == PEER_MAC && CRYPTO_memcmp(body.at, mac, PEER_MAC) == 0;
}

/* ---- states ---- */

struct peer_session {
    EVP_MAC_CTX *mac;
    uint64_t counter; /* of the next state */
};

/* HMAC() would look up its algorithm and set up the key with every message: several times what the message costs. */
struct peer_session *peer_session_new(const unsigned char key[PEER_MAC])
{
    char digest[] = "SHA256"; /* not to be const, says the type */
    const OSSL_PARAM params[] = {
        {OSSL_MAC_PARAM_DIGEST, OSSL_PARAM_UTF8_STRING, digest, sizeof(digest) - 1, OSSL_PARAM_UNMODIFIED},
        {0},
    };
    struct peer_session *s = mem_zero(1, sizeof(*s));
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);

    CHECK(hmac);
    s->mac = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac); /* the context has a reference */
    CHECK(s->mac);
    int done = EVP_MAC_init(s->mac, key, PEER_MAC, params);
    CHECK(done == 1);
    return s;
}

void peer_session_free(struct peer_session *s)
{
    if (!s)
        return;
    EVP_MAC_CTX_free(s->mac);
    free(s);
}

static void session_mac(struct peer_session *s, const unsigned char *bytes, size_t len, unsigned char ret_mac[PEER_MAC])
{
    size_t mac_len = 0;

    CHECK(EVP_MAC_init(s->mac, NULL, 0, NULL) == 1); /* the same key again */
    CHECK(EVP_MAC_update(s->mac, bytes, len) == 1);
    CHECK(EVP_MAC_final(s->mac, ret_mac, &mac_len, PEER_MAC) == 1);
    CHECK(mac_len == PEER_MAC);
}

size_t peer_state_frame(struct peer_session *s, struct span state, unsigned char ret_bytes[PEER_FRAME_MAX])
{
    unsigned char mac[PEER_MAC];
    struct writer w;

    frame_begin(&w, ret_bytes, PEER_FRAME_MAX, PEER_STATE);
    put_number(&w, COUNTER, s->counter++);
    put_bytes(&w, state.at, state.len);
    session_mac(s, ret_bytes + FRAME_HEAD, w.len - FRAME_HEAD, mac);
    put_bytes(&w, mac, PEER_MAC);
    return frame_end(&w);
}

bool peer_state_read(struct peer_session *s, struct span body, struct peer_state *ret_state)
{
    unsigned char mac[PEER_MAC];
    struct span signed_part;
    struct peer_state state;
    uint64_t number;

    if (body.len < PEER_MAC || !span_take(&body, body.len - PEER_MAC, &signed_part))
        return false;
    session_mac(s, signed_part.at, signed_part.len, mac);
    if (!peer_proof_is(body, mac) || !span_take_number(&signed_part, COUNTER, &number) || number != s->counter)
        return false;
    if (peer_decode(&signed_part, &state) != PEER_OK || signed_part.len)
        return false;
    s->counter++;
    peer_state_copy(ret_state, &state);
    return true;
}

/* ---- refusals ---- */

size_t peer_refusal_frame(const char *why, unsigned char ret_bytes[4 + 1 + PEER_REASON_MAX])
{
    struct writer w;

    frame_begin(&w, ret_bytes, FRAME_HEAD + PEER_REASON_MAX, PEER_REFUSAL);
    put_bytes(&w, why, strnlen(why, PEER_REASON_MAX - 1));
    return frame_end(&w);
}

void peer_refusal_read(struct span body, char ret_why[PEER_REASON_MAX])
{
    size_t len = body.len < PEER_REASON_MAX - 1 ? body.len : PEER_REASON_MAX - 1;

    memcpy(ret_why, body.at, len);
    ret_why[len] = '\0';
    clean(ret_why);
}
