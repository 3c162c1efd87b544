#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/record.h"

enum { HEX_MAX = 17, VERSION_WITHOUT_ELECTORATE = 2 };

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

static json_t *hex(uint64_t id)
{
    char text[HEX_MAX];

    (void)snprintf(text, sizeof(text), "%" PRIx64, id); /* 16 digits at most */
    return json_string(text);
}

/* Over what was there, as the whole is. */
static json_t *cohort(const struct record_cohort *c, const json_t *was)
{
    json_t *o = json_is_object(was) ? json_deep_copy(was) : json_object();
    json_t *members = json_object();

    CHECK(c->count <= RECORD_MEMBERS_MAX);
    CHECK(c->count ? c->k >= 1 && (size_t)c->k <= c->count : c->k == 0);
    for (size_t i = 0; i < c->count; i++)
        put(members, c->at[i].name, hex(c->at[i].incarnation));
    put(o, "k", json_integer(c->k));
    put(o, "members", members);
    return o;
}

static json_t *string_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *open_cohort(const struct record_key *r, const json_t *was)
{
    json_t *o = cohort(&r->open, was);

    put_if(r->open_leader, o, "leader", string_or_null(r->open_leader));
    put_if(r->open_leader, o, "incarnation", hex(r->open_incarnation));
    put_if(r->open_leader, o, "term", json_integer((json_int_t)r->open_term));
    return o;
}

static json_t *lines(const struct record_key *r)
{
    json_t *list = json_array();
    char text[LSN_TEXT_MAX];

    CHECK(r->line_count <= RECORD_LINES_MAX);
    for (size_t i = 0; i < r->line_count; i++) {
        json_t *line = json_array();
        CHECK(json_array_append_new(line, json_integer(r->lines[i].timeline)) == 0);
        CHECK(json_array_append_new(line, json_integer((json_int_t)r->lines[i].term)) == 0);
        CHECK(json_array_append_new(line, json_string(lsn_text(r->lines[i].fork, text))) == 0);
        CHECK(json_array_append_new(list, line) == 0);
    }
    return list;
}

static json_t *electorate(const struct record_electorate *e, const json_t *was)
{
    json_t *o = json_is_object(was) ? json_deep_copy(was) : json_object();
    json_t *members = json_array();

    for (size_t i = 0; i < e->count; i++)
        CHECK(json_array_append_new(members, json_string(e->names[i])) == 0);
    put(o, "lease_ms", json_integer(e->lease_ms));
    put(o, "members", members);
    return o;
}

char *record_key_text(const struct record_key *r)
{
    CHECK(!record_key_is_opaque(r));
    json_t *o = r->json ? json_deep_copy(r->json) : json_object();
    bool by_quorum = r->mode == RECORD_QUORUM || r->open.count || r->phase != RECORD_OPEN;
    bool has_mode = by_quorum || r->mode != RECORD_ASYNC;

    CHECK(!r->challenger || r->electorate.count);
    put(o, "version", json_integer(r->electorate.count ? RECORD_VERSION : VERSION_WITHOUT_ELECTORATE));
    put(o, "term", json_integer((json_int_t)r->term));
    put(o, "leader", string_or_null(r->leader));
    put_if(r->leader_incarnation, o, "leader_incarnation", hex(r->leader_incarnation));
    put_if(r->leader_timeline, o, "leader_timeline", json_integer(r->leader_timeline));
    put_if(r->timeline, o, "timeline", json_integer(r->timeline));
    put(o, "released", json_boolean(r->released));
    put_if(r->unfenced, o, "unfenced", json_true());
    put_if(r->deposed, o, "deposed", json_true());
    put_if(r->electorate.count, o, "electorate", electorate(&r->electorate, json_object_get(o, "electorate")));
    put_if(r->challenger, o, "challenger", string_or_null(r->challenger));
    put_if(has_mode, o, "mode", json_string(record_mode_text(r->mode)));
    put_if(has_mode, o, "phase", json_string(record_phase_text(r->phase)));
    put_if(r->coordinator, o, "coordinator", string_or_null(r->coordinator));
    put_if(by_quorum, o, "open", open_cohort(r, json_object_get(o, "open")));
    put_if(r->joining, o, "joint", cohort(&r->joint, json_object_get(o, "joint")));
    put_if(r->line_count, o, "lines", lines(r));

    char *text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(o);
    CHECK(text);
    return text;
}
