#include "store/endpoints.h"

#include <stdbool.h>

#include "base/check.h"

static bool is_tried(uint64_t tried, size_t i)
{
    return tried >> i & 1;
}

size_t endpoints_pick(const struct endpoints *e, uint64_t tried, msec now_ms)
{
    size_t least_bad = ENDPOINT_NONE;

    CHECK(e->count > 0);
    CHECK(e->current < e->count);
    for (size_t step = 0; step < e->count; step++) {
        size_t i = (e->current + step) % e->count;
        if (is_tried(tried, i))
            continue;
        if (e->at[i].retry_at_ms <= now_ms)
            return i;
        if (least_bad == ENDPOINT_NONE || e->at[i].retry_at_ms < e->at[least_bad].retry_at_ms)
            least_bad = i;
    }
    return least_bad;
}

msec endpoints_share(const struct endpoints *e, uint64_t tried, msec left_ms)
{
    msec untried = 0;

    for (size_t i = 0; i < e->count; i++)
        untried += !is_tried(tried, i);
    msec share = left_ms / msec_max(untried, 1);
    return msec_min(left_ms, msec_max(share, ENDPOINT_SHARE_MIN_MS));
}

void endpoints_answered(struct endpoints *e, size_t i)
{
    CHECK(i < e->count);
    e->current = i;
    e->at[i] = (struct endpoint_health){0};
}

void endpoints_failed(struct endpoints *e, size_t i, msec now_ms)
{
    msec wait_ms = ENDPOINT_BACKOFF_MIN_MS;

    CHECK(i < e->count);
    for (unsigned int k = 0; k < e->at[i].failures && wait_ms < ENDPOINT_BACKOFF_MAX_MS; k++)
        wait_ms *= 2;
    e->at[i].failures++;
    e->at[i].retry_at_ms = now_ms + msec_min(wait_ms, ENDPOINT_BACKOFF_MAX_MS);
}
