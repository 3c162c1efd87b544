#include "core/ha/profile.h"

static const struct ha_profile profiles[] = {
    [PROFILE_FAST] = {.beat_ms = 50,
                      .suspect_ms = 300,
                      .wal_ms = 200,
                      .agent_ms = 1500,
                      .sick_ms = 1500,
                      .freeze_ms = 500,
                      .rank_ms = 60,
                      .join_ms = 1000,
                      .lost_ms = 1000,
                      .again_ms = 2000,

                      .lease_ms = 3000},
    [PROFILE_DEFAULT] = {.beat_ms = 100,
                         .suspect_ms = 1500,
                         .wal_ms = 1000,
                         .agent_ms = 5000,
                         .sick_ms = 5000,
                         .freeze_ms = 2000,
                         .rank_ms = 200,
                         .join_ms = 2000,
                         .lost_ms = 3000,
                         .again_ms = 10000,

                         .lease_ms = 4000},
    [PROFILE_WAN] = {.beat_ms = 500,
                     .suspect_ms = 5000,
                     .wal_ms = 3000,
                     .agent_ms = 15000,
                     .sick_ms = 15000,
                     .freeze_ms = 5000,
                     .rank_ms = 800,
                     .join_ms = 5000,
                     .lost_ms = 10000,
                     .again_ms = 30000,

                     .lease_ms = 10000},
};

const struct ha_profile *profile_of(enum failover_profile profile)
{
    return &profiles[profile];
}
