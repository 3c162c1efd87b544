/*
 * The command line: one call, what it was given, and the few things every verb needs.
 *
 * Synchronous by nature: a verb asks, waits with a deadline (wait.h) and prints. What people and scripts
 * read goes to stdout as patronictl prints it; what pgkeep adds for people (which host is touched,
 * progress) goes to stderr. Exit status: 0 done, 1 failed or refused, 2 called wrongly.
 */
#pragma once

#include <stdbool.h>

#include "app/ctl/opts.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/cluster.h"
#include "wire/conf/settings.h"

struct http_client;
struct loop;
struct store;

enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

struct ctl {
    const char *program; /* as we were called: "pgkeep" or "patronictl" */
    const char *verb;
    const char *usage;         /* what follows the verb in a usage line */
    const char *help;          /* one line */
    const char *config_path;   /* -c; NULL: the default */
    const char *dcs_url;       /* -d; NULL: as configured */
    bool insecure;             /* -k */
    struct settings *settings; /* read by ctl_options() */
    struct loop *loop;
    struct store *store;      /* made by the first reading */
    struct http_client *rest; /* made by the first call */
    bool colour;              /* stdout is a terminal that wants colours */
    const char *doing;        /* shown as progress while we wait (wait.h); NULL: nothing */
    msec doing_since_ms;
};

/* argv[0] is skipped. `program` decides the name in texts. */
int ctl_main(int argc, char **argv, const char *program);
/* The verbs with their help lines. */
void ctl_describe(struct buf *out);

/* Prints "Error: …" for *err and returns CTL_FAILED: the end of a verb. */
int ctl_fail(const struct err *err);
int ctl_refuse(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* "Aborted!": nobody answered a question. */
int ctl_abort(void);
/* A usage line and the mistake. Returns CTL_USAGE. */
int ctl_misuse(const struct ctl *ctl, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Prints what a verb takes. Returns CTL_OK. */
int ctl_help(const struct ctl *ctl, const struct opt *opts);
/* For people: which cluster, which host. One line on stderr. */
void ctl_note(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * A verb's options, then the configuration. False: the verb ends with *ret_exit (help was printed, or what is wrong).
 * Afterwards argv[0..*argc) are the arguments.
 */
MUST_USE bool ctl_options(struct ctl *ctl, const struct opt *opts, int *argc, char **argv, int *ret_exit);

/*
 * For a program that works on a file, not on a cluster (check, init): options, then at most one file; argv[0]
 * is the verb. *ret_file NULL: none. False: it ends with *ret_exit.
 */
MUST_USE bool ctl_file_argument(const struct ctl *ctl, const struct opt *opts, int argc, char **argv,
                                const char **ret_file, int *ret_exit);

/* CLUSTER_NAME as the only argument, or the configuration's scope. False: the verb ends with *ret_exit. */
MUST_USE bool ctl_cluster_argument(struct ctl *ctl, int argc, char **argv, const char **ret_name, int *ret_exit);

/* One reading of the cluster `name`. */
MUST_USE bool ctl_read(struct ctl *ctl, const char *name, struct cluster **ret_cluster, struct err *err);
