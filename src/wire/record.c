#include "wire/record.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

/* What stands for a version that cannot be read: nobody knows what it asks of us. */
enum { VERSION_UNREADABLE = INT_MAX };

/* ---- reading ---- */

static int read_version(const json_t *json)
{
    const json_t *version = json_object_get(json, "version");

    if (!version)
        return 1; /* the first ones had none */
    json_int_t number = json_integer_value(version);
    return number >= 1 && number < VERSION_UNREADABLE ? (int)number : VERSION_UNREADABLE;
}

static char *read_string(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return str_empty(text) ? NULL : str_dup(text);
}

static uint32_t read_timeline(const json_t *value)
{
    json_int_t number = json_integer_value(value);

    return number > 0 && number <= UINT32_MAX ? (uint32_t)number : 0;
}

enum record_result record_key_read(const char *value, size_t value_len, int64_t mod_revision,
                                   struct record_key *ret_record, const char **ret_why)
{
    struct record_key *r = ret_record;
    json_t *json = json_loadb(value ? value : "", value_len, JSON_ALLOW_NUL, NULL);

    *r = (struct record_key){.mod_revision = mod_revision};
    if (!json_is_object(json)) {
        json_decref(json);
        *ret_why = "not an object";
        return RECORD_BAD;
    }
    r->version = read_version(json);
    const json_t *number = json_object_get(json, "term");
    if (!json_is_integer(number) || json_integer_value(number) < 0) {
        json_decref(json);
        *ret_why = "no term";
        return RECORD_BAD;
    }
    r->present = true;
    r->term = (term)json_integer_value(number);
    r->timeline = read_timeline(json_object_get(json, "timeline"));
    r->leader = read_string(json, "leader");
    r->released = json_is_true(json_object_get(json, "released"));
    r->unfenced = json_is_true(json_object_get(json, "unfenced"));
    r->json = json;
    return RECORD_OK;
}

void record_key_deinit(struct record_key *r)
{
    free(r->leader);
    json_decref(r->json);
    *r = (struct record_key){0};
}

void record_key_copy(const struct record_key *from, struct record_key *ret_copy)
{
    *ret_copy = *from;
    ret_copy->leader = str_dup(from->leader);
    ret_copy->json = json_deep_copy(from->json); /* of NULL: NULL */
}

bool record_key_is_newer(const struct record_key *r)
{
    return r->version > RECORD_VERSION;
}

/* ---- writing ---- */

static void put(json_t *object, const char *key, json_t *take_value)
{
    CHECK(take_value);
    CHECK(json_object_set_new(object, key, take_value) == 0);
}

/* A field that says nothing is left out. */
static void put_if(bool wanted, json_t *object, const char *key, json_t *take_value)
{
    if (wanted) {
        put(object, key, take_value);
        return;
    }
    (void)json_object_del(object, key); /* absent is as good */
    json_decref(take_value);
}

char *record_key_text(const struct record_key *r)
{
    CHECK(!record_key_is_newer(r));
    json_t *o = r->json ? json_deep_copy(r->json) : json_object();

    put(o, "version", json_integer(RECORD_VERSION));
    put(o, "term", json_integer((json_int_t)r->term));
    put(o, "leader", r->leader ? json_string(r->leader) : json_null());
    put_if(r->timeline, o, "timeline", json_integer(r->timeline));
    put(o, "released", json_boolean(r->released));
    put_if(r->unfenced, o, "unfenced", json_true());

    char *text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(o);
    CHECK(text);
    return text;
}
