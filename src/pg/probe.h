/*
 * The probe: what our PostgreSQL says about itself, in one query on a connection kept open.
 *
 * Asks only when told to (the agent's loop decides when). An answer is a `struct pg_facts` with the moment
 * the question was sent, from which its age counts. A server that hangs is a fact too: probe_silent_since
 * tells since when no answer came. Works on 14 to 18; needs the superuser or pg_monitor.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"
#include "pg/sql.h"
#include "wire/lsn.h"

struct loop;

struct pg_walsender { /* pg_stat_replication, physical and logical */
    int pid;
    int64_t started_us;                             /* wall clock; tells it from a later one with the same pid */
    bool physical;                                  /* holds a physical slot, or none and is connected to no database */
    char *usename, *application_name, *client_addr; /* client_addr NULL: Unix socket */
    char *state;                                    /* startup, catchup, streaming, backup, stopping */
    char *sync_state;                               /* async, potential, sync, quorum */
    int sync_priority;
    lsn sent, write, flush, replay; /* 0: NULL */
    char *slot_name;                /* the slot it holds; NULL: none */
};

struct pg_slot { /* pg_replication_slots, temporary ones left out */
    char *name;
    bool physical;
    char *plugin, *database; /* logical; NULL otherwise */
    bool active;
    int active_pid;              /* 0: none */
    lsn restart_lsn;             /* 0: nothing reserved */
    lsn confirmed_flush;         /* logical; 0 otherwise */
    char *wal_status;            /* reserved, extended, unreserved, lost; NULL: nothing reserved */
    int64_t safe_wal_size;       /* bytes; -1: no limit */
    uint32_t xmin, catalog_xmin; /* 0: none */
    int64_t held;                /* transactions since the older of the two: vacuum leaves their dead rows; 0 */
    bool failover, synced;       /* >= 17 */
    bool two_phase;
    char *invalidation_reason; /* >= 17; NULL */
};

struct pg_pending { /* a parameter that waits for a restart */
    char *name;
    char *old_value; /* running, as SHOW prints it */
    char *new_value; /* in the configuration; NULL: removed from it */
};

struct pg_facts {
    msec asked_ms, answered_ms; /* CLOCK_BOOTTIME */
    int server_version;
    bool in_recovery;
    uint32_t timeline; /* primary: of its WAL; standby: received_tli, else of replay (probe_set_replication), else 0 */
    uint32_t checkpoint_tli; /* pg_control_checkpoint(): may lag behind after a promotion */
    lsn checkpoint_lsn, checkpoint_redo;
    char system_identifier[24];
    lsn current;       /* primary: pg_current_wal_lsn(): written; 0 on a standby */
    lsn current_flush; /* primary: pg_current_wal_flush_lsn() */
    lsn receive,
        replay; /* standby; 0: NULL. receive restarts at a segment's begin after a restart: use max(receive, replay) */
    lsn position; /* primary: current; standby: max(receive, replay) */
    bool replay_paused;
    int64_t replay_epoch_us;     /* wall clock of the last replayed transaction; 0: none */
    char *replay_timestamp;      /* the same as Patroni shows it: "2026-11-24 08:45:35.123456+00:00"; NULL */
    char *postmaster_start_time; /* "2026-11-24 08:45:35.123456+00:00" */
    int64_t postmaster_start_us; /* wall clock */

    struct {
        bool present;
        int pid;
        char *status;                             /* "streaming", "waiting", … */
        char *slot_name, *sender_host, *conninfo; /* conninfo without secrets, as PostgreSQL shows it */
        int sender_port;
        uint32_t received_tli;
        lsn written, flushed, latest_end;
        int64_t last_msg_epoch_us; /* 0: none */
    } receiver;

    struct pg_walsender *senders;
    size_t sender_count;
    struct pg_slot *slots;
    size_t slot_count;
    struct pg_pending *pending; /* recovery parameters left out */
    size_t pending_count; /* with conf_error_count looked at after a reload and every 10th time, else carried over */

    char *synchronous_standby_names;
    char *primary_conninfo, *primary_slot_name; /* in force for new receivers */
    char *cluster_name;
    int64_t conf_load_us; /* pg_conf_load_time(), wall clock: moves on a reload, is no proof of its success */
    /* entries of the configuration files that the server refuses, those that wait for a restart apart */
    int conf_error_count;
    bool restart_after_crash;
    bool fsync; /* false: what is flushed here is not on the disk */
};

void pg_facts_free(struct pg_facts *f);
AUTO_DEFINE(pg_facts, struct pg_facts, pg_facts_free)

/* Streaming / in archive recovery / NULL, as Patroni's replication_state. */
const char *pg_facts_replication_state(const struct pg_facts *f);
/* Patroni's pending_restart_reason {name:{old_value,new_value}}; NULL when nothing is pending. New reference. */
json_t *pg_facts_pending_json(const struct pg_facts *f);

struct probe_answer {
    enum sql_status status;      /* SQL_DONE: facts are there */
    struct pg_facts *take_facts; /* the callback's to keep (pg_facts_free); NULL unless SQL_DONE, or if in brief */
    bool brief;                  /* what it was, primary or standby, it still is, and only the following is told */
    lsn receive, replay, current, current_flush; /* as in pg_facts */
    int64_t last_msg_epoch_us;                   /* as in pg_facts.receiver */
    msec asked_ms;
    struct err err;
};

typedef void probe_fn(const struct probe_answer *answer, void *arg);

struct probe;
struct probe *probe_new(struct loop *l, const struct sql_target *target, probe_fn *fn, void *arg);
void probe_free(struct probe *p);
AUTO_DEFINE(probe, struct probe, probe_free)

/*
 * A standby without a walreceiver does not say in SQL on which timeline it is (pg_control may be behind); the
 * replication protocol does. With a target for it (copied; NULL: none) the probe asks there in that case.
 */
void probe_set_replication(struct probe *p, const struct sql_target *target);

/* Ask; a question under way stands for this one too (fn runs once). */
void probe_ask(struct probe *p, msec budget_ms);
/*
 * The same for who asks often (the whole question costs milliseconds of CPU): while a standby or a primary
 * stays what it is the answer is in brief, otherwise whole.
 */
void probe_ask_in_brief(struct probe *p, msec budget_ms);
/*
 * The next question in brief has a primary write a WAL record of 64 bytes that means nothing: a sign of life for
 * standbys where nobody else writes. Walsenders say nothing by themselves: a keepalive comes only when it is asked for,
 * or after half of wal_sender_timeout without an answer, and proves neither that WAL can be written nor that it is.
 * The record is flushed by the walwriter, at the latest after wal_writer_delay. From 16 on it is a kind that neither
 * archive_timeout nor the checkpointer takes for work; before, an idle system with the sign makes a checkpoint every
 * checkpoint_timeout, and archives a segment (of zeroes, but for a few records) every archive_timeout.
 */
void probe_pulse(struct probe *p);
bool probe_asking(const struct probe *p);
/* Forget the connection: after a restart, or when the target changed (copied; NULL keeps it). */
void probe_reset(struct probe *p, const struct sql_target *target);
/* The sending time of the oldest question that has had no answer since the last one that had; MSEC_NEVER: none. */
msec probe_silent_since(const struct probe *p);
