/*
 * The words of a script as values. One that is not what it should be ends the runner, with its line.
 */
#pragma once

#include "base/auto.h"
#include "world.h"

bool value_flag(const struct scenario *s, const char *value);
msec value_seconds(const struct scenario *s, const char *value);
int64_t value_integer(const struct scenario *s, const char *value);
int value_choice(const struct scenario *s, const char *value, const char *const *names, size_t count);

/* The index of the value among the texts. */
#define CHOICE(s, value, ...)                                  \
    ({                                                         \
        static const char *const names_[] = {__VA_ARGS__};     \
        value_choice((s), (value), names_, ARRAY_LEN(names_)); \
    })

/* "key=value" → key, value; the next one in *rest. False at the end of the line. */
bool value_pair(const struct scenario *s, char **rest, char **ret_key, char **ret_value);
