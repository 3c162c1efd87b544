#include "value.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

bool value_flag(const struct scenario *s, const char *value)
{
    if (str_eq(value, "yes"))
        return true;
    if (!str_eq(value, "no"))
        bad(s, "expected yes or no", value);
    return false;
}

msec value_seconds(const struct scenario *s, const char *value)
{
    char *end;
    double number = strtod(value, &end);

    if (*end || end == value)
        bad(s, "expected seconds", value);
    return (msec)(number * 1000 + (number < 0 ? -0.5 : 0.5));
}

int64_t value_integer(const struct scenario *s, const char *value)
{
    int64_t number;

    if (!str_to_int(value, INT64_MIN, INT64_MAX, &number))
        bad(s, "expected a number", value);
    return number;
}

int value_choice(const struct scenario *s, const char *value, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(names[i], value))
            return (int)i;
    bad(s, "unknown value", value);
}

bool value_pair(const struct scenario *s, char **rest, char **ret_key, char **ret_value)
{
    char *word = strsep(rest, " ");

    while (word && !*word)
        word = strsep(rest, " ");
    if (!word)
        return false;
    char *equals = strchr(word, '=');
    if (!equals)
        bad(s, "expected key=value", word);
    *equals = '\0';
    *ret_key = word;
    *ret_value = equals + 1;
    return true;
}
