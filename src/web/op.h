/*
 * What REST asks of the agent: one request, answered once, across threads.
 *
 * The HTTP thread checks form (400, 411, credentials), makes an op and hands it to the agent's loop by
 * mailbox; the agent answers with op_reply() when it knows, which may take seconds (restart,
 * switchover). The op outlives an impatient client. If the agent has not answered by deadline_ms, the
 * HTTP thread answers 503 by itself and the late reply is dropped.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/time.h"

enum op_kind {
    OP_FRESH_STATUS, /* GET /patroni?fresh=1: probe PostgreSQL now; the answer is the next snapshot */
    OP_RELOAD,
    OP_RESTART,
    OP_RESTART_DELETE,
    OP_REINITIALIZE,
    OP_RECOVER_RECORD, /* POST /recover_record: a store that lost the newest record gets it again */
    OP_SWITCHOVER,
    OP_FAILOVER, /* without a leader; one that names it comes as OP_SWITCHOVER */
    OP_SWITCHOVER_DELETE,
    OP_CONFIG_PATCH,
    OP_CONFIG_PUT,
    OP_FAILSAFE, /* POST /failsafe of the leader; reply header lsn */
    OP_EXPLAIN,  /* GET /explain: for each node, why it could be promoted now or could not */
    OP_PLAN,     /* GET /plan: what would happen; body {"if_lost": name} */
};

struct op {
    enum op_kind kind;
    json_t *body;     /* object, as web/bodies.h leaves it; NULL for kinds without one; owned by the op */
    msec deadline_ms; /* loop_clock_ms */
    const char *peer; /* who asked, for the log: "127.0.0.1 as admin" */
};

/*
 * Where the ops go. Called in the HTTP thread; must not block. false: the agent takes nothing (ending, or
 * its mailbox is full).
 */
typedef bool op_submit_fn(struct op *take_op, void *arg);

/*
 * From the agent's thread (or inside the submit function), exactly once per op; the op must not be touched
 * afterwards. Also after the server was stopped: then nobody hears it.
 * header: "lsn: 123" or NULL; "Content-Type: …" replaces the one the kind would have.
 * body: a text for people, the configuration in JSON for OP_CONFIG_*; "" or NULL with a status of 400 or
 * above: an error page that says what the status means.
 */
void op_reply(struct op *take_op, int status, const char *header, const char *body);
