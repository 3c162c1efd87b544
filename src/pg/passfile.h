/*
 * Passwords for PostgreSQL's own programs, and connection strings without them.
 *
 * The passfile is ours alone (0600, in the state directory unless postgresql.pgpass names it), rewritten
 * whole by rename. Lines are "*:*:*:user:password": host and port may change with every leader, the
 * file is only ever named by connection strings we write. A password never stands on a command line,
 * in an environment variable or in postgresql.conf.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"

struct pg_user;
struct pg_instance;

/* Pure: the lines for these users (those with name and password; a repeated name counts once). free() it. */
char *passfile_text(const struct pg_user *const *users, int user_count);

/* Write the instance's passfile (superuser, replication, rewind) if it differs. ret_changed may be NULL. */
MUST_USE bool passfile_write(const struct pg_instance *i, bool *ret_changed, struct err *err);

struct conninfo_spec {
    const struct pg_user *user; /* name and TLS settings; its password is not used */
    const char *host;           /* may be a list */
    int port;
    const char *dbname;               /* NULL: left out */
    const char *application_name;     /* NULL: left out */
    const char *passfile;             /* NULL: left out */
    const char *target_session_attrs; /* NULL: left out */
    int major;                        /* decides which keywords exist */
    int connect_timeout_s;            /* 0: left out */
    bool keepalives;                  /* short TCP keepalives, so that a vanished host is noticed */
    int tcp_user_timeout_ms;          /* 0: left out */
    bool with_sslpassword;            /* only for text that goes into a 0600 file */
};

/* free() it. Values are quoted as libpq wants them. */
char *conninfo_text(const struct conninfo_spec *spec);

/*
 * primary_conninfo of this instance for a standby of host:port: replication user, application_name = member name. Where
 * synchronous_mode is asked for it gives a host that does not answer up after some seconds.
 */
char *primary_conninfo(const struct pg_instance *i, const char *host, int port);

/*
 * For pg_basebackup and pg_rewind: a conninfo without secrets for their command line, application_name
 * pgkeep_job, and, where the user has an sslpassword, a service file (0600, in the state directory) that holds
 * it. Writes both files. free() the text.
 */
MUST_USE bool tool_conninfo(const struct pg_instance *i, const struct pg_user *user, const char *host, int port,
                            const char *dbname, char **ret_conninfo, struct err *err);
/*
 * They may take as long as they like, but their source can stop answering while its TCP goes on (a stopped process,
 * a dead disk). Both tell their progress: this long a silence is none of a directory that is synced or of WAL that
 * is read.
 */
enum { TOOL_SILENCE_MS = 3600000 };
/* The environment that goes with it: "PGSERVICEFILE=…". free() it. */
char *tool_environment(const struct pg_instance *i);
