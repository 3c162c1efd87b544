/*
 * Long work, one at a time: start, stop, promote, bootstrap, clone, compare, rewind, discard.
 *
 * A job is begun by a plan's action and ends by itself, by its deadline, or by cancelling; its result
 * stays in view until the next one begins. job_*.c hold the procedures; each ends with job_end().
 */
#pragma once

#include "app/agent/state.h"
#include "base/err.h"

struct bootstrap_job;
struct clone_job;
struct conflict_job;
struct rewind_job;
struct script_job;
struct sql;

struct jobs {
    struct agent *agent;
    struct ha_action action; /* of the running or last job */
    enum ha_job_state state;
    uint64_t id;
    msec since_ms;
    enum ha_rejoin verdict;
    bool nothing_done;
    char subject[HA_NAME_MAX];
    char error[ERR_TEXT_MAX]; /* of the last failed job */

    /* Handles of what runs; at most one is set. */
    struct bootstrap_job *bootstrap;
    struct clone_job *clone;
    struct rewind_job *rewind;
    struct script_job *script;
    struct sql *sql;
    struct conflict_job *conflict; /* PROMOTE, while it runs */

    struct loop_timer timer; /* the running job's deadline or next step */
    unsigned int deaths;     /* of the postmaster, when the job began */
    msec deadline_ms;
    msec nudge_ms;                   /* PROMOTE: the startup process is woken again then */
    bool signalled;                  /* PROMOTE: the trigger is out; STOP: the guard was told */
    bool refused;                    /* the guard said no */
    int64_t done_bytes, total_bytes; /* CLONE, REWIND: progress; total 0: unknown */
    bool clone_ours;                 /* half a clone that lies in the data directory is this agent's */
};

struct jobs *jobs_new(struct agent *a);
void jobs_free(struct jobs *j);
AUTO_DEFINE(jobs, struct jobs, jobs_free)

/* HA_DO_START_JOB. Always becomes the running job; what cannot begin fails at once. */
void jobs_begin(struct jobs *j, const struct ha_action *action);
void jobs_cancel(struct jobs *j);
/* Guard, probe or files said something new: the running job looks whether it is over. */
void jobs_notice(struct jobs *j);
void jobs_view(const struct jobs *j, struct ha_job *ret_job);
bool jobs_running(const struct jobs *j, enum ha_job_kind kind);

/* For the procedures: the job is over. err NULL: done. */
void job_end(struct jobs *j, const struct err *err);
/* host and port of a member's server. */
bool job_member_address(struct jobs *j, const char *name, char **ret_host, int *ret_port, struct err *err);

/* Procedures: begin (may end the job at once) and notice. */
void job_start_begin(struct jobs *j);
void job_start_notice(struct jobs *j);
void job_stop_begin(struct jobs *j);
void job_stop_notice(struct jobs *j);
void job_pre_promote_begin(struct jobs *j);
void job_promote_begin(struct jobs *j);
void job_promote_notice(struct jobs *j);
void job_bootstrap_begin(struct jobs *j);
void job_post_bootstrap_begin(struct jobs *j);
void job_check_rejoin_begin(struct jobs *j);
void job_rewind_begin(struct jobs *j);
void job_clone_begin(struct jobs *j);
void job_discard_begin(struct jobs *j);
