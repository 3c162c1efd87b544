/*
 * PostgreSQL on this host, as seen from here: processes (by the guard), answers (by the probe), files.
 *
 * Three sources, none of which is waited for: the guard's STATE, the probe's last answer, and what the
 * data directory and pg_control say once no process is left. The probe is asked every two seconds while
 * a postmaster runs, and at once when the agent wants to know. What needs somebody's hand (a refused
 * password, files that cannot be read) is logged here, once and then now and then.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "core/ha/view.h"
#include "pg/control.h"
#include "pg/datadir.h"
#include "pg/probe.h"

struct guard_msg;
struct local;
struct loop;
struct pg_instance;

typedef void local_changed_fn(void *arg); /* wakes the agent: something that decisions depend on changed */

struct local *local_new(struct loop *l, local_changed_fn *fn, void *arg);
void local_free(struct local *p);
/* There is no PostgreSQL here and will be none: known for certain, where nothing is looked at. */
void local_set_witness(struct local *p);
AUTO_DEFINE(local, struct local, local_free)

/* A new snapshot of settings; the probe connects anew if its target changed. */
void local_instance(struct local *p, struct pg_instance *i);

void local_guard_state(struct local *p, const struct guard_msg *state);

/* Ask it now, for all there is to know. */
void local_probe(struct local *p);
/*
 * The same for what an election looks at (positions, timeline, whether it is a primary), as briefly as that can
 * be had.
 */
void local_refresh(struct local *p);
/* What clients wait for: it is looked for every few milliseconds. */
enum local_watch {
    LOCAL_CALM,
    LOCAL_ANSWER,   /* of a server that starts, of a standby that is about to be elected: it is asked */
    LOCAL_OPENING,  /* a promotion: pg_control is watched; asked is who is promoted once that says "in production" */
    LOCAL_STOPPING, /* pg_control, for the shutdown checkpoint; not asked: each connection is a process to end */
};
void local_watch(struct local *p, enum local_watch what);
/* Look at the files again (after a job changed them): all of them, or all but pg_control, which takes a program. */
void local_look(struct local *p);
void local_look_briefly(struct local *p);

/*
 * How old positions may be while nobody waits; 0: two seconds, as without it. What merely moved wakes the agent no more
 * often for that.
 */
void local_set_pace(struct local *p, msec every_ms);
/* Ask with a sign of life in the WAL, if this is a primary (probe_pulse): now, or with the next question. */
void local_pulse(struct local *p);

/* What tells a server that runs from one that works. */
struct local_signs {
    bool runs;                    /* there is a postmaster */
    bool works;                   /* … it has answered since its start, and is not being stopped */
    msec silent_since_ms;         /* the oldest question without an answer; MSEC_NEVER: none */
    msec halted_ms;               /* as in ha_pg */
    const struct pg_facts *facts; /* as local_facts() */
    msec answered_ms;             /* as local_answered_ms() */
};
void local_signs(const struct local *p, struct local_signs *ret_signs);

/* Fill the view's part. Strings are valid until the next change. */
void local_view(const struct local *p, struct ha_pg *ret_pg);

/* The version of the programs, for the next server: 150013; 0: not known. */
void local_programs(struct local *p, int server_version);

/* The last answer; NULL: none, or none since the postmaster started. */
const struct pg_facts *local_facts(const struct local *p);
bool local_answers(const struct local *p);
msec local_answered_ms(const struct local *p); /* when the question of the last answer was asked; 0: none */

const struct datadir_state *local_datadir(const struct local *p);
const struct pg_control *local_control(const struct local *p); /* NULL: not read since the last look */
const char *local_system_id(const struct local *p);            /* NULL: unknown */
pid_t local_postmaster(const struct local *p);                 /* 0: none */
uint32_t local_timeline(const struct local *p);                /* best knowledge; 0: unknown */

/* Whom primary_conninfo names by our own writing ("" nobody). NULL: written by somebody else. */
void local_attached(struct local *p, const char *upstream, const char *conninfo);
