/*
 * What breaks quorum mode's promise from inside: settings and connections that PostgreSQL lets its users make.
 *
 * A list of findings, as one node sees them, for the log, the member key, REST, metrics and the command line. The same
 * text is the same finding: only what is new, or gone, is told.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* reason: as metrics and REST say it; words: what comes of it, for people. */
#define BREACH_REASONS(X)                                                                           \
    X(COMMIT, "synchronous_commit", "commits are acknowledged that no standby has on disk")         \
    X(NAMES, "standby_names", "commits are acknowledged by another list than the cohort's")         \
    X(DURABILITY, "durability", "what is acknowledged here may not survive a crash of the machine") \
    X(OVERRIDE, "override", "overrides what is written for this node")                              \
    X(WALSENDER, "walsender", "would be counted as a member, and was ended")

enum breach_reason {
#define X(id, reason, words) BREACH_##id,
    BREACH_REASONS(X)
#undef X
        BREACH_REASON_COUNT
};

enum {
    BREACH_MAX = 16, /* more than anybody reads; what is left out is counted */
    BREACH_TEXT_MAX = 192,
};

struct breach {
    enum breach_reason reason;
    char text[BREACH_TEXT_MAX]; /* "ALTER ROLE app SET synchronous_commit = off"; UTF-8 or not, as names are */
    int64_t count;              /* how often it was seen, of a walsender; else 1 */
};

struct breaches {
    struct breach at[BREACH_MAX];
    size_t count, left_out;
};

const char *breach_reason_text(enum breach_reason r);
const char *breach_words(enum breach_reason r);

/* A text that is too long is cut; one that is there already adds to its count. */
void breaches_add(struct breaches *b, enum breach_reason reason, const char *text, int64_t count);
bool breaches_have(const struct breaches *b, const struct breach *one);
bool breaches_equal(const struct breaches *a, const struct breaches *b); /* apart from counts and order */
size_t breaches_of(const struct breaches *b, enum breach_reason reason);

/* [{"reason", "text", "count"}], the count where it is not 1; what is no UTF-8 shows as "?". New reference. */
json_t *breaches_json(const struct breaches *b);
