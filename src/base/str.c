#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"

char *str_dup(const char *s)
{
    if (!s)
        return NULL;

    char *copy = strdup(s);
    CHECK(copy);
    return copy;
}

char *str_vfmt(const char *fmt, va_list args)
{
    va_list again;

    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    CHECK(len >= 0);
    char *s = mem_zero((size_t)len + 1, 1);
    (void)vsnprintf(s, (size_t)len + 1, fmt, again); /* measured above */
    va_end(again);
    return s;
}

char *str_fmt(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    char *s = str_vfmt(fmt, args);
    va_end(args);
    return s;
}

void *mem_zero(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    CHECK(p);
    return p;
}

void *mem_grow(void *old, size_t count, size_t size)
{
    CHECK(size && count <= SIZE_MAX / size);
    size_t bytes = count * size;
    void *p = realloc(old, bytes > 0 ? bytes : 1);
    CHECK(p);
    return p;
}

bool str_eq(const char *a, const char *b)
{
    if (!a || !b)
        return a == b;
    return strcmp(a, b) == 0;
}

bool str_eq_nocase(const char *a, const char *b)
{
    if (!a || !b)
        return a == b;
    return strcasecmp(a, b) == 0;
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t s_len = strlen(s);
    size_t suffix_len = strlen(suffix);

    return s_len >= suffix_len && strcmp(s + s_len - suffix_len, suffix) == 0;
}

bool str_empty(const char *s)
{
    return !s || !*s;
}

void str_set(char **slot, const char *s)
{
    char *copy = str_dup(s);

    free(*slot);
    *slot = copy;
}

bool str_to_int(const char *s, int64_t min, int64_t max, int64_t *ret_value)
{
    char *end = NULL;

    if (str_empty(s) || *s == ' ')
        return false;

    errno = 0;
    long long value = strtoll(s, &end, 10);
    if (errno || *end || value < min || value > max)
        return false;

    *ret_value = value;
    return true;
}

void str_copy(char *to, size_t cap, const char *s)
{
    CHECK(cap);
    size_t len = strnlen(s, cap - 1);
    memcpy(to, s, len);
    to[len] = '\0';
}
