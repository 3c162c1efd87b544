#include "test/sim/score.h"

#include <string.h>

#include "base/check.h"

struct outcome *outcome;

static bool hit[HOSTS_MAX]; /* since it became the primary */

void score_add(struct score *to, const struct score *from)
{
    uint64_t *sum = (uint64_t *)to;
    const uint64_t *more = (const uint64_t *)from;

    _Static_assert(sizeof(*to) % sizeof(*sum) == 0, "counts alone");
    for (size_t i = 0; i < sizeof(*to) / sizeof(*sum); i++)
        sum[i] += more[i];
}

void score_hit(int host)
{
    hit[host] = true;
}

void score_hit_all(void)
{
    memset(hit, true, sizeof(hit));
}

void score_reign(int before, int now)
{
    outcome->score.reigns++;
    if (before >= 0 && before != now)
        outcome->score.failovers += hit[before];
    hit[now] = false;
}
