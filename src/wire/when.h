/*
 * Moments as Patroni's keys and REST carry them: ISO 8601 with a time zone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"

/* "2026-11-24T10:00:00.5+01:00", "… 10:00Z" → wall clock; a time without zone is refused. */
MUST_USE bool when_parse(const char *at, int64_t *ret_epoch_ms);
