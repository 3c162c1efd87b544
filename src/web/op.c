#include "web/op.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "web/op_desk.h"

struct op_desk {
    atomic_uint refs;
    op_submit_fn *submit;
    void *submit_arg;
    op_answer_fn *answer;
    void *answer_arg;
    int in_hand; /* ops that the agent has; of the HTTP thread */

    pthread_mutex_t lock;
    struct http_server *server; /* NULL: closed. Under the lock: whoever posts finds it alive */
};

struct ticket {
    struct op op;
    struct http_note note; /* carries the reply home */
    struct op_desk *desk;
    atomic_uint refs;
    struct http_request *request; /* of the HTTP thread; NULL: answered, or gone */
    char *peer;

    /* The agent's reply; of the HTTP thread once the note is posted. */
    int status;
    char *header, *body;
};

struct op_desk *op_desk_new(op_submit_fn *submit, void *submit_arg, op_answer_fn *answer, void *answer_arg)
{
    struct op_desk *d = mem_zero(1, sizeof(*d));

    CHECK(submit);
    CHECK(answer);
    atomic_init(&d->refs, 1);
    d->submit = submit;
    d->submit_arg = submit_arg;
    d->answer = answer;
    d->answer_arg = answer_arg;
    int failed = pthread_mutex_init(&d->lock, NULL);
    CHECK(!failed);
    return d;
}

void op_desk_open(struct op_desk *d, struct http_server *server)
{
    (void)pthread_mutex_lock(&d->lock);
    d->server = server;
    (void)pthread_mutex_unlock(&d->lock);
}

void op_desk_close(struct op_desk *d)
{
    op_desk_open(d, NULL);
}

void op_desk_unref(struct op_desk *d)
{
    if (!d || atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) > 1)
        return;

    (void)pthread_mutex_destroy(&d->lock);
    free(d);
}

static void ticket_unref(struct ticket *t)
{
    if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
        return;

    json_decref(t->op.body);
    free(t->peer);
    free(t->header);
    free(t->body);
    op_desk_unref(t->desk);
    free(t);
}

/* The request gets its answer, and the HTTP thread lets go of the ticket. */
static void conclude(struct ticket *t, enum op_outcome outcome)
{
    struct op_answer answer = {.kind = t->op.kind, .outcome = outcome};

    if (outcome == OP_ANSWERED) {
        answer.status = t->status;
        answer.header = t->header;
        answer.body = t->body;
    }
    t->desk->answer(TAKE(t->request), &answer, t->desk->answer_arg);
    ticket_unref(t);
}

/* In the HTTP thread: the agent's reply, wanted still or not. */
static void reply_came(struct http_note *note)
{
    struct ticket *t = LIST_ENTRY(note, struct ticket, note);

    t->desk->in_hand--;
    if (t->request)
        conclude(t, OP_ANSWERED);
    ticket_unref(t);
}

static void request_late(void *arg)
{
    conclude(arg, OP_LATE);
}

static void request_gone(void *arg)
{
    struct ticket *t = arg;

    t->request = NULL;
    ticket_unref(t);
}

void op_reply(struct op *take_op, int status, const char *header, const char *body)
{
    struct ticket *t = LIST_ENTRY(take_op, struct ticket, op);
    struct op_desk *d = t->desk;

    CHECK(!t->status); /* once */
    CHECK(status);
    t->status = status;
    t->header = str_dup(header);
    t->body = str_dup(body);

    (void)pthread_mutex_lock(&d->lock);
    bool open = d->server != NULL;
    if (open)
        http_server_post(d->server, &t->note);
    (void)pthread_mutex_unlock(&d->lock);
    if (!open)
        ticket_unref(t);
}

void op_send(struct op_desk *d, enum op_kind kind, json_t *take_body, msec deadline_ms, const char *peer,
             struct http_request *take_request)
{
    struct ticket *t = mem_zero(1, sizeof(*t));

    atomic_init(&t->refs, 1);
    (void)atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    t->desk = d;
    t->request = take_request;
    t->peer = str_dup(peer);
    t->op = (struct op){.kind = kind, .body = take_body, .deadline_ms = deadline_ms, .peer = t->peer};
    t->note.fn = reply_came;
    list_init(&t->note.link);
    if (d->in_hand >= OPS_MAX) {
        conclude(t, OP_BUSY);
        return;
    }

    atomic_store_explicit(&t->refs, 2, memory_order_relaxed);
    d->in_hand++;
    http_request_keep(take_request, deadline_ms, request_late, request_gone, t);
    if (!d->submit(&t->op, d->submit_arg)) {
        d->in_hand--;
        ticket_unref(t); /* for the agent, who has not taken it */
        conclude(t, OP_REFUSED);
    }
}
