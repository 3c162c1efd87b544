/*
 * The demo's cluster: etcd and some nodes, their files, what they say about themselves.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "app/demo/place.h"
#include "app/demo/procs.h"
#include "base/err.h"
#include "base/time.h"

struct loop;
struct loop_signal;

enum { DEMO_NODES_MAX = 9 };

struct demo_node {
    char name[16];
    int pg_port, rest_port;
    char *yaml, *log, *data_dir;
    struct proc proc;    /* the guard */
    msec start_again_ms; /* it ended by itself; MSEC_NEVER: let it be */
};

struct demo {
    struct place place;
    struct loop *loop;
    struct loop_signal *signals[3];
    bool asked_to_stop; /* Ctrl-C */
    char *etcd_program;
    int etcd_port, etcd_peer_port;
    char *etcd_log;
    struct proc etcd;
    struct demo_node nodes[DEMO_NODES_MAX];
    int node_count;
    char *superuser_password, *replication_password;
    char *pgpass; /* a file for psql */
};

/* Ports, passwords, configurations: everything but processes. The place is made already. */
MUST_USE bool demo_prepare(struct demo *d, int node_count, struct err *err);
MUST_USE bool demo_start_etcd(struct demo *d, struct err *err);
MUST_USE bool demo_start_node(struct demo *d, struct demo_node *n, struct err *err);

/* Starts again what ended by itself, as a service manager would, after a few seconds. Notes it on stdout if `say`. */
void demo_tend(struct demo *d, bool say);

/* Replicas, then the leader, then etcd; what does not end in time is killed. Never fails: it says what it had to do. */
void demo_stop(struct demo *d);
void demo_deinit(struct demo *d);

/* Waits, tending to signals. False: asked to stop. */
bool demo_pause(struct demo *d, msec duration_ms);

/* `pgkeep list -f json` (new reference); NULL: *err says why. */
json_t *demo_list(struct demo *d, struct err *err);
/* `pgkeep list` as people see it; free() it. NULL: *err says why. */
char *demo_list_text(struct demo *d, bool colour, struct err *err);

/* Out of demo_list(): the leader; NULL if there is none. */
struct demo_node *demo_leader(struct demo *d, const json_t *list);
/* How many members run as they should: one leader that runs, replicas that stream on its timeline. */
int demo_healthy_count(const json_t *list);
const char *demo_state_of(const json_t *list, const char *member);

/* For libpq: all nodes, whoever accepts writes. No password in it. free() it. */
char *demo_conninfo(const struct demo *d, const char *target);

/* Of a log: the last lines that tell of trouble, and the last lines; half of `lines` each. */
void demo_show_log(const char *path, int lines);
