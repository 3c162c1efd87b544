/*
 * The dynamic configuration: the store's `config` key, typed, with defaults and Patroni's rules.
 *
 * Immutable snapshot, ref-counted. Where a key may stand in the local file too (postgresql.pg_hba,
 * postgresql.parameters, …) the local value wins, except for what must be equal on all nodes
 * (postgresql.use_slots and the parameters of parameters.h), which only the dynamic configuration sets.
 */
#pragma once

#include "wire/conf/settings.h"

enum sync_mode { SYNC_MODE_OFF, SYNC_MODE_ON, SYNC_MODE_QUORUM };
enum failover_profile { PROFILE_DEFAULT, PROFILE_FAST, PROFILE_WAN };

struct dynamic {
    unsigned int refs;
    msec ttl_ms, loop_wait_ms, retry_timeout_ms;
    int64_t maximum_lag_on_failover;
    int64_t maximum_lag_on_syncnode;
    msec primary_race_backoff_ms;
    bool check_timeline;
    int max_timelines_history;
    msec primary_start_timeout_ms;
    msec primary_stop_timeout_ms; /* 0: no limit of its own */
    bool pause, failsafe_mode;
    enum sync_mode synchronous_mode;
    bool synchronous_mode_strict;
    int synchronous_node_count;
    enum failover_profile failover_profile;
    bool peer_lease;
    msec member_slots_ttl_ms;
    /*
     * Permanent slots, NULL: none. {name: {"type": "physical" | "logical", …}}, `type` always there.
     * Logical ones are listed so that nobody drops them; slots for standby clusters are left out.
     */
    json_t *slots;
    json_t *ignore_slots;    /* list; NULL */
    json_t *standby_cluster; /* NULL: this is none */

    /* postgresql.*, merged with the local section */
    bool use_slots, use_pg_rewind;
    bool remove_data_directory_on_rewind_failure, remove_data_directory_on_diverged_timelines;
    json_t *parameters;              /* {name: scalar}: merged; shared ones always there, as texts; never NULL */
    json_t *pg_hba, *pg_ident;       /* lists of lines; NULL: not given */
    json_t *recovery_conf;           /* object; NULL */
    json_t *rewind_options;          /* postgresql.rewind: list; NULL */
    json_t *create_replica_methods;  /* list of names; NULL: basebackup */
    json_t *callbacks;               /* {on_start: command, …}; NULL */
    char *pre_promote, *before_stop; /* NULL: none */
    char *bin_dir, *custom_conf;     /* NULL: not given */
    json_t *bin_name;                /* {postgres: "…"}; NULL */
    int pg_ctl_timeout_s;
    bool use_unix_socket, use_unix_socket_repl;
    json_t *postgresql; /* the merged section as a whole (method sections, basebackup options); never NULL */

    json_t *json; /* the key as it is in the store (may be an empty object) */
};

/*
 * Type `config` (NULL: all defaults). Findings name the key; a value that is wrong falls back to its
 * default with an error finding (the cluster goes on). Timings that break
 * loop_wait + 2*retry_timeout <= ttl are cut as Patroni does (first loop_wait, then retry_timeout)
 * with a warning that shows the numbers. `local` may be NULL (the command line has none). Never NULL.
 *
 * What promises safety and is not built (synchronous_mode, standby_cluster) gets an error finding and
 * is typed as it was asked for: the caller must not act as if the promise had not been given.
 */
struct dynamic *dynamic_read(const json_t *config, const struct settings *local, struct findings *findings);

/*
 * The `config` value to write when a cluster is bootstrapped from bootstrap.dcs (new reference).
 */
json_t *dynamic_seed(const struct settings *local);

struct dynamic *dynamic_ref(struct dynamic *d);
void dynamic_unref(struct dynamic *d);
AUTO_DEFINE(dynamic, struct dynamic, dynamic_unref)

/*
 * The key whose promise of safety is asked for and cannot be kept yet ("synchronous_mode"); NULL: none.
 * While there is one, this program must not become or stay primary in this cluster.
 */
const char *dynamic_refused(const struct dynamic *d);

/* The effective value, as text, of a parameter that must be equal on all nodes (max_connections, …). */
const char *dynamic_shared_parameter(const struct dynamic *d, const char *name);
