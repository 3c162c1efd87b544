/*
 * The cluster as the store holds it: Patroni's keys and their JSON, read and written.
 *
 * Keys are relative to "/<namespace>/<scope>/". Reading is tolerant (unknown fields ignored, a bad
 * value of one key is noted and that key counts as absent), writing is exact: JSON without spaces,
 * field names and number formats of Patroni 4, so that both programs can be members of one cluster.
 * Everything here is plain data: a `struct cluster` owns all it points at (JSON values may be shared with another
 * reading of the same keys) and is freed as a whole.
 */
#pragma once

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/time.h"
#include "wire/lsn.h"
#include "wire/record.h"

#define CLUSTER_VERSION_TOLD "4.0.0" /* what members read from `version`: they compare it with 2.1.0 and 4.0.0 */

/* One key as the store returned it. */
struct cluster_key {
    const char *name; /* relative: "leader", "members/n1" */
    const char *value;
    size_t value_len;
    int64_t mod_revision;
    int64_t lease;   /* 0: none */
    json_t **parsed; /* NULL, or the caller's place for the value as JSON: what is found there is not read again */
};

/* Tags of a member. Absent numbers hold the defaults. */
struct member_tags {
    bool nofailover;
    bool noloadbalance;
    bool clonefrom;
    bool nosync;
    bool nostream;
    int failover_priority; /* default 1; 0 (and nofailover) = never */
    int sync_priority;     /* default 1 */
    char *replicatefrom;   /* NULL: none */
    json_t *all;           /* as written, custom tags included; NULL: none */
};

/* members/<name> */
struct member {
    char *name;
    char *conn_url; /* postgres://host:port/postgres */
    char *api_url;  /* http://host:port/patroni */
    char *state;    /* Patroni's state string: "running", "creating replica", … */
    char *role;     /* primary, standby_leader, replica, demoted, promoted, uninitialized; "master" reads as primary */
    char *version;
    char *replication_state; /* "streaming", "in archive recovery"; NULL */
    char *proxy_url;
    struct member_tags tags;
    lsn xlog_location; /* 0: not published */
    lsn receive_lsn;
    lsn replay_lsn;
    uint32_t timeline;                     /* 0: not published */
    bool checkpoint_after_promote_pending; /* "checkpoint_after_promote": false is in the key */
    bool pending_restart;
    json_t *pending_restart_reason; /* {param:{old_value,new_value}}; NULL */
    json_t *scheduled_restart;      /* {schedule, …}; NULL */
    bool pause;                     /* has seen the pause */
    bool pgkeep;                    /* the member is ours: "pgkeep" object present */
    json_t *pgkeep_info;            /* our own fields: {"v":1,"clone":{"done":…,"total":…},"system_id":…}; NULL */
    json_t *json;                   /* the whole value */
    int64_t mod_revision;
    int64_t lease;
};

/* failover: {"leader","member","scheduled_at"}, or the legacy text "a:b" */
struct failover_key {
    bool present;               /* key exists and asks for something */
    char *leader;               /* set: a switchover away from it */
    char *candidate;            /* NULL: the best */
    char *scheduled_at;         /* ISO 8601; NULL: now */
    int64_t scheduled_epoch_ms; /* wall clock; 0: now */
    int64_t mod_revision;
};

/* sync: {"leader","quorum","sync_standby"} */
struct sync_key {
    bool present;
    char *leader;
    char *sync_standby; /* comma separated; NULL: none */
    int quorum;
    int64_t mod_revision;
};

/* status: {"optime","slots","retain_slots"} */
struct status_key {
    lsn optime;           /* 0: never written */
    json_t *slots;        /* {slot: lsn}; NULL */
    json_t *retain_slots; /* [slot]; NULL */
    int64_t mod_revision;
};

struct cluster {
    atomic_uint refs;
    char *initialize; /* system identifier; "" while a bootstrap runs; NULL: absent */
    int64_t initialize_revision;
    int64_t initialize_lease; /* pgkeep hangs the claim of a bootstrap on the claimant's lease; 0: none */
    char *leader;             /* NULL: no leader key */
    int64_t leader_revision;
    int64_t leader_lease;
    struct member *members; /* sorted by name */
    size_t member_count;
    json_t *config; /* object; NULL: absent */
    int64_t config_revision;
    struct status_key status;
    struct failover_key failover;
    struct sync_key sync;
    struct record_key record; /* pgkeep: our own record */
    int64_t beat_revision;    /* of pgkeep_beat, which the leader writes with every renewal; 0: never */
    json_t *history;          /* [[tli, lsn, reason, timestamp, leader]]; NULL: absent */
    int64_t history_revision;
    json_t *failsafe; /* {name: api_url}; NULL: absent */
    int64_t failsafe_revision;
    json_t *failovers; /* {term: {node: part}}, what wire/report.h reads; NULL: none */
    int64_t revision;  /* store revision of this reading */
    char *bad;         /* first key that could not be read, with the reason; NULL: all well */
};

/* Build a cluster out of keys. Never fails: what is malformed is absent and named in ->bad. */
struct cluster *cluster_read(const struct cluster_key *keys, size_t key_count, int64_t revision);
void cluster_free(struct cluster *c); /* by who alone has it */
AUTO_DEFINE(cluster, struct cluster, cluster_free)

/* One that is not changed any more may be shared, between threads as well: jansson counts with atomics. */
struct cluster *cluster_ref(struct cluster *c);
void cluster_unref(struct cluster *c);

const struct member *cluster_member(const struct cluster *c, const char *name);

/*
 * Why a standby of this name cannot be named in synchronous_standby_names; NULL: it can. PostgreSQL compares the
 * application_name, of which it keeps 63 bytes (NAMEDATALEN - 1) and writes anything else for what is not printable
 * ASCII (pg_clean_ascii); "*" stands for everybody. Completes "the name …".
 */
const char *member_name_why_not_counted(const char *name);
/* One that has a meaning of its own: no member may have it. */
bool member_name_is_reserved(const char *name);
/* The member that owns the leader key, if its key exists. */
const struct member *cluster_leader_member(const struct cluster *c);

/* Read a member's value by itself (REST answers have another shape; this is the store's). NULL: malformed. */
struct member *member_read(const char *name, const char *value, size_t value_len);
/* The same of a value that has been parsed; json NULL is fine, and malformed. */
struct member *member_of_json(const char *name, json_t *json);
void member_free(struct member *m);
AUTO_DEFINE(member, struct member, member_free)

/* Read tags out of a JSON object (NULL is fine). Conflicting pairs: the `no…` form wins. */
void member_tags_read(json_t *tags, struct member_tags *ret_tags);
void member_tags_deinit(struct member_tags *tags);

/* Values to write; free() them. NULL arguments leave their field out, as Patroni does. */
char *failover_key_text(const char *leader, const char *candidate, const char *scheduled_at);
char *status_key_text(lsn optime, const json_t *slots, const json_t *retain_slots);
char *sync_key_text(const char *leader, int quorum, const char *sync_standby);

/* Patroni's slot name for a member: lower case, other characters mangled, 63 bytes. free() it. */
char *slot_name_from_member(const char *member);

/* Host and port of a URL such as conn_url or api_url; IPv6 in brackets. false: malformed. */
MUST_USE bool url_host_port(const char *url, char **ret_host, int *ret_port);

/*
 * RFC 7396 merge: null deletes. Takes over target (changed in place or released; may be NULL); the result is a new
 * reference.
 */
json_t *json_merge_patch(json_t *take_target, const json_t *patch);

/* Free an array of members with all they point at (cluster_free does). */
void cluster_members_free(struct member *members, size_t count);
