/*
 * Make the data directory a copy of another member: create_replica_methods in order.
 *
 * "basebackup" is built in (pg_basebackup, WAL streamed along, two tries); any other name is a command of
 * the configuration with Patroni's arguments. The directory must be absent or empty (keep_data methods
 * excepted): moving an old one aside is the caller's decision, made with datadir.h before.
 * Marker DATADIR_MARK_CLONE stands from before the first byte until the copy has standby.signal, our configuration, an
 * incarnation of its own, and neither promote file nor override of synchronous_standby_names, fsynced; a crash in
 * between leaves DATADIR_HALF. Connections are made as application_name pgkeep_job, so that no clone ever counts as a
 * synchronous standby.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

struct loop;
struct pg_instance;
struct conf_freeze;

struct clone_source {
    const char *name; /* member name; NULL: none is reachable, only methods with no_leader are tried */
    const char *host;
    int port;
    const char *slot; /* a physical slot of ours on it, existing and inactive: WAL is kept from the start; NULL */
    const char *system_identifier; /* expected; NULL: not known. A mismatch refuses the copy before it starts */
};

struct clone_progress {
    const char *method;
    int64_t done_bytes, total_bytes; /* total 0: unknown */
    int attempt;                     /* 1, 2 */
};

struct clone_spec {
    struct pg_instance *instance;                     /* a reference is taken */
    struct clone_source source;                       /* copied */
    const char *primary_conninfo, *primary_slot_name; /* written into the copy's configuration; copied; may be NULL */
    const struct conf_freeze *freeze; /* looked at when the files are written, at the end; borrowed; may be NULL */
    bool *leftovers_ours; /* what lies under the mark of a half clone is just that; kept up to date; may be NULL */
    void (*progress)(const struct clone_progress *p, void *arg); /* at most once a second; may be NULL */
};

/* err NULL: the copy is ready to start as a standby. method: which one did it. */
typedef void clone_fn(const char *method, const struct err *err, void *arg);
struct clone_job;

MUST_USE bool clone_start(struct loop *l, const struct clone_spec *spec, clone_fn *done, void *arg,
                          struct clone_job **ret_job, struct err *err);
/* Kills what runs; no callback; the marker stays. */
void clone_cancel(struct clone_job *j);

/* True if a configured method works without a source (no_leader). */
bool clone_works_alone(const struct pg_instance *i);

/* Pure: a progress line of pg_basebackup ("  12345/67890 kB (18%), 0/1 tablespace"). false: another line. */
bool clone_parse_progress(const char *line, int64_t *ret_done_bytes, int64_t *ret_total_bytes);
