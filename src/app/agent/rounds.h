/*
 * Rounds of questions to the other members, by REST: how far are you, and may I stay?
 *
 * GET /patroni?fresh=1 of every member at once (Patroni members ignore the query and answer from
 * memory), POST /failsafe to everybody who may count on being asked. Each round has one deadline; whoever
 * has not answered by then is unreachable for this round.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "core/ha/view.h"
#include "wire/cluster.h"

struct loop;
struct http_client;
struct rounds;

typedef void rounds_changed_fn(void *arg);

struct rounds *rounds_new(struct loop *l, const char *name, rounds_changed_fn *fn, void *arg);
void rounds_free(struct rounds *r);
AUTO_DEFINE(rounds, struct rounds, rounds_free)

/* The client carries credentials and certificates for members; calls under way are dropped. */
void rounds_client(struct rounds *r, struct http_client *client);

/* HA_DO_ASK_PEERS. A round under way is left to end if it asks the same question. */
void rounds_ask(struct rounds *r, const struct cluster *c);
/* HA_DO_ASK_FAILSAFE: body is Patroni's {"name","conn_url","api_url","slots"}; failsafe {name: api_url}. */
void rounds_ask_failsafe(struct rounds *r, const json_t *failsafe, const char *body);

/* The newest round, for the view. Valid until the next change. */
void rounds_view(const struct rounds *r, struct ha_peers *ret_peers);
/* When the newest failsafe round that everybody accepted was sent; 0: none. */
void rounds_failsafe_view(const struct rounds *r, struct ha_lease *ret_lease);
