/*
 * Settings: the local configuration (YAML + PATRONI_* environment + defaults) as typed values.
 *
 * An immutable snapshot, ref-counted, swapped as a whole on reload. Free-form parts (parameters,
 * pg_hba, custom sections) stay JSON in the order of the file. The names are Patroni's.
 * Reference of the keys: docs/patroni-keys.md, which is generated from the tables in wire/conf/keys_*.c.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/conf/node.h"

/* Something to tell the operator about one key. */
enum finding_level { FINDING_WARNING, FINDING_ERROR };

struct finding {
    enum finding_level level;
    char *text; /* "node.yml:12: postgresql.listne: unknown key, did you mean postgresql.listen?" */
};

struct findings {
    struct finding *at;
    size_t count;
    size_t error_count;
};

enum { FINDINGS_MAX = 500 }; /* a file that is no configuration at all must not cost its size in messages */

/* Errors are counted, texts kept up to FINDINGS_MAX. */
void findings_add(struct findings *f, enum finding_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same, with "node.yml:12: restapi.listen: " in front: where *n stands, and which key it is. */
void findings_at(struct findings *f, enum finding_level level, const struct conf_node *n, const char *key,
                 const char *fmt, ...) PRINTF_LIKE(5, 6);
void findings_deinit(struct findings *f);

struct string_list {
    char **at;
    size_t count;
};

struct endpoint { /* "host:port"; host may be a comma-separated list for listen */
    char *host;
    int port;
};

/* One entry of postgresql.authentication; all optional but username. */
struct pg_user {
    char *username; /* NULL: section absent */
    char *password;
    char *sslmode, *sslcert, *sslkey, *sslpassword, *sslrootcert, *sslcrl, *sslcrldir;
    char *gssencmode, *channel_binding, *sslnegotiation;
};

enum store_kind {
    STORE_NONE,
    STORE_ETCD3,
    STORE_ETCD2,
    STORE_CONSUL,
    STORE_ZOOKEEPER,
    STORE_EXHIBITOR,
    STORE_KUBERNETES,
    STORE_RAFT
};
enum verify_client { VERIFY_CLIENT_NONE, VERIFY_CLIENT_OPTIONAL, VERIFY_CLIENT_REQUIRED };
enum server_tokens { SERVER_TOKENS_ORIGINAL, SERVER_TOKENS_MINIMAL, SERVER_TOKENS_PRODUCT_ONLY };
enum watchdog_mode { WATCHDOG_OFF, WATCHDOG_AUTOMATIC, WATCHDOG_REQUIRED };
enum log_format { LOG_FORMAT_PLAIN, LOG_FORMAT_JSON };

struct settings {
    unsigned int refs;
    char *path;                      /* the file (or folder) it came from */
    char *scope, *namespace_, *name; /* namespace without slashes at the ends; default "service" */
    char *key_prefix;                /* "/<namespace>/<scope>/" */

    struct {
        struct endpoint listen, connect_address;
        char *certfile, *keyfile, *keyfile_password, *cafile, *ciphers;
        enum verify_client verify_client;
        struct string_list allowlist;
        bool allowlist_include_members;
        char *username, *password;                        /* authentication; NULL: open */
        json_t *http_extra_headers, *https_extra_headers; /* objects of strings; NULL */
        int request_queue_size;
        enum server_tokens server_tokens;
    } restapi;

    struct {
        enum store_kind kind;
        struct string_list hosts; /* "host:port" */
        char *protocol;           /* "http", "https" */
        char *username, *password, *cacert, *cert, *key;
        bool use_proxies;
    } store;

    struct {
        json_t *dcs;    /* bootstrap.dcs as written; NULL */
        json_t *initdb; /* list of strings and one-key objects; NULL */
        char *method;   /* NULL: initdb */
        json_t *methods; /* {method: {command, keep_existing_recovery_conf, no_params, recovery_conf, …}}; never NULL */
        char *post_bootstrap;
    } bootstrap;

    struct {
        struct endpoint listen, connect_address;
        char *proxy_address;
        char *data_dir, *config_dir, *bin_dir, *pgpass, *custom_conf;
        json_t *bin_name; /* {postgres: "…"}; NULL */
        bool use_unix_socket, use_unix_socket_repl;
        int pg_ctl_timeout_s;
        struct pg_user superuser, replication, rewind;
        json_t *callbacks; /* {on_start: command, …}; NULL */
        char *pre_promote, *before_stop;
        /*
         * bin_dir, bin_name, custom_conf, callbacks and the like may stand in the dynamic configuration
         * too, and the local value wins: whoever needs what is in force takes it from struct dynamic.
         */
        json_t
            *section; /* the local postgresql section with its types, without authentication and pgpass; never NULL */
    } postgresql;

    struct {
        json_t *all; /* tags object, known tags with their types; NULL */
    } tags;

    struct {
        enum watchdog_mode mode;
        char *device;
        int safety_margin_s;
    } watchdog;

    struct {
        enum log_format format;
        char *level; /* DEBUG, INFO, WARNING, ERROR, CRITICAL */
        char *dir;   /* log to <dir>/patroni.log, rotated; NULL: stderr (or journal) */
        int64_t file_size;
        int file_num;
        char *syslog; /* pgkeep.syslog: facility; NULL: no syslog */
    } log;

    struct {
        char *username, *password, *cacert, *cert, *key, *key_password; /* what is absent is taken from restapi */
        bool insecure;
    } ctl;

    struct {
        bool witness;    /* pgkeep.witness: no PostgreSQL; the data directory is a name for what is not there */
        char *state_dir; /* pgkeep.state_dir; default "<data_dir>.pgkeep": what must outlive the data directory */
        struct endpoint peer_listen, peer_connect; /* pgkeep.peer.*; port 0: any free one; host NULL: of no node */
    } pgkeep;
};

/*
 * Read the sources in their order (one file, or the *.yml and *.yaml files of a folder, which are merged; none:
 * the environment alone), apply PATRONI_* from `environment` ("KEY=VALUE", NULL-terminated), check all
 * keys. Findings are always filled; NULL is returned only if there is an error among them.
 */
struct conf_source {
    const char *path; /* as the operator named it */
    const char *text;
    size_t len;
};
struct settings *settings_read(const struct conf_source *sources, size_t source_count, const char *const *environment,
                               struct findings *findings);
/*
 * The same for the command line, whose configuration may hold no more than a store: nothing else is
 * required, and scope and key_prefix are NULL if no scope is given.
 */
struct settings *settings_read_ctl(const struct conf_source *sources, size_t source_count,
                                   const char *const *environment, struct findings *findings);

/*
 * settings_read() for looking only (`pgkeep check`): in spite of errors what could be read is returned, so
 * that folders, ports and the store can be looked at in the same run. NULL: it is no configuration at
 * all. Values in error hold their defaults or are absent; nothing may be started with it.
 */
struct settings *settings_read_anyway(const struct conf_source *sources, size_t source_count,
                                      const char *const *environment, struct findings *findings);
struct settings *settings_ref(struct settings *s);
void settings_unref(struct settings *s);
AUTO_DEFINE(settings, struct settings, settings_unref)
