#include "wire/conf/keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "wire/conf/value.h"

static const struct key_table *const tables[] = {&keys_node, &keys_postgresql, &keys_dynamic, &keys_store};

const struct key *key_at(size_t index)
{
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        if (index < tables[i]->count)
            return &tables[i]->rows[index];
        index -= tables[i]->count;
    }
    return NULL;
}

const struct key *key_find(const char *path, enum key_scope scope)
{
    const struct key *key;

    for (size_t i = 0; (key = key_at(i)); i++)
        if ((key->scope & scope) && str_eq(key->path, path))
            return key;
    return NULL;
}

bool key_is_store(const struct key *key)
{
    return key >= keys_store.rows && key < keys_store.rows + keys_store.count && !strchr(key->path, '.');
}

/* The part of a row's path behind its parent's, if it is a direct child of it; else NULL. */
static const char *name_below(const struct key *key, const char *parent)
{
    size_t len = strlen(parent);
    const char *name = key->path;

    if (len > 0) {
        if (strncmp(name, parent, len) != 0 || name[len] != '.')
            return NULL;
        name += len + 1;
    }
    return strchr(name, '.') ? NULL : name;
}

bool key_has_children(const struct key *parent)
{
    const struct key *key;

    for (size_t i = 0; (key = key_at(i)); i++)
        if (name_below(key, parent->path))
            return true;
    return false;
}

const struct key *key_child(const char *parent, const char *name, enum key_scope scope)
{
    const struct key *star = NULL;
    const struct key *key;

    for (size_t i = 0; (key = key_at(i)); i++) {
        const char *own = key->scope & scope ? name_below(key, parent) : NULL;

        if (!own)
            continue;
        if (str_eq(own, "*"))
            star = key;
        else if (str_eq(own, name))
            return key;
    }
    return star;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

enum { NAME_MAX_LEN = 64 }; /* no key is longer; longer names are near to nothing */

/* Levenshtein distance, with two letters swapped counting one (restricted Damerau). */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][NAME_MAX_LEN + 1];
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);

    if (a_len > NAME_MAX_LEN || b_len > NAME_MAX_LEN)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = rows[i % 3];
        const size_t *before = rows[(i + 2) % 3];
        const size_t *two_before = rows[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t change = before[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = min3(before[j] + 1, now[j - 1] + 1, change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = min3(now[j], two_before[j - 2] + 1, SIZE_MAX);
        }
    }
    return rows[a_len % 3][b_len];
}

static const char *last_name(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot ? dot + 1 : path;
}

const char *key_nearest(const char *parent, const char *name, enum key_scope scope)
{
    size_t allowed = strlen(name) / 4 + 1; /* one slip in four letters still looks like the word */
    const struct key *key;
    const char *near = NULL;
    const char *elsewhere = NULL;
    size_t best = allowed + 1;

    for (size_t i = 0; (key = key_at(i)); i++) {
        const char *own = name_below(key, parent);

        if ((key->scope & scope) && own && !strpbrk(own, "*[") && distance(own, name) < best) {
            best = distance(own, name);
            near = key->path;
        }
        if (!elsewhere && !key->moved_to && str_eq(last_name(key->path), name))
            elsewhere = key->path;
    }
    return near ? near : elsewhere;
}

/* Does `word` stand in the alternative "off/disable/disabled"? *ret_next is what follows its end. */
static bool alternative_has(const char *alternative, const char *word, const char **ret_next)
{
    size_t len = strcspn(alternative, "|");
    bool found = false;

    for (const char *at = alternative; at < alternative + len;) {
        size_t word_len = strcspn(at, "/|");
        found = found || (strlen(word) == word_len && strncasecmp(at, word, word_len) == 0);
        at += word_len + 1;
    }
    *ret_next = alternative[len] == '|' ? alternative + len + 1 : NULL;
    return found;
}

char *key_enum_value(const struct key *key, const struct conf_node *n)
{
    CHECK(key->type == KEY_ENUM);
    AUTO(cstr) char *word = n && n->type == CONF_BOOL ? str_dup(n->boolean ? "on" : "off") : value_text(n);
    const char *at = key->values;

    while (word && at) {
        const char *alternative = at;
        if (alternative_has(alternative, word, &at))
            return str_fmt("%.*s", (int)strcspn(alternative, "/|"), alternative);
    }
    return NULL;
}

/* Nothing, an empty text, or a collection of nothing but that. */
static bool asks_for_nothing(const struct conf_node *n)
{
    if (conf_absent(n))
        return true;
    if (n->type != CONF_LIST && n->type != CONF_MAP)
        return false;
    for (size_t i = 0; i < n->children.count; i++)
        if (!asks_for_nothing(n->children.at[i]))
            return false;
    return true;
}

bool key_harmless(const struct key *key, const struct conf_node *n)
{
    if (asks_for_nothing(n))
        return true;
    if (!key->harmless)
        return false;
    if (key->type == KEY_ENUM) {
        AUTO(cstr) char *value = key_enum_value(key, n);
        return str_eq(value, key->harmless);
    }
    bool on;
    if (key->type == KEY_BOOL)
        return value_bool(n, &on) && on == str_eq(key->harmless, "on");
    AUTO(cstr) char *text = value_text(n);
    return str_eq(text, key->harmless);
}

static char *expected_range(const struct key *key)
{
    struct buf b = BUF_EMPTY;

    buf_add_str(&b, "a whole number");
    if (key->max > 0)
        buf_printf(&b, " from %lld to %lld", (long long)key->min, (long long)key->max);
    else if (key->min > INT64_MIN)
        buf_printf(&b, " of at least %lld", (long long)key->min);
    if (key->type == KEY_DURATION)
        buf_add_str(&b, " (seconds), or one with a unit such as \"30min\"");
    if (key->type == KEY_SIZE)
        buf_add_str(&b, " (bytes), or one with a unit such as \"512kB\"");
    return buf_take(&b);
}

/* "off/disable|automatic|required" → "off, automatic or required" */
static char *expected_values(const char *values)
{
    struct buf b = BUF_EMPTY;

    for (const char *at = values; at;) {
        const char *bar = strchr(at, '|');

        if (at != values)
            buf_add_str(&b, bar ? ", " : " or ");
        buf_printf(&b, "%.*s", (int)strcspn(at, "/|"), at);
        at = bar ? bar + 1 : NULL;
    }
    return buf_take(&b);
}

char *key_expected(const struct key *key)
{
    switch (key->type) {
    case KEY_SECTION:
    case KEY_MAP:
        return str_dup("a mapping");
    case KEY_TEXT:
    case KEY_SECRET:
        return str_dup("a text");
    case KEY_BOOL:
        return str_dup("on or off");
    case KEY_INT:
    case KEY_DURATION:
    case KEY_SIZE:
        return expected_range(key);
    case KEY_ENUM:
        return expected_values(key->values);
    case KEY_HOST_PORT:
        return str_dup("host:port");
    case KEY_ADDRESS:
        return str_dup("host or host:port");
    case KEY_LISTEN:
        return str_dup("host:port (several hosts with commas, the port after the last)");
    case KEY_HOST_LIST:
        return str_dup("a list of host:port");
    case KEY_URL:
        return str_dup("http://host:port or https://host:port");
    case KEY_TEXT_LIST:
        return str_dup("a list of texts, or one text with commas");
    case KEY_LINES:
        return str_dup("a list of lines");
    case KEY_OPTIONS:
        return str_dup("a list of options, each a name or one \"name: value\"");
    case KEY_SCALARS:
        return str_dup("a mapping of names to plain values");
    case KEY_LIST:
        return str_dup("a list");
    case KEY_SCALAR:
        return str_dup("a plain value");
    case KEY_ANY:
        return str_dup("anything");
    }
    UNREACHABLE();
}

char *key_variable(const struct key *key)
{
    if (!key->env)
        return NULL;

    char *name = str_fmt("PATRONI_%s", *key->env ? key->env : key->path);
    for (char *at = name; *at; at++)
        *at = *at == '.' ? '_' : (*at >= 'a' && *at <= 'z') ? (char)(*at - 'a' + 'A') : *at;
    return name;
}
