/*
 * Ops on their way: from the HTTP thread to the agent and back, or over when their time is.
 *
 * An op is held by two: the HTTP thread until its request is answered, the agent until it has replied.
 * The desk is held by its ops too, so that a reply after the server's end finds somebody to drop it.
 */
#pragma once

#include "io/http_server.h"
#include "web/op.h"

enum { OPS_MAX = 64 }; /* with the agent at a time; more means that it is stuck, and waiting is no help */

enum op_outcome {
    OP_ANSWERED,
    OP_LATE,    /* the agent did not answer in time, and may still do what was asked */
    OP_BUSY,    /* OPS_MAX */
    OP_REFUSED, /* the agent took nothing */
};

struct op_answer {
    enum op_kind kind;
    enum op_outcome outcome;
    int status;                /* OP_ANSWERED */
    const char *header, *body; /* OP_ANSWERED; may be NULL */
};

struct op_desk;

/* Called in the HTTP thread, once for each op_send(). */
typedef void op_answer_fn(struct http_request *take_request, const struct op_answer *answer, void *arg);

struct op_desk *op_desk_new(op_submit_fn *submit, void *submit_arg, op_answer_fn *answer, void *answer_arg);
/* From now on replies come in, by way of this server. */
void op_desk_open(struct op_desk *d, struct http_server *server);
/* Before the server stops: later replies are dropped. */
void op_desk_close(struct op_desk *d);
void op_desk_unref(struct op_desk *d);

/* In the HTTP thread. Takes body (may be NULL). */
void op_send(struct op_desk *d, enum op_kind kind, json_t *take_body, msec deadline_ms, const char *peer,
             struct http_request *take_request);
