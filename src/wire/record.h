/*
 * The record: pgkeep's own key beside Patroni's, `pgkeep`. It says under which term who leads and, in quorum mode,
 * whose acknowledgements a commit needs.
 *
 *   {"version":2, "term":7, "leader":"n1", "leader_incarnation":"5f…", "timeline":4, "released":false, "unfenced":true,
 *    "mode":"quorum", "phase":"open", "coordinator":"n2#3",
 *    "open":{"k":1,"members":{"n2":"8c…","n3":"01…"}}, "joint":{…}, "lines":[[3,5,"0/3000110"],[4,7,"0/0"]]}
 *
 * In asynchronous mode, while a peer lease is in force (docs/async-lease.md): "electorate":{"lease_ms":4000,
 * "members":["n1","n2","n3"]}, and "challenger":"n2" once somebody asks the electors to let the leader go. A record
 * with an electorate is of version 3: who does not know what that means must not lead by it.
 *
 * It changes on transitions only, each of which compares the record's revision; that the leader lives is in the key
 * `pgkeep_beat`. Who changes it copies what was read and writes over that copy, so that fields that this program does
 * not know survive. A record of a higher version than RECORD_VERSION, or one that is malformed in any field that safety
 * rests on, is opaque: it is left alone, and who cannot read what it promises must not lead.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/time.h"
#include "wire/lsn.h"

enum {
    RECORD_VERSION = 3,           /* 2 where there is no electorate */
    RECORD_MEMBERS_MAX = 64,      /* of a cohort: as many as a view has room for */
    RECORD_NAME_MAX = 127,        /* bytes of a member's name: as many as a plan has room for */
    RECORD_COORDINATOR_MAX = 160, /* bytes: a name, "#" and a number */
    RECORD_LINES_MAX = 64,        /* kept of the newest: nobody comes back from further than that */
    RECORD_TEXT_MAX = 262144,     /* bytes of the value; two full cohorts of the longest names need half of it */
};

enum record_mode { RECORD_ASYNC, RECORD_PATRONI, RECORD_QUORUM };
/*
 * OPEN: the leader serves, and only `open` (and `joint`) acknowledges. TERM: a coordinator took the term and is
 * freezing. ELECTED: the leader is chosen and does not serve yet. A record of asynchronous mode has no phase and reads
 * as OPEN.
 */
enum record_phase { RECORD_OPEN, RECORD_TERM, RECORD_ELECTED };

struct record_member {
    char *name;
    uint64_t incarnation; /* which contents of the data directory; another after each clone and rewind */
};

/* The standbys whose acknowledgement counts, by name, and how many of them a commit needs. None: nobody's counts. */
struct record_cohort {
    struct record_member *at; /* sorted by name, each once */
    size_t count;
    int k; /* 1..count; 0 with count 0 */
};

/*
 * Whose grants the leader needs beside its lease in the store: of most of them. All zero: there is no peer lease. That
 * there is one says, too, that the leader's guard is armed.
 */
struct record_electorate {
    char **names; /* sorted, each once; the leader's among them */
    size_t count;
    msec lease_ms;
};

/* A timeline's number that was taken. */
struct record_line {
    uint32_t timeline;
    term term; /* by whom */
    lsn fork;  /* where it left the one before; 0: not known yet */
};

/* All that it points at is its own. All zero: no record, nothing to free. */
struct record_key {
    bool present;
    int version; /* 0: no record, RECORD_UNREADABLE: malformed; see record_key_is_opaque */
    enum record_mode mode;
    enum record_phase phase;
    term term;
    uint32_t timeline; /* the newest that a leader took for itself, used or not: no other may; 0: not told */
    char *leader;
    uint64_t leader_incarnation; /* 0: not told */
    uint32_t leader_timeline;    /* that it was elected to be primary on; 0: not told */
    char *coordinator;           /* "name#attempt" that allocated the term; NULL: the leader itself */
    bool released;               /* the holder let go of the leader key itself: nobody has to wait for its ttl */
    bool unfenced;               /* paused: nothing stops the holder's PostgreSQL when its lease ends */
    struct record_electorate electorate;
    char *challenger;          /* asks the electors to grant the leader nothing more; NULL: nobody does */
    bool deposed;              /* released, by the electors' word: the holder's peer lease is over */
    struct record_cohort open; /* last OPEN configuration; none in quorum mode: degraded, commits wait for nobody */
    char *open_leader;         /* who was OPEN with it, of which incarnation, under which term; NULL: nobody yet */
    uint64_t open_incarnation;
    term open_term;
    struct record_cohort joint; /* while joining: the one that it is to become, whose acknowledgement counts as well */
    bool joining;
    struct record_line *lines; /* newest last */
    size_t line_count;
    json_t *json; /* as read, for what is not above; NULL: not read */
    int64_t mod_revision;
};

enum record_result { RECORD_OK, RECORD_BAD };

/*
 * Read a value of the key. RECORD_BAD: it is no record, *ret_why says why; ret_record then has mod_revision and a
 * version that makes it opaque.
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

/* There is something, and what it promises is not known here. */
bool record_key_is_opaque(const struct record_key *r);
/* Why, after "the record in the store …". */
enum { RECORD_WHY_MAX = 80 };
const char *record_key_why_opaque(const struct record_key *r, char ret_why[RECORD_WHY_MAX]);

/* The value to write; free() it. Over ->json, so that unknown fields stay. Not of an opaque one. */
char *record_key_text(const struct record_key *r);

/* ---- parts ---- */

void record_cohort_deinit(struct record_cohort *c);
static inline UNUSED void record_cohort_freep(struct record_cohort *c)
{
    record_cohort_deinit(c);
}
/* Deep; *ret_copy is overwritten as it is. */
void record_cohort_copy(const struct record_cohort *from, struct record_cohort *ret_copy);
/* A member that is not in it, at its place. At most RECORD_MEMBERS_MAX. k is the caller's to set. */
void record_cohort_add(struct record_cohort *c, const char *name, uint64_t incarnation);
/* NULL: it is not in it. */
const struct record_member *record_cohort_find(const struct record_cohort *c, const char *name);

void record_electorate_deinit(struct record_electorate *e);
static inline UNUSED void record_electorate_freep(struct record_electorate *e)
{
    record_electorate_deinit(e);
}
/* Deep; *ret_copy is overwritten as it is. */
void record_electorate_copy(const struct record_electorate *from, struct record_electorate *ret_copy);
/* A name that is not in it, at its place. At most RECORD_MEMBERS_MAX. */
void record_electorate_add(struct record_electorate *e, const char *name);
bool record_electorate_has(const struct record_electorate *e, const char *name);
bool record_electorate_equal(const struct record_electorate *a, const struct record_electorate *b);
/* No peer lease, and nobody who asks for its end. */
void record_key_drop_electorate(struct record_key *r);

/* The newest; the oldest goes where there is no room. */
void record_key_add_line(struct record_key *r, const struct record_line *line);

/* "quorum", "open"; as in JSON. */
const char *record_mode_text(enum record_mode mode);
const char *record_phase_text(enum record_phase phase);
