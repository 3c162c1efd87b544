/*
 * The bodies of requests that change something: their form, checked before the agent sees them. Pure.
 *
 * Codes and texts are Patroni's. What needs more than the request, the time and the pause flag (who leads,
 * who is healthy) is for the agent to check.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "web/op.h"

enum { REFUSAL_TEXT_MAX = 256 };

struct refusal {
    int status;
    char text[REFUSAL_TEXT_MAX]; /* "": an error page without words of ours */
};

/*
 * The body as a JSON object. has_length: the request had a Content-Length. Where it is optional, none and
 * an empty one are the empty object; where it is not, an empty object is refused too.
 */
MUST_USE bool body_read(const char *bytes, size_t len, bool has_length, bool optional, json_t **ret_body,
                        struct refusal *ret_refusal);

struct body_facts {
    bool paused;
    int64_t wall_now_ms;
};

/*
 * POST /restart. Afterwards the body has none but these fields, each of them optional: restart_pending
 * (true), role, postgres_version (text), timeout (whole seconds), schedule (ISO 8601 with time zone).
 */
MUST_USE bool body_check_restart(json_t *body, const struct body_facts *facts, struct refusal *ret_refusal);

/*
 * POST /switchover and /failover. A failover that names its leader becomes a switchover (*kind).
 * Afterwards the body has none but these fields, all texts, absent rather than empty: leader, candidate,
 * scheduled_at (ISO 8601 with time zone).
 */
MUST_USE bool body_check_failover(json_t *body, enum op_kind *kind, const struct body_facts *facts,
                                  struct refusal *ret_refusal);

/* POST /recover_record. Afterwards: force, a boolean. Nothing is refused. */
void body_check_recover_record(json_t *body);

/* POST /reinitialize. Afterwards: force and from_leader, both booleans. Nothing is refused. */
void body_check_reinitialize(json_t *body);
