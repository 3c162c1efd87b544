/*
 * Any bytes as what the other side of a connection between agents sends: frames of every kind or a refusal, the same
 * however the stream is cut, and never a text that a terminal would act on.
 */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "wire/peer_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_as_everything(const struct peer_frame *frame)
{
    static const unsigned char mac[PEER_MAC];
    struct peer_hello theirs;
    struct peer_hello ours = {.version = 1, .oldest = 1, .cluster = "/service/c/", .from = "n1", .to = "n2"};
    AUTO(peer_session) struct peer_session *session = peer_session_new(mac);
    struct peer_state state;
    char why[PEER_REASON_MAX];

    if (peer_hello_read(frame->body, &theirs)) {
        CHECK(theirs.from[0]);
        if (peer_hello_refused(&ours, &theirs, why))
            CHECK(!strpbrk(why, "\n\r\x1b"));
    }
    CHECK(!peer_proof_is(frame->body, mac) || frame->body.len == PEER_MAC);
    CHECK(!peer_state_read(session, frame->body, &state) || state.name[0]);
    peer_refusal_read(frame->body, why);
    CHECK(!strpbrk(why, "\n\r\x1b"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {data, size};

    for (;;) {
        struct span whole = in;
        struct peer_frame frame;
        struct peer_frame again;

        if (peer_frame_next(&in, &frame) != PEER_OK) {
            CHECK(in.at == whole.at && in.len == whole.len);
            return 0;
        }
        CHECK(frame.whole.len == whole.len - in.len);
        for (size_t have = 0; have < frame.whole.len; have++) {
            struct span part = {whole.at, have};
            CHECK(peer_frame_next(&part, &again) == PEER_MORE);
        }
        read_as_everything(&frame);
    }
}
