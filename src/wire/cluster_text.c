#include "wire/cluster.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"

/* JSON without spaces, as Patroni writes it; consumes the object. */
static char *text_of(json_t *take_object)
{
    char *text = json_dumps(take_object, JSON_COMPACT | JSON_ENSURE_ASCII);

    json_decref(take_object);
    CHECK(text);
    return text;
}

static void put(json_t *object, const char *key, json_t *take_value)
{
    CHECK(take_value);
    CHECK(json_object_set_new(object, key, take_value) == 0);
}

static json_t *string_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

char *failover_key_text(const char *leader, const char *candidate, const char *scheduled_at)
{
    json_t *o = json_object();

    if (!str_empty(leader))
        put(o, "leader", json_string(leader));
    if (!str_empty(candidate))
        put(o, "member", json_string(candidate));
    if (!str_empty(scheduled_at))
        put(o, "scheduled_at", json_string(scheduled_at));
    return text_of(o);
}

char *status_key_text(lsn optime, const json_t *slots, const json_t *retain_slots)
{
    json_t *o = json_object();

    put(o, "optime", json_integer((json_int_t)optime));
    if (slots)
        put(o, "slots", json_deep_copy(slots));
    if (retain_slots)
        put(o, "retain_slots", json_deep_copy(retain_slots));
    return text_of(o);
}

char *sync_key_text(const char *leader, int quorum, const char *sync_standby)
{
    json_t *o = json_object();

    put(o, "leader", string_or_null(leader));
    put(o, "quorum", json_integer(quorum));
    put(o, "sync_standby", string_or_null(str_empty(sync_standby) ? NULL : sync_standby));
    return text_of(o);
}

/* One code point of UTF-8; a byte that starts none is taken as itself. */
static unsigned int code_point(const char **at)
{
    const unsigned char *s = (const unsigned char *)*at;
    int more = s[0] >= 0xF0 ? 3 : s[0] >= 0xE0 ? 2 : s[0] >= 0xC0 ? 1 : 0;
    unsigned int c = more == 3 ? s[0] & 0x07 : more == 2 ? s[0] & 0x0F : more == 1 ? s[0] & 0x1F : s[0];

    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            *at += 1;
            return s[0];
        }
        c = c << 6 | (s[i] & 0x3F);
    }
    *at += 1 + more;
    return c;
}

/* Lower case of the scripts in which people name hosts: Latin, Greek, Cyrillic. */
static unsigned int code_lower(unsigned int c)
{
    if (c >= 'A' && c <= 'Z')
        return c + 32;
    if ((c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x391 && c <= 0x3A9 && c != 0x3A2) || (c >= 0x410 && c <= 0x42F))
        return c + 32;
    if (c >= 0x400 && c <= 0x40F)
        return c + 80;
    bool pairs_even =
        (c >= 0x100 && c <= 0x137 && c != 0x130) || (c >= 0x14A && c <= 0x177) || (c >= 0x460 && c <= 0x481);
    bool pairs_odd = (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E);
    if ((pairs_even && c % 2 == 0) || (pairs_odd && c % 2 == 1))
        return c + 1;
    return c;
}

/* Patroni: dcs/__init__.py, slot_name_from_member_name. The number is decimal. */
char *slot_name_from_member(const char *member)
{
    enum { SLOT_NAME_MAX = 63 }; /* NAMEDATALEN - 1 */
    AUTO(buf) struct buf name = BUF_EMPTY;

    for (const char *at = member; *at && name.len < SLOT_NAME_MAX;) {
        unsigned int c = code_lower(code_point(&at));
        if (c < 128 && (islower((int)c) || isdigit((int)c) || c == '_'))
            buf_add_char(&name, (char)c);
        else if (c == '-' || c == '.')
            buf_add_char(&name, '_');
        else
            buf_printf(&name, "u%04u", c);
    }
    char *text = buf_take(&name);
    if (strlen(text) > SLOT_NAME_MAX)
        text[SLOT_NAME_MAX] = '\0';
    return text;
}

static int port_of_scheme(const char *url, size_t scheme_len)
{
    static const struct {
        const char *scheme;
        int port;
    } known[] = {{"postgres", 5432}, {"postgresql", 5432}, {"http", 80}, {"https", 443}};

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strlen(known[i].scheme) == scheme_len && strncmp(known[i].scheme, url, scheme_len) == 0)
            return known[i].port;
    }
    return 0;
}

bool url_host_port(const char *url, char **ret_host, int *ret_port)
{
    const char *sep = url ? strstr(url, "://") : NULL;
    if (!sep)
        return false;

    int64_t port = port_of_scheme(url, (size_t)(sep - url));
    const char *at = sep + 3;
    const char *end = at + strcspn(at, "/?#");
    for (const char *c = at; c < end; c++) {
        if (*c == '@')
            at = c + 1;
    }

    const char *host_end;
    const char *colon;
    if (*at == '[') {
        at++;
        host_end = memchr(at, ']', (size_t)(end - at));
        if (!host_end)
            return false;
        colon = host_end + 1;
        if (colon != end && *colon != ':')
            return false;
    } else {
        colon = memchr(at, ':', (size_t)(end - at));
        colon = colon ? colon : end;
        host_end = colon;
    }
    if (host_end == at)
        return false;
    if (colon != end) {
        AUTO(cstr) char *digits = str_fmt("%.*s", (int)(end - colon - 1), colon + 1);
        if (!str_to_int(digits, 1, 65535, &port))
            return false;
    }
    if (!port)
        return false;

    *ret_host = str_fmt("%.*s", (int)(host_end - at), at);
    *ret_port = (int)port;
    return true;
}

json_t *json_merge_patch(json_t *take_target, const json_t *patch)
{
    const char *key;
    json_t *value;

    if (!json_is_object(patch)) {
        json_decref(take_target);
        return json_deep_copy(patch);
    }
    json_t *target = take_target;
    if (!json_is_object(target)) {
        json_decref(target);
        target = json_object();
    }
    json_object_foreach((json_t *)patch, key, value)
    {
        if (json_is_null(value)) {
            (void)json_object_del(target, key); /* an absent key is as good as deleted */
            continue;
        }
        put(target, key, json_merge_patch(json_incref(json_object_get(target, key)), value));
    }
    return target;
}
