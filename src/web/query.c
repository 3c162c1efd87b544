#include "web/query.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"

struct pair {
    const char *key, *value;
    size_t key_len, value_len;
};

/* The next pair that has a value. */
static bool pair_next(const char **at, struct pair *ret)
{
    while (*at && **at) {
        const char *from = *at;
        size_t len = strcspn(from, "&");
        size_t key_len = strcspn(from, "=&");

        *at = from[len] ? from + len + 1 : NULL;
        if (key_len + 1 < len) {
            *ret = (struct pair){from, from + key_len + 1, key_len, len - key_len - 1};
            return true;
        }
    }
    *at = NULL;
    return false;
}

static int hex_value(char c)
{
    if (isdigit((unsigned char)c))
        return c - '0';
    return tolower((unsigned char)c) - 'a' + 10;
}

/* "+" is a blank, "%41" a byte; what only looks like that stays as it is. */
static char *decode(const char *from, size_t len)
{
    struct buf text = BUF_EMPTY;

    for (size_t i = 0; i < len; i++) {
        if (from[i] == '+') {
            buf_add_char(&text, ' ');
        } else if (from[i] == '%' && i + 2 < len && isxdigit((unsigned char)from[i + 1]) &&
                   isxdigit((unsigned char)from[i + 2])) {
            buf_add_char(&text, (char)(hex_value(from[i + 1]) << 4 | hex_value(from[i + 2])));
            i += 2;
        } else {
            buf_add_char(&text, from[i]);
        }
    }
    return buf_take(&text);
}

char *query_value(const char *query, const char *key)
{
    struct pair pair;

    while (pair_next(&query, &pair)) {
        AUTO(cstr) char *name = decode(pair.key, pair.key_len);
        if (str_eq(name, key))
            return decode(pair.value, pair.value_len);
    }
    return NULL;
}

char *query_next_key(const char **at)
{
    struct pair pair;

    return pair_next(at, &pair) ? decode(pair.key, pair.key_len) : NULL;
}
