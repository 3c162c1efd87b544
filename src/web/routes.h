/*
 * Which request goes where: method and first word of the path, as Patroni routes them.
 *
 * What has no route of its own: GET is a health check with the status as body; HEAD and OPTIONS, on any
 * path, are a health check with a bare status line; everything else is 501.
 */
#pragma once

#include "io/http_server.h"
#include "web/conf.h"
#include "web/op_desk.h"
#include "web/snapshot.h"

struct resolver;

/* A request and what it is answered from. */
struct web_request {
    struct http_request *http; /* NULL once answered or kept */
    const struct web_conf *conf;
    const struct snapshot *snapshot; /* never NULL */
    struct op_desk *desk;
    struct resolver *names;
    msec now_ms;
};

void routes_handle(struct web_request *r);

/* The agent has answered, or not. */
void routes_answer(struct web_request *r, const struct op_answer *answer);
