#include "wire/cluster.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/report.h"
#include "wire/when.h"

/* A key that could not be read: only the first is remembered, one is enough to look at. */
static void note_bad(struct cluster *c, const char *key, const char *reason)
{
    if (!c->bad)
        c->bad = str_fmt("%s: %s", key, reason);
}

static char *text_of(const struct cluster_key *k)
{
    char *text = mem_zero(k->value_len + 1, 1);

    if (k->value)
        memcpy(text, k->value, k->value_len);
    return text;
}

static json_t *parse(const struct cluster_key *k, json_error_t *error)
{
    if (k->parsed && *k->parsed)
        return json_incref(*k->parsed);

    json_t *json = json_loadb(k->value ? k->value : "", k->value_len, JSON_ALLOW_NUL | JSON_DECODE_ANY, error);
    if (k->parsed)
        *k->parsed = json_incref(json);
    return json;
}

/* The value as JSON, NULL if it is none (noted). Scalars are allowed: some keys are numbers. */
static json_t *json_of(struct cluster *c, const struct cluster_key *k)
{
    json_error_t error;
    json_t *json = parse(k, &error);

    if (!json)
        note_bad(c, k->name, error.text);
    return json;
}

/* As json_of, but only the wanted type counts. */
static json_t *typed_json_of(struct cluster *c, const struct cluster_key *k, json_type type, const char *what)
{
    json_t *json = json_of(c, k);

    if (json && json_typeof(json) != type) {
        note_bad(c, k->name, what);
        json_decref(json);
        json = NULL;
    }
    return json;
}

static char *member_string(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return str_empty(text) ? NULL : str_dup(text);
}

static void read_config(struct cluster *c, const struct cluster_key *k)
{
    c->config = typed_json_of(c, k, JSON_OBJECT, "not an object");
    c->config_revision = k->mod_revision;
}

/* The slots of `status` as whole numbers; Patroni takes numbers in strings too. */
static json_t *read_slots(const json_t *slots)
{
    const char *name;
    json_t *value;

    if (!json_is_object(slots))
        return NULL;
    json_t *clean = json_object();
    json_object_foreach((json_t *)slots, name, value)
    {
        int64_t at = json_integer_value(value);
        if (json_is_string(value) && !str_to_int(json_string_value(value), 0, INT64_MAX, &at))
            continue;
        if (json_is_integer(value) || json_is_string(value))
            CHECK(json_object_set_new(clean, name, json_integer(at)) == 0);
    }
    return clean;
}

static void read_status(struct cluster *c, const struct cluster_key *k)
{
    json_t *json = json_of(c, k);
    if (!json)
        return;

    c->status.mod_revision = k->mod_revision;
    if (json_is_integer(json)) { /* what `status` could hold before it had slots */
        c->status.optime = (lsn)json_integer_value(json);
    } else if (json_is_object(json)) {
        const json_t *optime = json_object_get(json, "optime");
        int64_t at = json_integer_value(optime);
        if (json_is_string(optime) && !str_to_int(json_string_value(optime), 0, INT64_MAX, &at))
            note_bad(c, k->name, "optime is not a number");
        c->status.optime = at > 0 ? (lsn)at : 0;
        c->status.slots = read_slots(json_object_get(json, "slots"));
        json_t *retain = json_object_get(json, "retain_slots");
        c->status.retain_slots = json_is_array(retain) ? json_incref(retain) : NULL;
    } else {
        note_bad(c, k->name, "not an object");
    }
    json_decref(json);
}

static char *trimmed(const char *from, const char *to)
{
    while (from < to && isspace((unsigned char)*from))
        from++;
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    return from == to ? NULL : str_fmt("%.*s", (int)(to - from), from);
}

/* The oldest form, "leader:candidate"; either side may be missing. */
static void read_failover_text(struct cluster *c, const char *text)
{
    const char *end = text + strlen(text);
    const char *colon = strchr(text, ':');

    c->failover.leader = trimmed(text, colon ? colon : end);
    if (colon) {
        const char *more = strchr(colon + 1, ':');
        c->failover.candidate = trimmed(colon + 1, more ? more : end);
    }
}

static void read_failover(struct cluster *c, const struct cluster_key *k)
{
    struct failover_key *f = &c->failover;
    json_t *json = json_loadb(k->value ? k->value : "", k->value_len, JSON_DECODE_ANY, NULL);

    f->mod_revision = k->mod_revision;
    if (json_is_object(json)) {
        f->leader = member_string(json, "leader");
        f->candidate = member_string(json, "member");
        f->scheduled_at = member_string(json, "scheduled_at");
    } else if (!json && k->value_len) {
        AUTO(cstr) char *text = text_of(k);
        read_failover_text(c, text);
    }
    json_decref(json);

    if (f->scheduled_at && !when_parse(f->scheduled_at, &f->scheduled_epoch_ms)) {
        /* Acting now on what was meant for later would be the wrong reading. */
        note_bad(c, k->name, "scheduled_at is not a time with a zone");
        return;
    }
    f->present = f->leader || f->candidate;
}

static void read_sync(struct cluster *c, const struct cluster_key *k)
{
    json_t *json = typed_json_of(c, k, JSON_OBJECT, "not an object");

    c->sync.mod_revision = k->mod_revision;
    if (!json)
        return;
    c->sync.leader = member_string(json, "leader");
    c->sync.sync_standby = member_string(json, "sync_standby");
    c->sync.quorum = (int)json_integer_value(json_object_get(json, "quorum"));
    c->sync.present = c->sync.leader != NULL;
    json_decref(json);
}

static void read_record(struct cluster *c, const struct cluster_key *k)
{
    const char *why;

    if (record_key_read(k->value, k->value_len, k->mod_revision, &c->record, &why) == RECORD_BAD)
        note_bad(c, k->name, why);
}

/*
 * Nothing hangs on the number that is in it, only on when it was written. It hangs on no lease: it is to be seen even
 * when the store drops that one too early, or somebody removes the leader key.
 */
static void read_beat(struct cluster *c, const struct cluster_key *k)
{
    c->beat_revision = k->mod_revision;
}

static void read_leader(struct cluster *c, const struct cluster_key *k)
{
    c->leader = text_of(k);
    c->leader_revision = k->mod_revision;
    c->leader_lease = k->lease;
}

static void read_initialize(struct cluster *c, const struct cluster_key *k)
{
    c->initialize = text_of(k);
    c->initialize_revision = k->mod_revision;
    c->initialize_lease = k->lease;
}

static void read_history(struct cluster *c, const struct cluster_key *k)
{
    c->history = typed_json_of(c, k, JSON_ARRAY, "not a list");
    c->history_revision = k->mod_revision;
}

static void read_failsafe(struct cluster *c, const struct cluster_key *k)
{
    c->failsafe = typed_json_of(c, k, JSON_OBJECT, "not an object");
    c->failsafe_revision = k->mod_revision;
}

static void read_member(struct cluster *c, const struct cluster_key *k)
{
    const char *name = k->name + strlen("members/");
    json_t *json = parse(k, NULL);
    struct member *m = member_of_json(name, json);

    json_decref(json);
    if (!m) {
        note_bad(c, k->name, "not an object");
        return;
    }
    m->mod_revision = k->mod_revision;
    m->lease = k->lease;
    c->members = mem_grow(c->members, c->member_count + 1, sizeof(*c->members));
    c->members[c->member_count++] = *m;
    free(m); /* what it pointed at lives on in the array */
}

/* What cannot be read is left out: nothing rests on a report. */
static void read_report(struct cluster *c, const struct cluster_key *k)
{
    const char *at = k->name + strlen(REPORTS_PREFIX), *slash = strchr(at, '/');
    json_t *part = slash ? parse(k, NULL) : NULL;

    if (!json_is_object(part)) {
        json_decref(part);
        return;
    }
    AUTO(cstr) char *term_text = str_fmt("%.*s", (int)(slash - at), at);
    if (!c->failovers)
        c->failovers = json_object();
    json_t *parts = json_object_get(c->failovers, term_text);
    if (!parts) {
        parts = json_object();
        (void)json_object_set_new(c->failovers, term_text, parts);
    }
    (void)json_object_set_new(parts, slash + 1, part);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

struct cluster *cluster_read(const struct cluster_key *keys, size_t key_count, int64_t revision)
{
    static const struct {
        const char *name;
        void (*read)(struct cluster *c, const struct cluster_key *k);
    } readers[] = {
        {"initialize", read_initialize}, {"leader", read_leader},    {"config", read_config}, {"status", read_status},
        {"failover", read_failover},     {"sync", read_sync},        {"pgkeep", read_record}, {"history", read_history},
        {"failsafe", read_failsafe},     {"pgkeep_beat", read_beat},
    };
    struct cluster *c = mem_zero(1, sizeof(*c));
    const struct cluster_key *legacy_optime = NULL;

    atomic_init(&c->refs, 1);
    c->revision = revision;
    for (size_t i = 0; i < key_count; i++) {
        const struct cluster_key *k = &keys[i];
        if (str_starts(k->name, "members/") && !strchr(k->name + strlen("members/"), '/'))
            read_member(c, k);
        if (str_starts(k->name, REPORTS_PREFIX)) {
            read_report(c, k);
            continue;
        }
        if (str_eq(k->name, "optime/leader"))
            legacy_optime = k;
        for (size_t r = 0; r < ARRAY_LEN(readers); r++) {
            if (str_eq(k->name, readers[r].name))
                readers[r].read(c, k);
        }
    }
    if (!c->status.mod_revision && legacy_optime)
        read_status(c, legacy_optime);
    if (c->member_count)
        qsort(c->members, c->member_count, sizeof(*c->members), by_name);
    return c;
}

struct cluster *cluster_ref(struct cluster *c)
{
    unsigned int before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);

    CHECK(before > 0);
    return c;
}

void cluster_unref(struct cluster *c)
{
    if (!c)
        return;

    unsigned int before = atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before > 1)
        return;

    atomic_store_explicit(&c->refs, 1, memory_order_relaxed); /* nobody else has it */
    cluster_free(c);
}

void cluster_free(struct cluster *c)
{
    if (!c)
        return;
    CHECK(atomic_load_explicit(&c->refs, memory_order_relaxed) == 1);
    free(c->initialize);
    free(c->leader);
    cluster_members_free(c->members, c->member_count);
    json_decref(c->config);
    json_decref(c->status.slots);
    json_decref(c->status.retain_slots);
    free(c->failover.leader);
    free(c->failover.candidate);
    free(c->failover.scheduled_at);
    free(c->sync.leader);
    free(c->sync.sync_standby);
    record_key_deinit(&c->record);
    json_decref(c->history);
    json_decref(c->failsafe);
    json_decref(c->failovers);
    free(c->bad);
    free(c);
}

const char *member_name_why_not_counted(const char *name)
{
    enum { NAMEDATALEN = 64 };

    if (strlen(name) >= NAMEDATALEN)
        return "is longer than the 63 bytes that PostgreSQL keeps of it";
    for (const char *at = name; *at; at++)
        if (*at < ' ' || *at > '~')
            return "has characters that PostgreSQL does not keep";
    return member_name_is_reserved(name) ? "has a meaning of its own" : NULL;
}

bool member_name_is_reserved(const char *name)
{
    static const char *const reserved[] = {
        "*",                                           /* any standby */
        "__fence__",                                   /* none (pg/names.h) */
        "pgkeep_job",                                  /* our own tools, which must never count */
        "__patroni_strict_sync_replica_placeholder__", /* none, to Patroni */
    };

    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (str_eq_nocase(name, reserved[i]))
            return true;
    return false;
}

const struct member *cluster_member(const struct cluster *c, const char *name)
{
    for (size_t i = 0; name && i < c->member_count; i++) {
        if (str_eq(c->members[i].name, name))
            return &c->members[i];
    }
    return NULL;
}

const struct member *cluster_leader_member(const struct cluster *c)
{
    return cluster_member(c, c->leader);
}
