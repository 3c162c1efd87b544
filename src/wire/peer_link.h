/*
 * How two agents get to know each other, and what protects what the one tells the other.
 *
 *   connector                      acceptor
 *   HELLO  ───────────────────────▶          who I am, whom I want, of which cluster; a nonce
 *          ◀───────────────────────  HELLO   the same of the other side
 *   PROOF  ───────────────────────▶          HMAC over both; the connector first, so that whoever can merely reach the
 *          ◀───────────────────────  PROOF   port learns nothing to try passwords on
 *   STATE… ───────────────────────▶          each with a counter and an HMAC under the session's key
 *   either side: REFUSAL, with a reason, and the end
 *
 * The key is the cluster's REST credentials. A side that has verified the other's TLS certificate says so and needs no
 * password from it: the other then proves itself with an empty key, which only ties its HELLO to this connection. Each
 * side checks by what it has done itself, not by what it is told.
 *
 * Numbers are big-endian. A frame: u32 length of the rest · u8 kind · body. The fields of a HELLO are as in
 * wire/peer.h: tagged, so that a later version may add some.
 */
#pragma once

#include "wire/peer.h"

enum {
    PEER_NONCE = 32,
    PEER_MAC = 32, /* HMAC-SHA256 */
    PEER_CLUSTER_MAX = 512,
    PEER_REASON_MAX = 256,
    PEER_FRAME_MAX = PEER_STATE_MAX + 64,
    PEER_HELLO_MAX = 1024,
};

enum peer_frame_kind { PEER_HELLO = 1, PEER_PROOF, PEER_STATE, PEER_REFUSAL };

struct peer_frame {
    unsigned int kind; /* one that is unknown is of a later version, and skipped */
    struct span body;
    struct span whole;
};

/* Take one frame off the front of *in, as peer_decode() does a message. */
enum peer_result peer_frame_next(struct span *in, struct peer_frame *ret_frame);

struct peer_hello {
    uint8_t version, oldest; /* of the protocol: the sender's, and the oldest that can read it */
    bool has_verified;       /* the sender has verified the other side's certificate */
    unsigned char nonce[PEER_NONCE];
    char cluster[PEER_CLUSTER_MAX]; /* "/namespace/scope/" */
    char from[PEER_NAME_MAX];
    char to[PEER_NAME_MAX]; /* of a connector: whom it wants; of an acceptor: whom it heard */
    uint64_t system_id;     /* 0: unknown */
};

/* Writers give whole frames and return their length. */
size_t peer_hello_frame(const struct peer_hello *h, unsigned char ret_bytes[PEER_HELLO_MAX]);
MUST_USE bool peer_hello_read(struct span body, struct peer_hello *ret_hello);

/*
 * What a connection is to be refused for; false: nothing. `ours` is what we have said or are about to say; ours->to of
 * an acceptor is theirs->from.
 */
bool peer_hello_refused(const struct peer_hello *ours, const struct peer_hello *theirs, char ret_why[PEER_REASON_MAX]);

/* Whose proof; or the key of the session. */
enum peer_secret { PEER_OF_CONNECTOR, PEER_OF_ACCEPTOR, PEER_OF_SESSION };
/* HMAC under `key` ("" for none) over both HELLO frames; each not longer than PEER_HELLO_MAX. */
void peer_secret(enum peer_secret which, const char *key, struct span connector_hello, struct span acceptor_hello,
                 unsigned char ret_mac[PEER_MAC]);

enum { PEER_PROOF_FRAME = 4 + 1 + PEER_MAC };
void peer_proof_frame(const unsigned char mac[PEER_MAC], unsigned char ret_bytes[PEER_PROOF_FRAME]);
/* In constant time. */
bool peer_proof_is(struct span body, const unsigned char mac[PEER_MAC]);

/* The states of one connection, on one side of it: a key, made ready once, and whose turn it is. */
struct peer_session;
struct peer_session *peer_session_new(const unsigned char key[PEER_MAC]);
void peer_session_free(struct peer_session *s);
AUTO_DEFINE(peer_session, struct peer_session, peer_session_free)

/* The next one; `state` is what peer_encode() gave. */
size_t peer_state_frame(struct peer_session *s, struct span state, unsigned char ret_bytes[PEER_FRAME_MAX]);
/* False: of another session, not the next one (replayed, or some are missing), or malformed. */
MUST_USE bool peer_state_read(struct peer_session *s, struct span body, struct peer_state *ret_state);

size_t peer_refusal_frame(const char *why, unsigned char ret_bytes[4 + 1 + PEER_REASON_MAX]);
/* Cut, and without what a terminal would act on. */
void peer_refusal_read(struct span body, char ret_why[PEER_REASON_MAX]);
