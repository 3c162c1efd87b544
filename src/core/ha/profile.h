/*
 * failover_profile: how fast a failure is suspected in quorum mode, and how long steps may take.
 *
 * A wrong suspicion costs a moment in which commits wait, never data; so these are about quiet, not about safety.
 *
 *             beat  suspect     wal   agent    sick  freeze  rank   join    lost   again   ms
 *   fast        50      300     200    1500    1500     500    60   1000    1000    2000
 *   default    100     1500    1000    5000    5000    2000   200   2000    3000   10000
 *   wan        500     5000    3000   15000   15000    5000   800   5000   10000   30000
 */
#pragma once

#include "core/ha/view.h"
#include "wire/conf/dynamic.h"

const struct ha_profile *profile_of(enum failover_profile profile);
