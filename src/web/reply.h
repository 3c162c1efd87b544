/*
 * Answers in Patroni's forms. Each takes the request.
 */
#pragma once

#include "io/http_server.h"
#include "web/conf.h"

#define TYPE_JSON "application/json"
#define TYPE_HTML "text/html"
#define TYPE_METRICS "text/plain; version=0.0.4" /* of Prometheus' exposition format */

/* extra: one more header, which may replace the type; NULL: none. */
void reply_send(const struct web_conf *conf, struct http_request *take_request, int status, const char *type,
                const struct http_header *extra, const char *body);

/* A page in HTML that says what the status means; detail may be NULL. */
void reply_page(const struct web_conf *conf, struct http_request *take_request, int status, const char *detail);
