#include "wire/peer.h"

#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

enum {
    LENGTH_BYTES = 4,
    FIELD_HEAD = 4, /* tag, length */
    HEARD_TAG = 30,
    HEARD_TAIL = 4 + 8 + 8, /* of an entry: age, boot, told */
    HEARD_ENTRY = 1 + 1 + PEER_NAME_MAX - 1 + HEARD_TAIL,
};

enum kind { KIND_BOOL, KIND_NUMBER, KIND_TEXT, KIND_FREEZE, KIND_PROCESS };

static const struct field {
    uint16_t tag;
    enum kind kind;
    uint16_t offset, size;
} fields[] = {
#define FIELD(tag, kind, member)                                                                 \
    {                                                                                            \
        tag, kind, offsetof(struct peer_state, member), sizeof(((struct peer_state *)0)->member) \
    }
    FIELD(1, KIND_TEXT, name),
    FIELD(2, KIND_NUMBER, boot),
    FIELD(3, KIND_NUMBER, seq),
    FIELD(4, KIND_BOOL, ending),
    FIELD(5, KIND_NUMBER, promised),
    FIELD(6, KIND_TEXT, coordinator),
    FIELD(7, KIND_NUMBER, calls),
    FIELD(8, KIND_NUMBER, record_term),
    FIELD(9, KIND_NUMBER, record_revision),
    FIELD(10, KIND_NUMBER, incarnation),
    FIELD(11, KIND_NUMBER, system_id),
    FIELD(12, KIND_FREEZE, freeze),
    FIELD(13, KIND_NUMBER, frozen_term),
    FIELD(14, KIND_NUMBER, timeline),
    FIELD(15, KIND_NUMBER, position),
    FIELD(16, KIND_NUMBER, replayed),
    FIELD(17, KIND_PROCESS, process),
    FIELD(18, KIND_BOOL, accepting),
    FIELD(19, KIND_BOOL, in_recovery),
    FIELD(20, KIND_BOOL, primary),
    FIELD(21, KIND_BOOL, serving),
    FIELD(22, KIND_NUMBER, sick),
    FIELD(23, KIND_NUMBER, failover_priority),
    FIELD(24, KIND_NUMBER, sync_priority),
    FIELD(25, KIND_TEXT, upstream),
    FIELD(26, KIND_NUMBER, upstream_term),
    FIELD(27, KIND_NUMBER, wal_age_ms),
    FIELD(28, KIND_BOOL, planned),
    FIELD(29, KIND_BOOL, wants_out),
    FIELD(31, KIND_BOOL, unfit), /* 30 is HEARD_TAG */
    FIELD(32, KIND_NUMBER, beat_ms),
    FIELD(33, KIND_NUMBER, store),
    FIELD(34, KIND_NUMBER, told_ms),
    FIELD(35, KIND_TEXT, grants),
    FIELD(36, KIND_NUMBER, free_of),
    FIELD(37, KIND_BOOL, elector),
#undef FIELD
};

_Static_assert(LENGTH_BYTES + 2 + ARRAY_LEN(fields) * (FIELD_HEAD + 8) + 4 * (PEER_NAME_MAX + 16) + FIELD_HEAD +
                       PEER_HEARD_MAX * HEARD_ENTRY <=
                   PEER_STATE_MAX,
               "the longest message fits");
_Static_assert(HEARD_ENTRY <= UINT8_MAX + 1, "an entry's length is one byte");
_Static_assert(PEER_HEARD_MAX *HEARD_ENTRY <= UINT16_MAX, "all entries are one field");

const char *peer_sick_text(uint32_t sick)
{
    if (sick & PEER_SICK_HALTED)
        return "is stopped by a signal";
    if (sick & PEER_SICK_DISK)
        return "waits for its disk";
    if (sick & PEER_SICK_PROBE)
        return "does not answer";
    if (sick & PEER_SICK_CONNECT)
        return "takes no connections";
    return "is well";
}

void peer_state_init(struct peer_state *s)
{
    memset(s, 0, offsetof(struct peer_state, heard));
    s->failover_priority = s->sync_priority = 1;
    s->wal_age_ms = UINT32_MAX;
}

void peer_state_copy(struct peer_state *to, const struct peer_state *from)
{
    CHECK(from->heard_count <= PEER_HEARD_MAX);
    memcpy(to, from, offsetof(struct peer_state, heard) + from->heard_count * sizeof(*from->heard));
}

static bool promise_is_news(const struct peer_state *a, const struct peer_state *b)
{
    return a->promised != b->promised || !str_eq(a->coordinator, b->coordinator) || a->calls != b->calls ||
           a->record_term != b->record_term || a->record_revision != b->record_revision || a->store != b->store;
}

static bool freeze_is_news(const struct peer_state *a, const struct peer_state *b)
{
    if (a->freeze != b->freeze || a->frozen_term != b->frozen_term)
        return true;
    return b->freeze != PEER_FREEZE_NONE && (a->position != b->position || a->timeline != b->timeline);
}

static bool server_is_news(const struct peer_state *a, const struct peer_state *b)
{
    return a->incarnation != b->incarnation || a->system_id != b->system_id || a->process != b->process ||
           a->accepting != b->accepting || a->in_recovery != b->in_recovery || a->primary != b->primary ||
           a->serving != b->serving || a->timeline != b->timeline || a->sick != b->sick ||
           !str_eq(a->upstream, b->upstream) || a->upstream_term != b->upstream_term;
}

bool peer_state_is_news(const struct peer_state *before, const struct peer_state *now)
{
    return before->boot != now->boot || before->ending != now->ending || before->planned != now->planned ||
           before->wants_out != now->wants_out || before->unfit != now->unfit || before->beat_ms != now->beat_ms ||
           promise_is_news(before, now) || freeze_is_news(before, now) || server_is_news(before, now) ||
           before->failover_priority != now->failover_priority || before->sync_priority != now->sync_priority ||
           !str_eq(before->grants, now->grants) || before->free_of != now->free_of || before->elector != now->elector;
}

/* ---- writing ---- */

struct writer {
    unsigned char *at;
    size_t len;
};

static void put_number(struct writer *w, size_t bytes, uint64_t value)
{
    CHECK(w->len + bytes <= PEER_STATE_MAX);
    for (size_t i = 0; i < bytes; i++)
        w->at[w->len + i] = (unsigned char)(value >> 8 * (bytes - 1 - i));
    w->len += bytes;
}

static void put_bytes(struct writer *w, const char *bytes, size_t len)
{
    CHECK(w->len + len <= PEER_STATE_MAX);
    memcpy(w->at + w->len, bytes, len);
    w->len += len;
}

static size_t text_len(const char *text, size_t cap)
{
    size_t len = strnlen(text, cap);

    CHECK(len < cap);
    return len;
}

/* Numbers of any width, bools and enums as the compiler lays them out. */
static uint64_t get_member(const struct peer_state *s, const struct field *f)
{
    const char *at = (const char *)s + f->offset;

    switch (f->kind) {
    case KIND_BOOL:
        return *(const bool *)(const void *)at;
    case KIND_FREEZE:
        return s->freeze;
    case KIND_PROCESS:
        return s->process;
    case KIND_NUMBER:
        switch (f->size) {
        case 2:
            return *(const uint16_t *)(const void *)at;
        case 4:
            return *(const uint32_t *)(const void *)at;
        default:
            CHECK(f->size == 8);
            return *(const uint64_t *)(const void *)at;
        }
    case KIND_TEXT:
        break;
    }
    UNREACHABLE();
}

static void put_field(struct writer *w, const struct peer_state *s, const struct field *f)
{
    const char *text = (const char *)s + f->offset;
    size_t bytes = f->kind == KIND_NUMBER ? f->size : 1;

    put_number(w, 2, f->tag);
    if (f->kind == KIND_TEXT) {
        bytes = text_len(text, f->size);
        put_number(w, 2, bytes);
        put_bytes(w, text, bytes);
        return;
    }
    put_number(w, 2, bytes);
    put_number(w, bytes, get_member(s, f));
}

static void put_heard(struct writer *w, const struct peer_state *s)
{
    size_t total = 0;

    CHECK(s->heard_count <= PEER_HEARD_MAX);
    for (size_t i = 0; i < s->heard_count; i++)
        total += 1 + 1 + text_len(s->heard[i].name, PEER_NAME_MAX) + HEARD_TAIL;
    put_number(w, 2, HEARD_TAG);
    put_number(w, 2, total);
    for (size_t i = 0; i < s->heard_count; i++) {
        size_t len = text_len(s->heard[i].name, PEER_NAME_MAX);

        put_number(w, 1, 1 + len + HEARD_TAIL);
        put_number(w, 1, len);
        put_bytes(w, s->heard[i].name, len);
        put_number(w, 4, s->heard[i].age_ms);
        put_number(w, 8, s->heard[i].boot);
        put_number(w, 8, s->heard[i].told_ms);
    }
}

size_t peer_encode(const struct peer_state *s, unsigned char ret_bytes[PEER_STATE_MAX])
{
    struct writer w = {ret_bytes, LENGTH_BYTES};

    put_number(&w, 1, PEER_VERSION);
    put_number(&w, 1, PEER_VERSION_OLDEST);
    for (size_t i = 0; i < HEARD_TAG - 1; i++)
        put_field(&w, s, &fields[i]);
    put_heard(&w, s);
    for (size_t i = HEARD_TAG - 1; i < ARRAY_LEN(fields); i++)
        put_field(&w, s, &fields[i]);

    struct writer length = {ret_bytes, 0};
    put_number(&length, LENGTH_BYTES, w.len - LENGTH_BYTES);
    return w.len;
}

/* ---- reading ---- */

static bool set_number(char *at, size_t size, struct span value)
{
    uint64_t number;

    if (value.len != size || !span_take_number(&value, size, &number))
        return false;
    switch (size) {
    case 2:
        *(uint16_t *)(void *)at = (uint16_t)number;
        return true;
    case 4:
        *(uint32_t *)(void *)at = (uint32_t)number;
        return true;
    default:
        CHECK(size == 8);
        *(uint64_t *)(void *)at = number;
        return true;
    }
}

static bool set_field(struct peer_state *s, const struct field *f, struct span value)
{
    char *at = (char *)s + f->offset;
    uint64_t small;

    if (f->kind == KIND_TEXT)
        return span_text(value, at, f->size);
    if (f->kind == KIND_NUMBER)
        return set_number(at, f->size, value);
    if (value.len != 1 || !span_take_number(&value, 1, &small))
        return false;
    if (f->kind == KIND_FREEZE)
        s->freeze = small <= PEER_FREEZE_STOPPED ? (enum peer_freeze)small : PEER_FREEZE_NONE;
    else if (f->kind == KIND_PROCESS)
        s->process = small <= PEER_PROC_ORPHANS ? (enum peer_process)small : PEER_PROC_UNKNOWN;
    else if (small > 1)
        return false;
    else
        *(bool *)(void *)at = small != 0;
    return true;
}

/* Of more than we have room for the first ones are kept. */
static bool set_heard(struct peer_state *s, struct span value)
{
    while (value.len) {
        struct peer_heard heard = {.boot = 0};
        struct span entry;
        struct span name;
        uint64_t len;
        uint64_t age_ms;

        if (!span_take_number(&value, 1, &len) || !span_take(&value, len, &entry) ||
            !span_take_number(&entry, 1, &len) || !span_take(&entry, len, &name) ||
            !span_take_number(&entry, 4, &age_ms) || !name.len || !span_text(name, heard.name, sizeof(heard.name)))
            return false;
        bool told = span_take_number(&entry, 8, &heard.boot) && span_take_number(&entry, 8, &heard.told_ms);
        if (!told) /* by one that knew nothing of it yet */
            heard.boot = heard.told_ms = 0;
        heard.age_ms = (uint32_t)age_ms;
        if (s->heard_count < PEER_HEARD_MAX)
            s->heard[s->heard_count++] = heard;
    }
    return true;
}

static const struct field *field_of(uint64_t tag)
{
    size_t i = tag > HEARD_TAG ? tag - 2 : tag - 1;

    return tag >= 1 && tag != HEARD_TAG && i < ARRAY_LEN(fields) ? &fields[i] : NULL;
}

static bool read_fields(struct span in, struct peer_state *s)
{
    uint64_t before = 0;

    while (in.len) {
        struct span value;
        uint64_t tag;
        uint64_t len;

        if (!span_take_number(&in, 2, &tag) || !span_take_number(&in, 2, &len) || !span_take(&in, len, &value) ||
            tag <= before)
            return false;
        before = tag;
        const struct field *f = field_of(tag);
        CHECK(!f || f->tag == tag);
        if (tag == HEARD_TAG ? !set_heard(s, value) : f && !set_field(s, f, value))
            return false;
    }
    return s->name[0] != '\0';
}

enum peer_result peer_decode(struct span *in, struct peer_state *ret_state)
{
    struct span rest = *in;
    struct span body;
    struct peer_state s;
    uint64_t len;
    uint64_t version;
    uint64_t oldest;

    if (!span_take_number(&rest, LENGTH_BYTES, &len))
        return PEER_MORE;
    if (len > PEER_STATE_MAX - LENGTH_BYTES)
        return PEER_BAD;
    if (!span_take(&rest, len, &body))
        return PEER_MORE;
    if (!span_take_number(&body, 1, &version) || !span_take_number(&body, 1, &oldest) || oldest > PEER_VERSION)
        return PEER_BAD;

    peer_state_init(&s);
    if (!read_fields(body, &s))
        return PEER_BAD;
    peer_state_copy(ret_state, &s);
    *in = rest;
    return PEER_OK;
}
