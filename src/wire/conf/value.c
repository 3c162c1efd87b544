#include "wire/conf/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "wire/conf/scalar.h"

static char *text_cut(const char *at, size_t len)
{
    char *copy = strndup(at, len);

    CHECK(copy);
    return copy;
}

static bool text_to_bool(const char *text, bool *ret_value)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {
        {"on", true},   {"true", true},   {"yes", true}, {"1", true},
        {"off", false}, {"false", false}, {"no", false}, {"0", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasecmp(text, words[i].word) == 0) {
            *ret_value = words[i].value;
            return true;
        }
    }
    return false;
}

bool value_bool(const struct conf_node *n, bool *ret_value)
{
    if (!n)
        return false;
    if (n->type == CONF_STRING)
        return text_to_bool(n->string, ret_value);
    if (n->type == CONF_BOOL) {
        *ret_value = n->boolean;
        return true;
    }
    if (n->type != CONF_INT || (n->integer != 0 && n->integer != 1))
        return false;
    *ret_value = n->integer == 1;
    return true;
}

struct factor {
    const char *name;
    double factor;
};

static const struct factor seconds[] = {
    {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}, {NULL, 0},
};
static const struct factor bytes[] = {
    {"B", 1}, {"kB", 0x1p10}, {"MB", 0x1p20}, {"GB", 0x1p30}, {"TB", 0x1p40}, {NULL, 0},
};
static const struct factor megabytes[] = {
    {"B", 0x1p-20}, {"kB", 0x1p-10}, {"MB", 1}, {"GB", 0x1p10}, {"TB", 0x1p20}, {NULL, 0},
};

static const struct factor *unit_factors(enum value_unit unit)
{
    switch (unit) {
    case UNIT_NONE:
        return NULL;
    case UNIT_SECONDS:
        return seconds;
    case UNIT_BYTES:
        return bytes;
    case UNIT_MEGABYTES:
        return megabytes;
    }
    UNREACHABLE();
}

static bool unit_factor(const char *name, enum value_unit unit, double *ret_factor)
{
    for (const struct factor *f = unit_factors(unit); f && f->name; f++) {
        if (str_eq(f->name, name)) {
            *ret_factor = f->factor;
            return true;
        }
    }
    return false;
}

/* Whole numbers up to here are exact in a double. */
#define EXACT_MAX 0x1p52

static bool is_exact(double number)
{
    return number > -EXACT_MAX && number < EXACT_MAX;
}

/* To the nearest whole number, halves to the even one (Patroni's rint), for is_exact() numbers; no libm here. */
static double rounded(double number)
{
    return number < 0 ? -(-number + EXACT_MAX - EXACT_MAX) : number + EXACT_MAX - EXACT_MAX;
}

static const char *skip_spaces(const char *s)
{
    return s + strspn(s, " \t");
}

/* strtoll() with base 0 takes "0b1" where the C library is new; PostgreSQL and Patroni do not. */
static bool whole_number(const char *s, int64_t *ret_value, const char **ret_end)
{
    char *end = NULL;

    errno = 0;
    long long value = strtoll(s, &end, 0);
    if (errno || end == s)
        return false;
    *ret_value = value;
    *ret_end = end;
    return true;
}

bool value_text_to_int(const char *text, enum value_unit unit, int64_t *ret_value)
{
    const char *s = skip_spaces(text);
    const char *end = NULL;
    int64_t whole;
    double factor;

    if (!whole_number(s, &whole, &end))
        return false;
    if (!*skip_spaces(end)) {
        *ret_value = whole;
        return true;
    }

    double number = (double)whole;
    if (*end == '.' || *end == 'e' || *end == 'E') {
        char *fraction_end = NULL;
        number = strtod(s, &fraction_end);
        end = fraction_end;
    }
    AUTO(cstr) char *name = str_dup(skip_spaces(end));
    for (size_t len = strlen(name); len > 0 && strchr(" \t", name[len - 1]); len--)
        name[len - 1] = '\0';
    if (!unit_factor(name, unit, &factor))
        return false;

    number *= factor;
    if (!is_exact(number))
        return false;
    *ret_value = (int64_t)rounded(number);
    return true;
}

bool value_int(const struct conf_node *n, enum value_unit unit, int64_t *ret_value)
{
    if (!n)
        return false;
    if (n->type == CONF_STRING)
        return value_text_to_int(n->string, unit, ret_value);
    if (n->type == CONF_INT) {
        *ret_value = n->integer;
        return true;
    }
    if (n->type != CONF_FLOAT || !is_exact(n->number) || n->number != rounded(n->number))
        return false;
    *ret_value = (int64_t)n->number;
    return true;
}

char *value_text(const struct conf_node *n)
{
    if (!n)
        return NULL;
    if (n->type == CONF_STRING)
        return str_dup(n->string);
    if (n->type == CONF_INT)
        return str_fmt("%lld", (long long)n->integer);
    if (n->type == CONF_FLOAT)
        return scalar_float_text(n->number);
    return NULL;
}

/* A name, an IPv4 or IPv6 address: the alphabet only; who it is shows when it is used. */
static bool host_looks_right(const char *host)
{
    if (strchr(host, ':'))
        return strspn(host, "0123456789abcdefABCDEF:.") >= strcspn(host, "%") && strlen(host) > 1 &&
               strchr(host, ':') != strrchr(host, ':');
    return *host && !strpbrk(host, " \t\r\n\"'\\/@[]{}()<>|&;?#*,%$`!=+~^");
}

/* Every host of "a, [::1],c", joined with commas, without brackets and spaces. "*" stands alone. */
static char *hosts_cleaned(const char *hosts)
{
    struct buf b = BUF_EMPTY;
    bool ok = true;

    if (str_eq(hosts, "*"))
        return str_dup(hosts);

    for (const char *at = hosts; ok && at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t len = strcspn(at, ",");
        while (len > 0 && (*at == ' ' || *at == '[')) {
            at++;
            len--;
        }
        while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == ']'))
            len--;
        AUTO(cstr) char *host = text_cut(at, len);
        ok = host_looks_right(host);
        if (b.len > 0)
            buf_add_char(&b, ',');
        buf_add_str(&b, host);
    }
    if (ok)
        return buf_take(&b);
    buf_deinit(&b);
    return NULL;
}

bool value_endpoint(const char *text, int default_port, struct endpoint *ret)
{
    const char *colon = text ? strrchr(text, ':') : NULL;
    int64_t port = default_port;
    size_t host_len = text ? strlen(text) : 0;

    if (!text)
        return false;
    if (colon && !strchr(colon, ']')) { /* "[::1]" has colons, but no port */
        if (!str_to_int(colon + 1, 1, UINT16_MAX, &port))
            return false;
        host_len = (size_t)(colon - text);
    }
    if (port == 0)
        return false;

    AUTO(cstr) char *hosts = text_cut(text, host_len);
    char *cleaned = hosts_cleaned(hosts);
    if (!cleaned)
        return false;
    *ret = (struct endpoint){.host = cleaned, .port = (int)port};
    return true;
}

void endpoint_deinit(struct endpoint *e)
{
    free(e->host);
    *e = (struct endpoint){0};
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* len bytes with %xx decoded; NULL if a %xx is not one. */
static char *percent_decoded(const char *at, size_t len)
{
    struct buf b = BUF_EMPTY;

    for (size_t i = 0; i < len; i++) {
        if (at[i] != '%') {
            buf_add_char(&b, at[i]);
            continue;
        }
        int high = i + 2 < len ? hex_digit(at[i + 1]) : -1;
        int low = i + 2 < len ? hex_digit(at[i + 2]) : -1;
        if (high < 0 || low < 0 || high + low == 0) {
            buf_deinit(&b);
            return NULL;
        }
        buf_add_char(&b, (char)(high << 4 | low));
        i += 2;
    }
    return buf_take(&b);
}

void value_url_deinit(struct value_url *url)
{
    free(url->protocol);
    free(url->username);
    free(url->password);
    free(url->host);
    *url = (struct value_url){0};
}

/* "user:password" in front of the @. */
static bool url_user(const char *at, size_t len, struct value_url *url)
{
    const char *colon = memchr(at, ':', len);

    url->username = percent_decoded(at, colon ? (size_t)(colon - at) : len);
    if (colon)
        url->password = percent_decoded(colon + 1, len - (size_t)(colon + 1 - at));
    return url->username && (!colon || url->password);
}

bool value_url(const char *text, int default_port, struct value_url *ret)
{
    struct value_url url = {0};
    struct endpoint e = {0};
    bool https = text && strncasecmp(text, "https://", 8) == 0;

    if (!text || (!https && strncasecmp(text, "http://", 7) != 0))
        return false;
    const char *at = text + (https ? 8 : 7);
    size_t len = strcspn(at, "/?#");
    const char *user_end = memrchr(at, '@', len);
    bool ok = true;

    url.protocol = str_dup(https ? "https" : "http");
    if (user_end) {
        ok = url_user(at, (size_t)(user_end - at), &url);
        len -= (size_t)(user_end + 1 - at);
        at = user_end + 1;
    }
    AUTO(cstr) char *address = text_cut(at, len);
    if (!ok || strchr(address, ',') || !value_endpoint(address, default_port, &e)) {
        value_url_deinit(&url);
        return false;
    }
    url.host = e.host;
    url.port = e.port;
    *ret = url;
    return true;
}

void string_list_add(struct string_list *l, const char *text)
{
    l->at = mem_grow(l->at, l->count + 1, sizeof(*l->at));
    l->at[l->count++] = str_dup(text);
}

void string_list_deinit(struct string_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->at[i]);
    free(l->at);
    *l = (struct string_list){0};
}

static void list_from_commas(const char *text, struct string_list *ret)
{
    while (text) {
        const char *comma = strchr(text, ',');
        text = skip_spaces(text);
        size_t len = strcspn(text, ",");
        while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
            len--;
        AUTO(cstr) char *part = text_cut(text, len);
        if (len > 0)
            string_list_add(ret, part);
        text = comma ? comma + 1 : NULL;
    }
}

bool value_text_list(const struct conf_node *n, struct string_list *ret)
{
    struct string_list l = {0};

    if (n && n->type == CONF_STRING) {
        list_from_commas(n->string, &l);
        *ret = l;
        return true;
    }
    if (!n || n->type != CONF_LIST)
        return false;
    for (size_t i = 0; i < n->children.count; i++) {
        AUTO(cstr) char *text = value_text(n->children.at[i]);
        if (!text) {
            string_list_deinit(&l);
            return false;
        }
        string_list_add(&l, text);
    }
    *ret = l;
    return true;
}

/* Add {name: text} to the list; false if the value is no text or number. */
static bool option_add_pair(json_t *list, const struct conf_node *value)
{
    AUTO(cstr) char *text = value_text(value);

    if (!text)
        return false;
    json_t *pair = json_pack("{s:s}", value->key, text);
    CHECK(pair);
    return json_array_append_new(list, pair) == 0;
}

json_t *value_options(const struct conf_node *n)
{
    bool is_map = n && n->type == CONF_MAP;
    json_t *list = json_array();
    bool ok = is_map || (n && n->type == CONF_LIST);

    for (size_t i = 0; ok && i < n->children.count; i++) {
        const struct conf_node *item = n->children.at[i];

        if (is_map)
            ok = option_add_pair(list, item);
        else if (item->type == CONF_STRING)
            ok = json_array_append_new(list, json_string(item->string)) == 0;
        else
            ok = item->type == CONF_MAP && item->children.count == 1 && option_add_pair(list, item->children.at[0]);
    }
    if (ok)
        return list;
    json_decref(list);
    return NULL;
}

enum { SHOWN_MAX = 60 }; /* enough to recognise a value; a whole pg_hba line would bury the message */

static char *text_shown(const char *text)
{
    struct buf b = BUF_EMPTY;
    size_t len = strlen(text);
    size_t kept = len > SHOWN_MAX ? SHOWN_MAX : len;

    while (kept > 0 && kept < len && ((unsigned char)text[kept] & 0xc0) == 0x80)
        kept--; /* not inside a character */
    buf_add_char(&b, '"');
    for (size_t i = 0; i < kept; i++)
        buf_add_char(&b, (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i]);
    buf_add_str(&b, kept < len ? "…\"" : "\"");
    return buf_take(&b);
}

char *value_shown(const struct conf_node *n, bool secret)
{
    switch (n->type) {
    case CONF_NULL:
    case CONF_LIST:
    case CONF_MAP:
        return str_dup(conf_type_name(n->type));
    case CONF_BOOL:
        return secret ? str_dup("a boolean") : str_fmt("the boolean %s", n->text ? n->text : "");
    case CONF_INT:
    case CONF_FLOAT:
        if (secret)
            return str_dup(conf_type_name(n->type));
        return value_text(n);
    case CONF_STRING:
        return secret ? str_dup("a text that is not shown here") : text_shown(n->string);
    }
    UNREACHABLE();
}
