/*
 * Keys below postgresql. Most may stand in the dynamic configuration too; the local value wins.
 */
#include "wire/conf/keys.h"

#include "base/auto.h"

#define LOCAL(path_, type_, ...)                                                    \
    {                                                                               \
        .path = "postgresql." path_, .type = type_, .scope = KEY_LOCAL, __VA_ARGS__ \
    }
#define BOTH(path_, type_, ...)                                                    \
    {                                                                              \
        .path = "postgresql." path_, .type = type_, .scope = KEY_BOTH, __VA_ARGS__ \
    }
#define BY_SETTINGS(name) .test = "test/unit/conf/test_settings.c::" #name
#define BY_DYNAMIC(name) .test = "test/unit/conf/test_dynamic.c::" #name
#define BY_CLUSTER(file, name) .test = "test/cluster/test_" #file ".py::" #name

#define CONNECTION(user_, key_, type_, meaning_)                          \
    LOCAL("authentication." user_ "." key_, type_, .env = user_ "." key_, \
          BY_SETTINGS(test_every_connection_key_of_every_user_is_read), .meaning = meaning_)
#define TLS(user_, key_, meaning_)                                           \
    LOCAL("authentication." user_ "." key_, KEY_TEXT, .env = user_ "." key_, \
          BY_CLUSTER(tls, test_clone_stream_failover_and_rewind_over_tls_only), .meaning = meaning_)

/* One user and how connections as this user are made: the keys are libpq's. */
#define USER(user_, meaning_)                                                                                 \
    LOCAL("authentication." user_, KEY_SECTION, BY_SETTINGS(test_every_connection_key_of_every_user_is_read), \
          .meaning = meaning_),                                                                               \
        CONNECTION(user_, "username", KEY_TEXT, "name of the user"),                                          \
        CONNECTION(user_, "password", KEY_SECRET, "password; none: another way of authentication"),           \
        TLS(user_, "sslmode", "whether and how TLS is asked for (libpq)"),                                    \
        TLS(user_, "sslcert", "client certificate (libpq)"),                                                  \
        TLS(user_, "sslkey", "key of the client certificate (libpq)"),                                        \
        CONNECTION(user_, "sslpassword", KEY_SECRET, "password of that key (libpq)"),                         \
        TLS(user_, "sslrootcert", "authorities the server is verified with (libpq)"),                         \
        CONNECTION(user_, "sslcrl", KEY_TEXT, "revoked certificates (libpq)"),                                \
        CONNECTION(user_, "sslcrldir", KEY_TEXT, "folder of revoked certificates (libpq)"),                   \
        CONNECTION(user_, "gssencmode", KEY_TEXT, "encryption by GSSAPI (libpq)"),                            \
        TLS(user_, "channel_binding", "binding of SCRAM to the TLS connection (libpq)"),                      \
        CONNECTION(user_, "sslnegotiation", KEY_TEXT, "how TLS begins (libpq 17 and later)")

#define BIN_NAME(program_)                                                  \
    BOTH("bin_name." program_, KEY_TEXT, .env = "postgresql.bin." program_, \
         BY_DYNAMIC(test_local_and_dynamic_sections_merge), .meaning = "file name of " program_)

#define PER_ROLE(key_, type_, meaning_)                                                       \
    BOTH(key_ "_primary", type_, .state = KEY_LATER, .meaning = meaning_ " on the primary"),  \
        BOTH(key_ "_replica", type_, .state = KEY_LATER, .meaning = meaning_ " on replicas"), \
        BOTH(key_ "_standby_leader", type_, .state = KEY_LATER, .meaning = meaning_ " on a standby leader")

static const struct key rows[] = {
    {.path = "postgresql",
     .type = KEY_SECTION,
     .scope = KEY_BOTH,
     BY_SETTINGS(test_postgresql_keys_are_read),
     .meaning = "the PostgreSQL of this node"},
    LOCAL("listen", KEY_LISTEN, .env = "", BY_SETTINGS(test_postgresql_keys_are_read),
          .meaning = "listen_addresses and port; a change needs a restart of PostgreSQL"),
    LOCAL("connect_address", KEY_ADDRESS, .env = "", BY_SETTINGS(test_postgresql_keys_are_read),
          .meaning = "address others reach it under; the listen address if that is a single one"),
    LOCAL("proxy_address", KEY_ADDRESS, .env = "", BY_SETTINGS(test_postgresql_keys_are_read),
          .meaning = "address of a pooler beside it, published in the member key as proxy_url"),
    LOCAL("data_dir", KEY_TEXT, .env = "", .when = WHEN_RESTART, BY_SETTINGS(test_postgresql_keys_are_read),
          .meaning = "data directory; made if it does not exist"),
    LOCAL("config_dir", KEY_TEXT, .env = "", .when = WHEN_RESTART,
          BY_CLUSTER(debian, test_a_running_debian_cluster_is_adopted_with_its_settings_and_cloned),
          .meaning = "folder of postgresql.conf, if it is not the data directory"),
    LOCAL("config_base_name", KEY_TEXT, .state = KEY_LATER, .harmless = "postgresql",
          .meaning = "name of the configuration file without .conf"),
    LOCAL("pgpass", KEY_TEXT, .env = "", BY_SETTINGS(test_postgresql_keys_are_read),
          .meaning = "password file for child programs; default: <state_dir>/pgpass"),
    BOTH("database", KEY_TEXT, .state = KEY_LATER, .harmless = "postgres",
         .meaning = "database of pgkeep's own connections"),
    BOTH("krbsrvname", KEY_TEXT, .state = KEY_LATER, .meaning = "Kerberos service name of connections"),

    BOTH("bin_dir", KEY_TEXT, .env = "", .when = WHEN_RESTART, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "folder of PostgreSQL's programs; default: those of the data directory's version, else the newest"),
    BOTH("bin_name", KEY_SECTION, .when = WHEN_RESTART, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "other names of PostgreSQL's programs"),
    BIN_NAME("pg_ctl"),
    BIN_NAME("initdb"),
    BIN_NAME("pg_controldata"),
    BIN_NAME("pg_basebackup"),
    BIN_NAME("postgres"),
    BIN_NAME("pg_isready"),
    BIN_NAME("pg_rewind"),
    BOTH("pg_ctl_timeout", KEY_INT, .min = 0, .max = 86400 * 30, .fallback = "60",
         BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "seconds that a promotion may go without progress; 0: 60"),
    BOTH("use_unix_socket", KEY_BOOL, .fallback = "off", BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "pgkeep's own connections go through the socket, not TCP"),
    BOTH("use_unix_socket_repl", KEY_BOOL, .fallback = "off", BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "the same for the replication user"),

    LOCAL("authentication", KEY_SECTION, BY_SETTINGS(test_every_connection_key_of_every_user_is_read),
          .meaning = "the users pgkeep connects as"),
    USER("superuser", "administers; made by initdb"),
    USER("replication", "standbys stream as this user; made at bootstrap"),
    USER("rewind", "pg_rewind connects as this user; without it the superuser; made at bootstrap"),
    {.path = "postgresql.superuser",
     .type = KEY_SECTION,
     .scope = KEY_LOCAL,
     .moved_to = "postgresql.authentication.superuser"},
    {.path = "postgresql.replication",
     .type = KEY_SECTION,
     .scope = KEY_LOCAL,
     .moved_to = "postgresql.authentication.replication"},
    {.path = "postgresql.pg_rewind",
     .type = KEY_SECTION,
     .scope = KEY_LOCAL,
     .moved_to = "postgresql.authentication.superuser"},
    {.path = "postgresql.name", .type = KEY_TEXT, .scope = KEY_LOCAL, .moved_to = "name"},

    BOTH("parameters", KEY_SCALARS, BY_DYNAMIC(test_parameters_merge_without_regard_to_case),
         .meaning = "settings of PostgreSQL; those that must be equal on all nodes only in the dynamic configuration"),
    PER_ROLE("parameters", KEY_SCALARS, "settings of PostgreSQL"),
    BOTH("custom_conf", KEY_TEXT, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "a file included in the place of postgresql.base.conf"),
    BOTH("pg_hba", KEY_LINES, BY_DYNAMIC(test_local_and_dynamic_sections_merge), .meaning = "lines of pg_hba.conf"),
    PER_ROLE("pg_hba", KEY_LINES, "lines of pg_hba.conf"),
    BOTH("pg_ident", KEY_LINES, BY_DYNAMIC(test_local_and_dynamic_sections_merge), .meaning = "lines of pg_ident.conf"),
    PER_ROLE("pg_ident", KEY_LINES, "lines of pg_ident.conf"),
    BOTH("pg_hosts", KEY_LINES, .state = KEY_LATER, .meaning = "lines of pg_hosts.conf (PostgreSQL 19)"),
    PER_ROLE("pg_hosts", KEY_LINES, "lines of pg_hosts.conf"),
    BOTH("recovery_conf", KEY_SCALARS, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "recovery settings of standbys (restore_command, recovery_min_apply_delay, …)"),

    BOTH("callbacks", KEY_SECTION, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "programs run in the background after something happened; get action, role, scope"),
    BOTH("callbacks.on_start", KEY_TEXT, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "PostgreSQL has started"),
    BOTH("callbacks.on_stop", KEY_TEXT, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "PostgreSQL has stopped"),
    BOTH("callbacks.on_restart", KEY_TEXT, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "PostgreSQL has restarted in the same role"),
    BOTH("callbacks.on_reload", KEY_TEXT, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "the configuration was reloaded"),
    BOTH("callbacks.on_role_change", KEY_TEXT, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "promoted or demoted"),
    BOTH("pre_promote", KEY_TEXT, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "program run between taking the leader key and promotion; failure gives the key back"),
    BOTH("before_stop", KEY_TEXT, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "program run before PostgreSQL is stopped; its result does not matter"),

    {.path = "postgresql.use_slots",
     .type = KEY_BOOL,
     .scope = KEY_DYNAMIC,
     .fallback = "on",
     BY_DYNAMIC(test_dynamic_keys_are_read),
     .meaning = "standbys stream over replication slots"},
    BOTH("use_pg_rewind", KEY_BOOL, .fallback = "off", BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "a former primary that diverged is rewound with pg_rewind"),
    BOTH("rewind", KEY_OPTIONS, BY_DYNAMIC(test_local_and_dynamic_sections_merge), .meaning = "options for pg_rewind"),
    BOTH("remove_data_directory_on_rewind_failure", KEY_BOOL, .fallback = "off",
         BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "where rewinding fails, clone anew instead of trying to follow"),
    BOTH("remove_data_directory_on_diverged_timelines", KEY_BOOL, .fallback = "off",
         BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "where timelines diverged and pg_rewind is off, clone anew"),
    BOTH("create_replica_methods", KEY_TEXT_LIST, .fallback = "basebackup",
         BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "ways to make a replica, in order; basebackup is built in, others are sections of that name"),
    BOTH("create_replica_method", KEY_TEXT_LIST, .moved_to = "postgresql.create_replica_methods"),
    BOTH("basebackup", KEY_OPTIONS, BY_CLUSTER(clone, test_progress_of_a_clone_is_in_rest_the_list_and_the_log),
         .meaning = "options for pg_basebackup"),
    BOTH("*", KEY_SECTION, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "a replica method of one's own; all other keys here are handed to its command"),
    BOTH("*.command", KEY_TEXT, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "the program that fills the data directory"),
    BOTH("*.keep_data", KEY_BOOL, .fallback = "off", BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "leave the data directory as it is for the command"),
    BOTH("*.no_params", KEY_BOOL, .fallback = "off", BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "call the command without --scope, --role, --datadir, --connstring"),
    BOTH("*.no_leader", KEY_BOOL, .fallback = "off", BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "works without a running leader"),
    BOTH("*.no_master", KEY_BOOL, .fallback = "off", BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "older name of no_leader"),
    BOTH("*.*", KEY_SCALAR, BY_DYNAMIC(test_local_and_dynamic_sections_merge),
         .meaning = "handed to the command as --key=value"),
};

const struct key_table keys_postgresql = {rows, ARRAY_LEN(rows)};
