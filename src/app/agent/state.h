/*
 * The agent: one struct that its parts hang on. One thread, one loop.
 *
 * Each part is a module with a header of its own; this struct only wires them together. cycle.c turns
 * wakes into decisions and plans into acts; nothing else decides.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "core/ha/decide.h"
#include "core/ha/facts.h"
#include "core/ha/slots.h"
#include "io/loop.h"
#include "pg/conffile.h"
#include "web/snapshot.h"
#include "wire/guard.h"

struct blackbox;
struct breach_watch;
struct callbacks;
struct child;
struct dynamic;
struct guard_link;
struct health;
struct http_call;
struct http_client;
struct jobs;
struct leadership;
struct local;
struct mailbox;
struct mesh;
struct op;
struct pg_instance;
struct quorum;
struct registry;
struct rounds;
struct settings;
struct slots_job;
struct store;
struct web_server;

enum { AGENT_OPS_MAX = 16 };

enum twin { TWIN_UNKNOWN, TWIN_ASKED, TWIN_NONE };

struct agent {
    struct loop *loop;
    const char *config_path; /* NULL: environment alone */
    char id[17];             /* random; tells this agent from every other, in /patroni */
    enum twin twin;          /* another node under our name (twin.c) */
    struct http_call *twin_call;

    /* configuration: immutable snapshots, swapped as a whole (config.c) */
    struct settings *settings;
    struct dynamic *dynamic;
    int failover_priority, sync_priority; /* tags; 0: never */
    int64_t config_revision;              /* of the config key that `dynamic` was read from; 0: none yet */
    struct pg_instance *instance;         /* NULL until PostgreSQL's programs are found */
    char *instance_trouble;               /* why not */
    struct conf_freeze freeze;            /* what the promise on disk asks of PostgreSQL's files */

    struct store *store;
    char *bad_key; /* what of the cluster could not be read, as last logged; NULL: all well */
    struct registry *registry;
    struct leadership *leadership;
    struct http_client *http;
    struct rounds *rounds;
    struct mesh *mesh;
    struct quorum *quorum;
    struct blackbox *blackbox;
    struct breach_watch *breaches;
    struct guard_link *guard;
    struct local *local;
    struct health *health;
    struct jobs *jobs;
    struct callbacks *callbacks;

    /* deciding (cycle.c) */
    struct ha_memory memory;
    struct ha_plan plan; /* the newest */
    size_t plan_at;      /* next action of it */
    bool executing;      /* an action is under way */
    bool waited;         /* it did not end at once: its end goes on with the plan and wakes */
    bool woken;          /* a cycle is due */
    struct loop_timer wake;
    char said[HA_WHY_MAX]; /* last `why` that was logged */
    msec said_ms;
    char said_unfit[UNKEPT_MAX]; /* the same of what keeps it from becoming primary; "": nothing */
    msec inherited_stop_ms, inherited_quit_ms, inherited_kill_ms;
    msec fence_sent_kill_ms; /* what the guard was told last; 0: nothing yet */
    msec fence_sent_stop_ms;
    bool guard_ready;            /* the guard's first STATE has arrived */
    struct guard_msg guard_seen; /* the last STATE that was news */
    uint64_t job_seq;            /* the guard's answer to this request is the running job's */

    struct ha_vote vote;   /* what the mesh tells of the newest decision */
    msec vote_granted_ms;  /* when the newest message was heard that it granted by; 0: none */
    unsigned int setbacks; /* of the store, as seen last … */
    msec setback_ms;       /* … and when the last one was seen; 0: none */

    /* operators (ops.c) */
    struct ha_request request;
    struct op *restart_op; /* to be answered when the restart is over */
    struct op *recover_op; /* to be answered once it is decided */
    struct op *switchover_op;
    int64_t switchover_revision; /* of the store, when the request was written */
    msec switchover_deadline_ms;
    char *switchover_leader; /* whom the switchover leads away from */
    char *switchover_candidate;
    bool switchover_is_failover;
    struct fresh_op {
        struct op *op;
        msec asked_ms;
    } fresh_ops[AGENT_OPS_MAX]; /* to be answered with what PostgreSQL says after asked_ms */
    size_t fresh_op_count;
    json_t *scheduled_restart;    /* {"schedule", …}; NULL */
    int64_t scheduled_restart_ms; /* wall clock */
    msec failsafe_heard_ms;
    char *failsafe_heard_from;
    msec failsafe_heard_ttl_ms;
    msec orphans_not_before_ms, follow_not_before_ms, writes_not_before_ms, arm_not_before_ms, keys_not_before_ms;
    uint64_t arm_seq;     /* the guard's answer to this request is about the fence */
    bool switchover_busy; /* the failover key is being written */
    bool leaving;         /* pause: PostgreSQL stays */
    bool guard_lost;      /* nobody fences for us: the end clears the instance */
    int exit_status;

    /* publishing (publish.c) */
    struct snapshot_board *board;
    struct web_server *web;
    struct mailbox *op_mail;
    uint64_t snapshot_seq;
    char *member_text, *member_core, *member_urgent, *status_text, *failsafe_text;
    struct member_seen {
        struct settings *settings; /* held, as the next: no other can have its address */
        json_t *scheduled_restart;
        const char *replication_state; /* a constant */
        uint32_t timeline;
        uint64_t breaches; /* breach_watch_version() */
        enum node_state state;
        enum node_role role;
        bool answers, checkpoint_pending, pause;
        char *core, *urgent; /* what the member key would say; NULL: unknown */
    } member_seen;
    msec member_due_ms;       /* a change that may still change back is written then; 0: none */
    enum node_role role_told; /* role of the last on_role_change */
    bool role_known;
    int64_t dcs_seen_s; /* epoch */

    /* upkeep (upkeep.c) */
    struct ha_slots_memory slots_memory;
    struct ha_slots_plan slots_plan;
    struct slots_job *slots_job;
    msec slots_not_before_ms;
    struct child *log_child; /* cuts the postmaster's log */
    msec log_not_before_ms;
    uint32_t history_timeline; /* newest timeline that the history key is known to explain */
    bool history_busy, config_busy, checkpoint_busy;
    msec checkpoint_failed_ms; /* the one after the promotion; 0: it did not */
    bool reload_needed;
    msec waits_since_ms, look_at_ms; /* quorum mode: for what PostgreSQL shows next; 0: it does not, at once */
    msec calm_at_ms; /* after a promotion: what can wait leaves the processors to the clients until then */
};

/* Something changed: decide again before the loop waits. Any number of calls is one cycle. */
void agent_wake(struct agent *a);

/* The settings' name of the node, everywhere. */
const char *agent_name(const struct agent *a);
