#include "wire/breach.h"

#include <string.h>

#include "base/check.h"
#include "base/str.h"

static const struct {
    const char *reason, *words;
} reasons[] = {
#define X(id, reason, words) [BREACH_##id] = {reason, words},
    BREACH_REASONS(X)
#undef X
};

const char *breach_reason_text(enum breach_reason r)
{
    CHECK(r < BREACH_REASON_COUNT);
    return reasons[r].reason;
}

const char *breach_words(enum breach_reason r)
{
    CHECK(r < BREACH_REASON_COUNT);
    return reasons[r].words;
}

static struct breach *find(const struct breaches *b, enum breach_reason reason, const char *text)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->at[i].reason == reason && str_eq(b->at[i].text, text))
            return (struct breach *)&b->at[i];
    return NULL;
}

void breaches_add(struct breaches *b, enum breach_reason reason, const char *text, int64_t count)
{
    char cut[BREACH_TEXT_MAX];

    CHECK(count > 0);
    str_copy(cut, sizeof(cut), text);
    struct breach *there = find(b, reason, cut);
    if (there) {
        there->count += count;
        return;
    }
    if (b->count == BREACH_MAX) {
        b->left_out++;
        return;
    }
    struct breach *one = &b->at[b->count++];
    *one = (struct breach){.reason = reason, .count = count};
    str_copy(one->text, sizeof(one->text), cut);
}

bool breaches_have(const struct breaches *b, const struct breach *one)
{
    return find(b, one->reason, one->text) != NULL;
}

bool breaches_equal(const struct breaches *a, const struct breaches *b)
{
    if (a->count != b->count || a->left_out != b->left_out)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!breaches_have(b, &a->at[i]))
            return false;
    return true;
}

size_t breaches_of(const struct breaches *b, enum breach_reason reason)
{
    size_t found = 0;

    for (size_t i = 0; i < b->count; i++)
        found += b->at[i].reason == reason;
    return found;
}

/* Names that PostgreSQL lets people choose need not be UTF-8, and a cut may have gone through a letter. */
static json_t *text_json(const char *text)
{
    json_t *value = json_string(text);
    char plain[BREACH_TEXT_MAX];

    if (value)
        return value;
    str_copy(plain, sizeof(plain), text);
    for (char *at = plain; *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    return json_string(plain);
}

json_t *breaches_json(const struct breaches *b)
{
    json_t *all = json_array();

    for (size_t i = 0; i < b->count; i++) {
        const struct breach *one = &b->at[i];
        json_t *o = json_object();
        (void)json_object_set_new(o, "reason", json_string(breach_reason_text(one->reason)));
        (void)json_object_set_new(o, "text", text_json(one->text));
        if (one->count != 1)
            (void)json_object_set_new(o, "count", json_integer((json_int_t)one->count));
        (void)json_array_append_new(all, o);
    }
    return all;
}
