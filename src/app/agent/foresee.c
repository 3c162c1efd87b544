#include "app/agent/foresee.h"

#include <jansson.h>

#include "app/agent/cycle.h"
#include "app/agent/state.h"
#include "base/str.h"
#include "core/ha/explain.h"
#include "web/op.h"

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *position_json(lsn at)
{
    char text[LSN_TEXT_MAX];

    return at ? json_string(lsn_text(at, text)) : json_null();
}

static json_t *node_json(const struct explain_node *n)
{
    json_t *o = json_object();

    (void)json_object_set_new(o, "member", json_string(n->name));
    (void)json_object_set_new(o, "verdict", json_string(n->leads ? "leads" : n->can ? "can" : "cannot"));
    (void)json_object_set_new(o, "why", json_string(n->why));
    (void)json_object_set_new(o, "timeline", n->timeline ? json_integer(n->timeline) : json_null());
    (void)json_object_set_new(o, "lsn", position_json(n->position));
    (void)json_object_set_new(o, "acknowledges", json_boolean(n->acknowledges));
    (void)json_object_set_new(o, "nofailover", json_boolean(n->nofailover));
    (void)json_object_set_new(o, "heard_ms", n->age_ms == MSEC_NEVER ? json_null() : json_integer(n->age_ms));
    return o;
}

static const char *mode_name(bool by_quorum)
{
    return by_quorum ? "quorum" : "asynchronous";
}

static json_t *now_json(const struct agent *a, const struct explain *e)
{
    json_t *o = json_object(), *members = json_array();

    for (size_t i = 0; i < e->count; i++)
        (void)json_array_append_new(members, node_json(&e->at[i]));
    (void)json_object_set_new(o, "asked", json_string(agent_name(a)));
    (void)json_object_set_new(o, "mode", json_string(mode_name(e->by_quorum)));
    (void)json_object_set_new(o, "paused", json_boolean(e->paused));
    (void)json_object_set_new(o, "leader", text_or_null(e->leader));
    (void)json_object_set_new(o, "term", json_integer((json_int_t)e->term));
    (void)json_object_set_new(o, "possible", json_boolean(e->possible));
    (void)json_object_set_new(o, "why", json_string(e->why));
    (void)json_object_set_new(o, "members", members);
    return o;
}

static json_t *loss_json(const char *name, const struct explain_loss *l)
{
    json_t *o = json_object(), *equals = json_array();

    for (size_t i = 0; i < l->equal_count; i++)
        (void)json_array_append_new(equals, json_string(l->equals[i]));
    (void)json_object_set_new(o, "if_lost", json_string(name));
    (void)json_object_set_new(o, "mode", json_string(mode_name(l->by_quorum)));
    (void)json_object_set_new(o, "leads", json_boolean(l->leads));
    (void)json_object_set_new(o, "possible", json_boolean(l->possible));
    (void)json_object_set_new(o, "winner", text_or_null(l->winner));
    (void)json_object_set_new(o, "or", equals);
    (void)json_object_set_new(o, "why", json_string(l->why));
    (void)json_object_set_new(o, "risk", json_string(l->risk));
    return o;
}

static void answer(struct op *take_op, json_t *take_value)
{
    AUTO(cstr) char *body = json_dumps(take_value, JSON_COMPACT);

    json_decref(take_value);
    op_reply(take_op, 200, "Content-Type: application/json", body);
}

void foresee_now(struct agent *a, struct op *take_op)
{
    struct ha_view view;
    struct explain e;

    cycle_view(a, &view);
    explain_now(&view, &e);
    if (view.store.cluster)
        answer(take_op, now_json(a, &e));
    else
        op_reply(take_op, 503, NULL, e.why);
    member_tags_deinit(&view.conf.tags);
}

void foresee_loss(struct agent *a, struct op *take_op)
{
    const char *name = json_string_value(json_object_get(take_op->body, "if_lost"));
    struct ha_view view;
    struct explain_loss l;

    cycle_view(a, &view);
    explain_if_lost(&view, name, &l);
    if (!view.store.cluster) {
        op_reply(take_op, 503, NULL, "the store has not been read yet");
    } else if (!l.known) {
        AUTO(cstr) char *why = str_fmt("no node %s is known", name);
        op_reply(take_op, 404, NULL, why);
    } else {
        answer(take_op, loss_json(name, &l));
    }
    member_tags_deinit(&view.conf.tags);
}
