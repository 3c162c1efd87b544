/*
 * Moments as operators write them: "now", "2026-11-24T10:00+01:00", "2026-11-24 10:00", "10:00".
 *
 * Without an offset the local time zone holds. Anything ambiguous (24/11/26) is refused rather than guessed.
 */
#pragma once

#include <stdint.h>

enum scheduled_result { SCHEDULED_NOW, SCHEDULED_AT, SCHEDULED_BAD };

enum { SCHEDULED_TEXT_MAX = 100 }; /* 32 are used; the compiler wants room for any int */

struct scheduled {
    char iso[SCHEDULED_TEXT_MAX]; /* "2026-11-24T10:00:00+01:00": what the store and REST get */
    int64_t epoch_ms;
};

/* now_ms (wall clock) gives the day where only a time is written. NULL and "" are SCHEDULED_NOW. */
enum scheduled_result scheduled_parse(const char *text, int64_t now_ms, struct scheduled *ret);
