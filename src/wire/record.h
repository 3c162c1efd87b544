/*
 * The record: pgkeep's own key beside Patroni's, `pgkeep`. It says under which term who leads.
 *
 * It changes on transitions only, each of which compares the record's revision; that the leader lives is in the key
 * `pgkeep_beat`. Who changes it copies what was read and writes over that copy, so that fields that this program does
 * not know survive. A record of a higher version than RECORD_VERSION is left alone: what it promises is not known
 * here, and who does not know that must not lead.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/time.h"

enum { RECORD_VERSION = 2 };

/* All that it points at is its own. All zero: no record, nothing to free. */
struct record_key {
    bool present;
    int version; /* 0: no record; a version that is no number counts as a higher one */
    term term;
    uint32_t timeline; /* the newest that a leader took for itself, used or not: no other may; 0: not told */
    char *leader;
    bool released; /* the holder let go of the leader key itself: nobody has to wait for its ttl */
    bool unfenced; /* paused: nothing stops the holder's PostgreSQL when its lease ends */
    json_t *json;  /* as read, for what is not above; NULL: not read */
    int64_t mod_revision;
};

enum record_result { RECORD_OK, RECORD_BAD };

/*
 * Read a value of the key. RECORD_BAD: it is no record, *ret_why says why; ret_record then has mod_revision and, where
 * that much could be read, version.
 */
enum record_result record_key_read(const char *value, size_t value_len, int64_t mod_revision,
                                   struct record_key *ret_record, const char **ret_why);
void record_key_deinit(struct record_key *r);
static inline UNUSED void record_key_freep(struct record_key *r)
{
    record_key_deinit(r);
}

/* Deep; *ret_copy is overwritten as it is, so deinit it before. */
void record_key_copy(const struct record_key *from, struct record_key *ret_copy);

/* Written by a newer pgkeep, whose rules are not known here. */
bool record_key_is_newer(const struct record_key *r);

/* The value to write; free() it. Over ->json, so that unknown fields stay. */
char *record_key_text(const struct record_key *r);
