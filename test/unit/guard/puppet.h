/* What puppet and rig agree on. */
#pragma once

#include <stdint.h>

#define PUPPET_PING ((uint64_t)1 << 63) /* in the seq of the puppet's own pings */

enum { PUPPET_NO_TEST = 90, PUPPET_NO_GUARD = 91 };
