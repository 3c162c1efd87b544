/*
 * Strings of control work: copies that cannot fail, comparisons that take NULL, bounded parsing.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"

/* Copies. Never NULL for a non-NULL argument; running out of memory aborts. str_dup(NULL) is NULL. */
char *str_dup(const char *s);
char *str_fmt(const char *fmt, ...) PRINTF_LIKE(1, 2);
char *str_vfmt(const char *fmt, va_list args) PRINTF_LIKE(1, 0);

/* calloc() that aborts instead of failing. */
void *mem_zero(size_t count, size_t size);
/* Grows an array; aborts instead of failing. */
void *mem_grow(void *old, size_t count, size_t size);

/* Equality; two NULLs are equal, a NULL equals nothing else. */
bool str_eq(const char *a, const char *b);
bool str_eq_nocase(const char *a, const char *b);

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* True for NULL and "". */
bool str_empty(const char *s);

/* Replaces *slot by a copy of s (which may be NULL). */
void str_set(char **slot, const char *s);

/* The whole of s as a decimal number in [min, max]; otherwise false and *ret_value untouched. */
MUST_USE bool str_to_int(const char *s, int64_t min, int64_t max, int64_t *ret_value);

/* Copies s into to[cap], cut if need be, always terminated. */
void str_copy(char *to, size_t cap, const char *s);
