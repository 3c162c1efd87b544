/*
 * Keys of the dynamic configuration (`config` in the store, first taken from bootstrap.dcs), but for
 * those of its postgresql section, which stand with the local ones.
 */
#include "wire/conf/keys.h"

#include "base/auto.h"

/* A year: nobody means more, and milliseconds of it are far from overflow. */
#define SECONDS_MAX (365 * 86400)

#define DYNAMIC(path_, type_, ...)                                      \
    {                                                                   \
        .path = path_, .type = type_, .scope = KEY_DYNAMIC, __VA_ARGS__ \
    }
#define BY_DYNAMIC(name) .test = "test/unit/conf/test_dynamic.c::" #name
#define BY_CLUSTER(file, name) .test = "test/cluster/test_" #file ".py::" #name

static const struct key rows[] = {
    DYNAMIC("ttl", KEY_INT, .min = 0, .max = SECONDS_MAX, .fallback = "30",
            BY_DYNAMIC(test_timings_below_the_floor_are_raised_with_a_warning),
            .meaning = "seconds the leader key lives without renewal; below 20 it is raised to 20"),
    DYNAMIC("loop_wait", KEY_INT, .min = 0, .max = SECONDS_MAX, .fallback = "10",
            BY_DYNAMIC(test_timings_below_the_floor_are_raised_with_a_warning),
            .meaning = "seconds between two looks at everything, if nothing wakes the agent before; at least 1"),
    DYNAMIC("retry_timeout", KEY_INT, .min = 0, .max = SECONDS_MAX, .fallback = "10",
            BY_DYNAMIC(test_timings_below_the_floor_are_raised_with_a_warning),
            .meaning = "seconds an operation on store or PostgreSQL is retried; at least 3"),
    DYNAMIC("maximum_lag_on_failover", KEY_INT, .min = 0, .fallback = "1048576", BY_DYNAMIC(test_dynamic_keys_are_read),
            .meaning = "bytes a candidate may be behind the last known position of the primary"),
    DYNAMIC("maximum_lag_on_syncnode", KEY_INT, .min = -1, .fallback = "-1",
            BY_CLUSTER(quorum, test_a_standby_that_lags_leaves_the_cohort),
            .meaning = "bytes a synchronous standby may be behind before it is exchanged; -1: any"),
    DYNAMIC("primary_race_backoff", KEY_INT, .min = 0, .max = SECONDS_MAX, .fallback = "0",
            BY_DYNAMIC(test_dynamic_keys_are_read),
            .meaning = "seconds a standby that still receives WAL waits before it runs for leader"),
    DYNAMIC("check_timeline", KEY_BOOL, .fallback = "off", BY_DYNAMIC(test_dynamic_keys_are_read),
            .meaning = "a candidate on an older timeline does not run"),
    DYNAMIC("max_timelines_history", KEY_INT, .min = 0, .max = INT32_MAX, .fallback = "0",
            BY_CLUSTER(config, test_history_has_no_more_lines_than_max_timelines_history),
            .meaning = "lines kept in the history key; 0: all"),
    DYNAMIC("primary_start_timeout", KEY_INT, .min = 0, .max = SECONDS_MAX, .fallback = "300",
            BY_DYNAMIC(test_dynamic_keys_are_read),
            .meaning = "seconds a crashed primary may take to restart before another takes over; 0: at once"),
    DYNAMIC("master_start_timeout", KEY_INT, .moved_to = "primary_start_timeout"),
    DYNAMIC("primary_stop_timeout", KEY_INT, .min = -1, .max = SECONDS_MAX, .fallback = "0",
            BY_CLUSTER(switchover, test_a_stop_that_does_not_end_is_forced_after_primary_stop_timeout),
            .meaning = "seconds the stop of a switchover may take before it is ended by force, which leaves the leader "
                       "where it was; 0: 60"),
    DYNAMIC("master_stop_timeout", KEY_INT, .moved_to = "primary_stop_timeout"),
    DYNAMIC("pause", KEY_BOOL, .fallback = "off", BY_DYNAMIC(test_dynamic_keys_are_read),
            .meaning = "no automatic action; what people ask for is done"),
    DYNAMIC("failsafe_mode", KEY_BOOL, .fallback = "off", BY_DYNAMIC(test_dynamic_keys_are_read),
            .meaning = "without the store, stay primary while all members agree"),

    DYNAMIC("synchronous_mode", KEY_ENUM, .values = "off/false/no/0|on/true/yes/1|quorum", .fallback = "off",
            BY_CLUSTER(quorum, test_the_host_of_the_leader_dies_and_nothing_is_lost),
            .meaning = "acknowledge commits only when standbys have them, and elect only such standbys"),
    DYNAMIC("synchronous_mode_strict", KEY_BOOL, .fallback = "off",
            BY_CLUSTER(quorum, test_strict_mode_blocks_without_a_standby),
            .meaning = "block writes rather than go on without a synchronous standby"),
    DYNAMIC("synchronous_node_count", KEY_INT, .min = 1, .max = INT32_MAX, .fallback = "1",
            BY_CLUSTER(quorum, test_two_of_two_have_to_acknowledge), .meaning = "number of synchronous standbys"),
    DYNAMIC("failover_profile", KEY_ENUM, .values = "default|fast|wan", .fallback = "default",
            BY_DYNAMIC(test_dynamic_keys_are_read),
            .meaning =
                "how quickly a failed leader is suspected in quorum mode (docs/quorum.md has the numbers); Patroni "
                "ignores it"),
    DYNAMIC("peer_lease", KEY_BOOL, .fallback = "on", BY_CLUSTER(async_lease, test_the_peer_lease_is_turned_off_and_on),
            .meaning =
                "without synchronous_mode: a leader whom most agents do not hear for seconds is stopped and "
                "replaced, where three or more agents are all pgkeep's (docs/async-lease.md); Patroni ignores it"),
    DYNAMIC("standby_cluster", KEY_SECTION, .state = KEY_REFUSED,
            .meaning = "the whole cluster follows another one and never writes"),
    DYNAMIC("standby_cluster.host", KEY_TEXT, .state = KEY_REFUSED, .meaning = "address of the other cluster"),
    DYNAMIC("standby_cluster.port", KEY_INT, .state = KEY_REFUSED, .min = 1, .max = UINT16_MAX, .meaning = "its port"),
    DYNAMIC("standby_cluster.primary_slot_name", KEY_TEXT, .state = KEY_REFUSED, .meaning = "slot used there"),
    DYNAMIC("standby_cluster.create_replica_methods", KEY_TEXT_LIST, .state = KEY_REFUSED,
            .meaning = "ways to clone from there"),
    DYNAMIC("standby_cluster.restore_command", KEY_TEXT, .state = KEY_REFUSED, .meaning = "fetches its WAL"),
    DYNAMIC("standby_cluster.archive_cleanup_command", KEY_TEXT, .state = KEY_REFUSED,
            .meaning = "removes WAL that is no longer needed"),
    DYNAMIC("standby_cluster.recovery_min_apply_delay", KEY_SCALAR, .state = KEY_REFUSED, .meaning = "replays later"),

    DYNAMIC("member_slots_ttl", KEY_DURATION, .min = 0, .max = SECONDS_MAX, .fallback = "30min",
            BY_DYNAMIC(test_dynamic_keys_are_read),
            .meaning = "how long the slot of a vanished member is kept; 0: not at all"),
    DYNAMIC("slots", KEY_SECTION, BY_DYNAMIC(test_slots_that_are_not_mappings_are_physical),
            .meaning = "permanent replication slots; kept and created"),
    DYNAMIC("slots.*", KEY_ANY, BY_DYNAMIC(test_slots_that_are_not_mappings_are_physical),
            .meaning = "a slot; a value that is no mapping means a physical one"),
    DYNAMIC("slots.*.type", KEY_ENUM, .values = "physical|logical", .fallback = "physical", .state = KEY_LATER,
            .harmless = "physical",
            .meaning = "physical is built; a logical slot is left alone, but not carried over a failover"),
    DYNAMIC("slots.*.database", KEY_TEXT, .state = KEY_LATER, .with = "slots.*.type",
            .meaning = "database of a logical slot"),
    DYNAMIC("slots.*.plugin", KEY_TEXT, .state = KEY_LATER, .with = "slots.*.type",
            .meaning = "output plugin of a logical slot"),
    DYNAMIC("slots.*.cluster_type", KEY_ENUM, .values = "primary|standby",
            BY_DYNAMIC(test_slots_of_standby_clusters_are_left_out),
            .meaning = "only in a primary cluster, or only in a standby cluster"),
    DYNAMIC("permanent_slots", KEY_SECTION, .moved_to = "slots"),
    DYNAMIC("permanent_replication_slots", KEY_SECTION, .moved_to = "slots"),
    DYNAMIC("ignore_slots", KEY_LIST, BY_DYNAMIC(test_dynamic_keys_are_read),
            .meaning = "slots that are never touched: those that match all properties of an item"),
    DYNAMIC("ignore_slots[]", KEY_SECTION, BY_DYNAMIC(test_dynamic_keys_are_read), .meaning = "one matcher"),
    DYNAMIC("ignore_slots[].name", KEY_TEXT, BY_DYNAMIC(test_dynamic_keys_are_read), .meaning = "name of the slot"),
    DYNAMIC("ignore_slots[].type", KEY_ENUM, .values = "physical|logical", BY_DYNAMIC(test_dynamic_keys_are_read),
            .meaning = "its type"),
    DYNAMIC("ignore_slots[].database", KEY_TEXT, BY_DYNAMIC(test_dynamic_keys_are_read), .meaning = "its database"),
    DYNAMIC("ignore_slots[].plugin", KEY_TEXT, BY_DYNAMIC(test_dynamic_keys_are_read), .meaning = "its output plugin"),
};

const struct key_table keys_dynamic = {rows, ARRAY_LEN(rows)};
