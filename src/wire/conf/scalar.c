#include "wire/conf/scalar.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * The patterns are those of PyYAML's yaml/resolver.py. Each skip_ function moves over what it
 * recognises and says whether there was any of it.
 */

static bool skip_char(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

static bool skip_any_of(const char **at, const char *set)
{
    size_t len = strspn(*at, set);

    *at += len;
    return len > 0;
}

static bool skip_sign(const char **at)
{
    return skip_char(at, '-') || skip_char(at, '+');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ":[0-5]?[0-9]", any number of times. */
static bool skip_sixties(const char **at)
{
    bool any = false;

    while ((*at)[0] == ':' && is_digit((*at)[1])) {
        bool two = (*at)[1] <= '5' && is_digit((*at)[2]);
        *at += two ? 3 : 2;
        any = true;
    }
    return any;
}

/* "[eE][-+][0-9]+": the sign is not optional in YAML 1.1. An incomplete one is left alone. */
static void skip_exponent(const char **at)
{
    const char *try = *at;

    if (*try != 'e' && *try != 'E')
        return;
    try++;
    if (skip_sign(&try) && skip_any_of(&try, "0123456789"))
        *at = try;
}

static bool int_pattern(const char *s)
{
    (void)skip_sign(&s);
    if (*s == '0') {
        s++;
        if (skip_char(&s, 'b'))
            return skip_any_of(&s, "01_") && !*s;
        if (skip_char(&s, 'x'))
            return skip_any_of(&s, "0123456789abcdefABCDEF_") && !*s;
        (void)skip_any_of(&s, "01234567_");
        return !*s;
    }
    if (*s < '1' || *s > '9')
        return false;
    (void)skip_any_of(&s, "0123456789_");
    (void)skip_sixties(&s);
    return !*s;
}

static bool float_pattern(const char *s)
{
    if (*s == '.' && is_digit(s[1])) {
        s++;
        (void)skip_any_of(&s, "0123456789_");
        skip_exponent(&s);
        return !*s;
    }
    if (str_eq(s, ".nan") || str_eq(s, ".NaN") || str_eq(s, ".NAN"))
        return true;

    (void)skip_sign(&s);
    if (str_eq(s, ".inf") || str_eq(s, ".Inf") || str_eq(s, ".INF"))
        return true;
    if (!is_digit(*s))
        return false;
    (void)skip_any_of(&s, "0123456789_");
    bool sixties = skip_sixties(&s);
    if (!skip_char(&s, '.'))
        return false;
    (void)skip_any_of(&s, "0123456789_");
    if (!sixties)
        skip_exponent(&s);
    return !*s;
}

/* The text without underscores, lower case. */
static char *digits_only(const char *text)
{
    struct buf b = BUF_EMPTY;

    for (; *text; text++)
        if (*text != '_')
            buf_add_char(&b, (*text >= 'A' && *text <= 'Z') ? (char)(*text - 'A' + 'a') : *text);
    return buf_take(&b);
}

/* The last part of "190:20:30" from the right; shortens the text. */
static const char *part_from_right(char *text)
{
    char *colon = strrchr(text, ':');

    if (!colon)
        return text;
    *colon = '\0';
    return colon + 1;
}

static bool sixties_to_int(char *text, int64_t *ret_value)
{
    int64_t value = 0;
    int64_t base = 1;
    int64_t digit;
    bool last;

    do {
        last = !strchr(text, ':');
        if (!str_to_int(part_from_right(text), 0, INT64_MAX, &digit) || __builtin_mul_overflow(digit, base, &digit) ||
            __builtin_add_overflow(value, digit, &value) || (!last && __builtin_mul_overflow(base, 60, &base)))
            return false;
    } while (!last);
    *ret_value = value;
    return true;
}

static bool based_to_int(const char *digits, int base, int64_t *ret_value)
{
    char *end = NULL;

    if (!*digits) /* "0x_": PyYAML fails on it */
        return false;
    errno = 0;
    long long value = strtoll(digits, &end, base);
    if (errno || *end)
        return false;
    *ret_value = value;
    return true;
}

/* For a text of int_pattern(). False: beyond 64 bits, or without a digit. */
static bool int_value(const char *text, int64_t *ret_value)
{
    AUTO(cstr) char *clean = digits_only(text);
    bool negative = *clean == '-';
    char *digits = clean + (*clean == '-' || *clean == '+');
    int64_t value;
    bool ok;

    if (str_starts(digits, "0b"))
        ok = based_to_int(digits + 2, 2, &value);
    else if (str_starts(digits, "0x"))
        ok = based_to_int(digits + 2, 16, &value);
    else if (*digits == '0')
        ok = based_to_int(digits, 8, &value);
    else if (strchr(digits, ':'))
        ok = sixties_to_int(digits, &value);
    else
        ok = based_to_int(digits, 10, &value);
    if (!ok)
        return false;
    *ret_value = negative ? -value : value;
    return true;
}

/* For a text of float_pattern(). */
static double float_value(const char *text)
{
    AUTO(cstr) char *clean = digits_only(text);
    double sign = *clean == '-' ? -1.0 : 1.0;
    char *digits = clean + (*clean == '-' || *clean == '+');

    if (str_eq(digits, ".inf"))
        return sign * (double)INFINITY;
    if (str_eq(digits, ".nan"))
        return (double)NAN;

    double value = 0.0;
    double base = 1.0;
    bool last;
    do {
        last = !strchr(digits, ':');
        value += strtod(part_from_right(digits), NULL) * base;
        base *= 60.0;
    } while (!last);
    return sign * value;
}

static bool word_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (str_eq(text, *words))
            return true;
    return false;
}

static bool bool_value(const char *text, bool *ret_value)
{
    static const char *const yes[] = {"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL};
    static const char *const no[] = {"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", NULL};

    if (word_of(text, yes))
        *ret_value = true;
    else if (word_of(text, no))
        *ret_value = false;
    else
        return false;
    return true;
}

static bool null_pattern(const char *text)
{
    static const char *const null[] = {"", "~", "null", "Null", "NULL", NULL};

    return word_of(text, null);
}

bool scalar_resolve_as(const char *text, enum conf_type type, struct scalar *ret)
{
    struct scalar s = {.type = type};

    switch (type) {
    case CONF_NULL:
        if (!null_pattern(text))
            return false;
        break;
    case CONF_BOOL:
        if (!bool_value(text, &s.boolean))
            return false;
        break;
    case CONF_INT:
        if (!int_pattern(text) || !int_value(text, &s.integer))
            return false;
        break;
    case CONF_FLOAT:
        if (!float_pattern(text))
            return false;
        s.number = float_value(text);
        break;
    case CONF_STRING:
        break;
    case CONF_LIST:
    case CONF_MAP:
        return false;
    }
    *ret = s;
    return true;
}

struct scalar scalar_resolve(const char *text)
{
    static const enum conf_type order[] = {CONF_NULL, CONF_BOOL, CONF_FLOAT, CONF_INT, CONF_STRING};
    struct scalar s = {.type = CONF_STRING};

    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        if (scalar_resolve_as(text, order[i], &s))
            break;
    return s;
}

/* "d.dddde-05" → the form of Python's repr(): plain between 1e-4 and 1e16. */
static char *float_layout(const char *scientific)
{
    struct buf b = BUF_EMPTY;
    const char *e = strchr(scientific, 'e');
    int exponent = (int)strtol(e + 1, NULL, 10);
    const char *first = scientific + (*scientific == '-');
    char digits[32] = "";
    int count = 0;

    for (const char *at = first; at < e; at++)
        if (is_digit(*at))
            digits[count++] = *at;
    while (count > 1 && digits[count - 1] == '0')
        count--;

    if (*scientific == '-')
        buf_add_char(&b, '-');
    if (exponent < -4 || exponent >= 16) {
        buf_add_char(&b, digits[0]);
        if (count > 1)
            buf_printf(&b, ".%.*s", count - 1, digits + 1);
        buf_printf(&b, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return buf_take(&b);
    }
    if (exponent < 0) {
        buf_add_str(&b, "0.");
        for (int i = -1; i > exponent; i--)
            buf_add_char(&b, '0');
        buf_add(&b, digits, (size_t)count);
        return buf_take(&b);
    }
    for (int i = 0; i < count || i <= exponent; i++) {
        if (i == exponent + 1)
            buf_add_char(&b, '.');
        buf_add_char(&b, i < count ? digits[i] : '0');
    }
    if (count <= exponent + 1)
        buf_add_str(&b, ".0");
    return buf_take(&b);
}

char *scalar_float_text(double number)
{
    char text[40];

    if (isnan(number))
        return str_dup("nan");
    if (isinf(number))
        return str_dup(number < 0 ? "-inf" : "inf");

    for (int precision = 0; precision <= 16; precision++) { /* 17 digits tell any two doubles apart */
        (void)snprintf(text, sizeof(text), "%.*e", precision, number);
        if (strtod(text, NULL) == number)
            break;
    }
    return float_layout(text);
}
