/*
 * Any bytes as what another agent sends: states or a refusal, the same however the stream is cut; and what was read
 * is written and read again as the same.
 */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "wire/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct peer_state got, again;

static void read_back(void)
{
    unsigned char first[PEER_STATE_MAX];
    unsigned char second[PEER_STATE_MAX];
    size_t len = peer_encode(&got, first);
    struct span in = {first, len};

    CHECK(peer_decode(&in, &again) == PEER_OK);
    CHECK(in.len == 0);
    CHECK(peer_encode(&again, second) == len);
    CHECK(memcmp(first, second, len) == 0);
    CHECK(!peer_state_is_news(&got, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {data, size};

    for (;;) {
        struct span whole = in;
        enum peer_result result = peer_decode(&in, &got);

        if (result != PEER_OK) {
            CHECK(in.at == whole.at && in.len == whole.len);
            return 0;
        }
        for (size_t have = 0; have < whole.len - in.len; have++) {
            struct span part = {whole.at, have};
            CHECK(peer_decode(&part, &again) == PEER_MORE);
        }
        read_back();
    }
}
