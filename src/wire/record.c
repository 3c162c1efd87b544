#include "wire/record.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

enum { RECORD_UNREADABLE = INT_MAX };

static const char *const mode_texts[] = {
    [RECORD_ASYNC] = "async",
    [RECORD_PATRONI] = "patroni",
    [RECORD_QUORUM] = "quorum",
};

static const char *const phase_texts[] = {
    [RECORD_OPEN] = "open",
    [RECORD_TERM] = "term",
    [RECORD_ELECTED] = "elected",
};

const char *record_mode_text(enum record_mode mode)
{
    CHECK((size_t)mode < ARRAY_LEN(mode_texts));
    return mode_texts[mode];
}

const char *record_phase_text(enum record_phase phase)
{
    CHECK((size_t)phase < ARRAY_LEN(phase_texts));
    return phase_texts[phase];
}

/* ---- reading: each false on what is not as it must be; absent is fine and leaves zero ---- */

static int read_version(const json_t *json)
{
    const json_t *version = json_object_get(json, "version");

    if (!version)
        return 1; /* the first ones had none */
    json_int_t number = json_integer_value(version);
    return number >= 1 && number < RECORD_UNREADABLE ? (int)number : RECORD_UNREADABLE;
}

static bool read_word(const json_t *value, const char *const *words, size_t count, size_t *ret_index)
{
    if (!value)
        return true;
    for (size_t i = 0; i < count; i++) {
        if (str_eq(json_string_value(value), words[i])) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static bool read_flag(const json_t *value, bool *ret_flag)
{
    *ret_flag = json_is_true(value);
    return !value || json_is_boolean(value);
}

/* null is as good as absent. */
static bool read_name(const json_t *value, size_t len_max, char **ret_name)
{
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value) || json_string_length(value) > len_max)
        return false;
    *ret_name = json_string_length(value) ? str_dup(json_string_value(value)) : NULL;
    return true;
}

static bool read_number(const json_t *value, json_int_t max, json_int_t *ret_number)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > max)
        return false;
    *ret_number = json_integer_value(value);
    return true;
}

static bool read_timeline(const json_t *value, uint32_t *ret_timeline)
{
    json_int_t number = 0;

    if (value && !read_number(value, UINT32_MAX, &number))
        return false;
    *ret_timeline = (uint32_t)number;
    return true;
}

static bool read_term(const json_t *value, term *ret_term)
{
    json_int_t number;

    if (!read_number(value, INT64_MAX, &number))
        return false;
    *ret_term = (term)number;
    return true;
}

static bool read_incarnation(const json_t *value, uint64_t *ret_incarnation)
{
    enum { DIGITS_MAX = 16 };
    const char *text = json_string_value(value);
    size_t len = text ? json_string_length(value) : 0;

    if (len < 1 || len > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isxdigit((unsigned char)text[i]))
            return false;
    *ret_incarnation = strtoull(text, NULL, 16);
    return true;
}

static bool read_cohort(json_t *value, struct record_cohort *ret_cohort)
{
    json_t *members = json_object_get(value, "members");
    json_int_t k;
    const char *name;
    json_t *incarnation;

    if (!json_is_object(members) || json_object_size(members) > RECORD_MEMBERS_MAX)
        return false;
    if (!read_number(json_object_get(value, "k"), (json_int_t)json_object_size(members), &k))
        return false;
    if (!k && json_object_size(members)) /* acknowledgements that nobody waits for */
        return false;
    ret_cohort->k = (int)k;
    json_object_foreach(members, name, incarnation)
    {
        uint64_t id;
        if (!*name || strlen(name) > RECORD_NAME_MAX || !read_incarnation(incarnation, &id))
            return false;
        record_cohort_add(ret_cohort, name, id);
    }
    return true;
}

/* Who was open with the cohort stands beside its members. */
static bool read_open(json_t *value, struct record_key *r)
{
    const json_t *incarnation = json_object_get(value, "incarnation");

    if (!read_cohort(value, &r->open) || !read_name(json_object_get(value, "leader"), RECORD_NAME_MAX, &r->open_leader))
        return false;
    if (!r->open_leader)
        return true;
    return read_incarnation(incarnation, &r->open_incarnation) &&
           read_term(json_object_get(value, "term"), &r->open_term);
}

static bool read_line(const json_t *value, struct record_line *ret_line)
{
    const char *fork = json_string_value(json_array_get(value, 2));

    if (json_array_size(value) != 3 || !fork)
        return false;
    return read_timeline(json_array_get(value, 0), &ret_line->timeline) && ret_line->timeline &&
           read_term(json_array_get(value, 1), &ret_line->term) && lsn_parse(fork, &ret_line->fork);
}

static bool read_lines(const json_t *value, struct record_key *r)
{
    struct record_line line;

    if (value && !json_is_array(value))
        return false;
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!read_line(json_array_get(value, i), &line))
            return false;
        record_key_add_line(r, &line);
    }
    return true;
}

static bool read_electorate(const json_t *value, struct record_electorate *ret_electorate)
{
    const json_t *members = json_object_get(value, "members");
    json_int_t lease_ms;

    if (!read_number(json_object_get(value, "lease_ms"), INT32_MAX, &lease_ms) || !lease_ms)
        return false;
    if (!json_array_size(members) || json_array_size(members) > RECORD_MEMBERS_MAX)
        return false;
    ret_electorate->lease_ms = (msec)lease_ms;
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *name = json_array_get(members, i);
        const char *text = json_string_value(name);
        if (str_empty(text) || json_string_length(name) > RECORD_NAME_MAX ||
            record_electorate_has(ret_electorate, text))
            return false;
        record_electorate_add(ret_electorate, text);
    }
    return true;
}

/* NULL: well; else the field that is not. */
static const char *read_fields(json_t *json, struct record_key *r)
{
    size_t mode = 0, phase = 0;
    json_t *open = json_object_get(json, "open");
    json_t *joint = json_object_get(json, "joint");
    const json_t *electorate = json_object_get(json, "electorate");
    const json_t *incarnation = json_object_get(json, "leader_incarnation");

    if (!read_term(json_object_get(json, "term"), &r->term))
        return "no term";
    if (!read_timeline(json_object_get(json, "timeline"), &r->timeline))
        return "malformed timeline";
    if (!read_name(json_object_get(json, "leader"), RECORD_NAME_MAX, &r->leader))
        return "malformed leader";
    if (incarnation && !read_incarnation(incarnation, &r->leader_incarnation))
        return "malformed leader_incarnation";
    if (!read_flag(json_object_get(json, "released"), &r->released))
        return "malformed released";
    if (!read_flag(json_object_get(json, "unfenced"), &r->unfenced))
        return "malformed unfenced";
    if (electorate && !read_electorate(electorate, &r->electorate))
        return "malformed electorate";
    if (!read_name(json_object_get(json, "challenger"), RECORD_NAME_MAX, &r->challenger))
        return "malformed challenger";
    if (r->challenger && !r->electorate.count)
        return "a challenger without an electorate";
    if (!read_flag(json_object_get(json, "deposed"), &r->deposed))
        return "malformed deposed";
    if (!read_word(json_object_get(json, "mode"), mode_texts, ARRAY_LEN(mode_texts), &mode))
        return "unknown mode";
    if (!read_word(json_object_get(json, "phase"), phase_texts, ARRAY_LEN(phase_texts), &phase))
        return "unknown phase";
    if (!read_name(json_object_get(json, "coordinator"), RECORD_COORDINATOR_MAX, &r->coordinator))
        return "malformed coordinator";
    if (!read_timeline(json_object_get(json, "leader_timeline"), &r->leader_timeline))
        return "malformed leader_timeline";
    if (open && !read_open(open, r))
        return "malformed open";
    if (joint && !read_cohort(joint, &r->joint))
        return "malformed joint";
    if (!read_lines(json_object_get(json, "lines"), r))
        return "malformed lines";
    r->mode = (enum record_mode)mode;
    r->phase = (enum record_phase)phase;
    r->joining = joint != NULL;
    return NULL;
}

enum record_result record_key_read(const char *value, size_t value_len, int64_t mod_revision,
                                   struct record_key *ret_record, const char **ret_why)
{
    struct record_key *r = ret_record;
    json_t *json =
        value_len <= RECORD_TEXT_MAX ? json_loadb(value ? value : "", value_len, JSON_REJECT_DUPLICATES, NULL) : NULL;

    *r = (struct record_key){0};
    const char *why = json_is_object(json) ? read_fields(json, r) : "not an object";
    int version = read_version(json);
    if (why) {
        record_key_deinit(r);
        json_decref(json);
        r->version = version > RECORD_VERSION ? version : RECORD_UNREADABLE;
        r->mod_revision = mod_revision;
        *ret_why = why;
        return RECORD_BAD;
    }
    r->present = true;
    r->version = version;
    r->json = json;
    r->mod_revision = mod_revision;
    return RECORD_OK;
}

/* ---- the whole ---- */

void record_key_deinit(struct record_key *r)
{
    free(r->leader);
    free(r->coordinator);
    free(r->open_leader);
    record_key_drop_electorate(r);
    record_cohort_deinit(&r->open);
    record_cohort_deinit(&r->joint);
    free(r->lines);
    json_decref(r->json);
    *r = (struct record_key){0};
}

void record_key_copy(const struct record_key *from, struct record_key *ret_copy)
{
    *ret_copy = *from;
    ret_copy->leader = str_dup(from->leader);
    ret_copy->coordinator = str_dup(from->coordinator);
    ret_copy->open_leader = str_dup(from->open_leader);
    record_cohort_copy(&from->open, &ret_copy->open);
    record_cohort_copy(&from->joint, &ret_copy->joint);
    record_electorate_copy(&from->electorate, &ret_copy->electorate);
    ret_copy->challenger = str_dup(from->challenger);
    ret_copy->lines = NULL;
    ret_copy->line_count = 0;
    for (size_t i = 0; i < from->line_count; i++)
        record_key_add_line(ret_copy, &from->lines[i]);
    ret_copy->json = json_deep_copy(from->json); /* of NULL: NULL */
}

bool record_key_is_opaque(const struct record_key *r)
{
    return r->version > RECORD_VERSION;
}

const char *record_key_why_opaque(const struct record_key *r, char ret_why[RECORD_WHY_MAX])
{
    CHECK(record_key_is_opaque(r));
    if (r->version == RECORD_UNREADABLE)
        str_copy(ret_why, RECORD_WHY_MAX, "cannot be read");
    else
        (void)snprintf(ret_why, RECORD_WHY_MAX, "is of version %d, this program knows %d", r->version, RECORD_VERSION);
    return ret_why;
}

/* ---- parts ---- */

void record_cohort_deinit(struct record_cohort *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->at[i].name);
    free(c->at);
    *c = (struct record_cohort){0};
}

void record_cohort_copy(const struct record_cohort *from, struct record_cohort *ret_copy)
{
    *ret_copy = (struct record_cohort){.k = from->k};
    for (size_t i = 0; i < from->count; i++)
        record_cohort_add(ret_copy, from->at[i].name, from->at[i].incarnation);
}

void record_cohort_add(struct record_cohort *c, const char *name, uint64_t incarnation)
{
    size_t at = 0;

    CHECK(c->count < RECORD_MEMBERS_MAX);
    CHECK(!record_cohort_find(c, name));
    while (at < c->count && strcmp(c->at[at].name, name) < 0)
        at++;
    c->at = mem_grow(c->at, c->count + 1, sizeof(*c->at));
    memmove(&c->at[at + 1], &c->at[at], (c->count - at) * sizeof(*c->at));
    c->at[at] = (struct record_member){.name = str_dup(name), .incarnation = incarnation};
    c->count++;
}

const struct record_member *record_cohort_find(const struct record_cohort *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (str_eq(c->at[i].name, name))
            return &c->at[i];
    return NULL;
}

void record_electorate_deinit(struct record_electorate *e)
{
    for (size_t i = 0; i < e->count; i++)
        free(e->names[i]);
    free(e->names);
    *e = (struct record_electorate){0};
}

void record_electorate_copy(const struct record_electorate *from, struct record_electorate *ret_copy)
{
    *ret_copy = (struct record_electorate){.lease_ms = from->lease_ms};
    for (size_t i = 0; i < from->count; i++)
        record_electorate_add(ret_copy, from->names[i]);
}

void record_electorate_add(struct record_electorate *e, const char *name)
{
    size_t at = 0;

    CHECK(e->count < RECORD_MEMBERS_MAX);
    CHECK(!record_electorate_has(e, name));
    while (at < e->count && strcmp(e->names[at], name) < 0)
        at++;
    e->names = mem_grow(e->names, e->count + 1, sizeof(*e->names));
    memmove(&e->names[at + 1], &e->names[at], (e->count - at) * sizeof(*e->names));
    e->names[at] = str_dup(name);
    e->count++;
}

bool record_electorate_has(const struct record_electorate *e, const char *name)
{
    for (size_t i = 0; i < e->count; i++)
        if (str_eq(e->names[i], name))
            return true;
    return false;
}

bool record_electorate_equal(const struct record_electorate *a, const struct record_electorate *b)
{
    if (a->count != b->count || a->lease_ms != b->lease_ms)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!str_eq(a->names[i], b->names[i]))
            return false;
    return true;
}

void record_key_drop_electorate(struct record_key *r)
{
    record_electorate_deinit(&r->electorate);
    free(r->challenger);
    r->challenger = NULL;
}

void record_key_add_line(struct record_key *r, const struct record_line *line)
{
    struct record_line newest = *line;

    if (r->line_count == RECORD_LINES_MAX) {
        memmove(&r->lines[0], &r->lines[1], (r->line_count - 1) * sizeof(*r->lines));
        r->line_count--;
    } else {
        r->lines = mem_grow(r->lines, r->line_count + 1, sizeof(*r->lines));
    }
    r->lines[r->line_count++] = newest;
}
