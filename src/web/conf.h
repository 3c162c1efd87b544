/*
 * What the HTTP thread needs of the settings. Immutable, ref-counted, swapped whole on reload.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"
#include "io/http_server.h"
#include "wire/conf/settings.h"

struct auth;

struct web_conf {
    atomic_uint refs;
    struct auth *auth;
    struct http_header *headers; /* of every answer: Server, restapi.http_extra_headers, https_extra_headers */
    size_t header_count;
};

MUST_USE bool web_conf_new(const struct settings *settings, struct web_conf **ret_conf, struct err *err);
struct web_conf *web_conf_ref(struct web_conf *c);
void web_conf_unref(struct web_conf *c);
AUTO_DEFINE(web_conf, struct web_conf, web_conf_unref)

/* The part that is for the server itself; points into *settings. */
struct http_server_conf web_conf_server(const struct settings *settings);
