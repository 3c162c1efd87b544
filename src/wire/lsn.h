/*
 * Write-ahead log positions (PostgreSQL: src/include/access/xlogdefs.h, XLogRecPtr).
 */
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"

typedef uint64_t lsn; /* byte position; 0 is InvalidXLogRecPtr: unknown */

enum { LSN_TEXT_MAX = 24 };

/* "16/B374D848". Returns text. */
const char *lsn_text(lsn at, char text[LSN_TEXT_MAX]);

/* The whole of s as "hex/hex"; otherwise false and *ret_lsn untouched. */
MUST_USE bool lsn_parse(const char *s, lsn *ret_lsn);
