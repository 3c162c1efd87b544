#include "web/conf.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "web/auth.h"
#include "wire/cluster.h"

/* As the first product token; the second is what checks that look for Patroni want to see. */
#define PRODUCT "pgkeep"

static char *server_tokens(enum server_tokens tokens)
{
    switch (tokens) {
    case SERVER_TOKENS_ORIGINAL:
        return str_fmt("%s/%s Patroni/%s", PRODUCT, PGKEEP_VERSION, CLUSTER_VERSION_TOLD);
    case SERVER_TOKENS_MINIMAL:
        return str_fmt("%s/%s", PRODUCT, PGKEEP_VERSION);
    case SERVER_TOKENS_PRODUCT_ONLY:
        return str_dup(PRODUCT);
    }
    UNREACHABLE();
}

/* Replaces an earlier one of the same name: that of https stands over that of http. */
static void add_header(struct web_conf *c, const char *name, char *take_value)
{
    for (size_t i = 0; i < c->header_count; i++) {
        if (str_eq_nocase(c->headers[i].name, name)) {
            free((char *)c->headers[i].value);
            c->headers[i].value = take_value;
            return;
        }
    }
    c->headers = mem_grow(c->headers, c->header_count + 1, sizeof(*c->headers));
    c->headers[c->header_count++] = (struct http_header){str_dup(name), take_value};
}

static void add_headers(struct web_conf *c, json_t *headers)
{
    const char *name;
    json_t *value;

    json_object_foreach(headers, name, value)
    {
        if (json_is_string(value))
            add_header(c, name, str_dup(json_string_value(value)));
        else
            add_header(c, name, json_dumps(value, JSON_ENCODE_ANY)); /* a number, most likely */
    }
}

bool web_conf_new(const struct settings *settings, struct web_conf **ret_conf, struct err *err)
{
    AUTO(auth) struct auth *auth = NULL;

    if (!auth_new(settings, &auth, err))
        return false;

    struct web_conf *c = mem_zero(1, sizeof(*c));
    atomic_init(&c->refs, 1);
    c->auth = TAKE(auth);
    add_header(c, "Server", server_tokens(settings->restapi.server_tokens));
    add_headers(c, settings->restapi.http_extra_headers);
    if (settings->restapi.certfile)
        add_headers(c, settings->restapi.https_extra_headers);
    *ret_conf = c;
    return true;
}

struct web_conf *web_conf_ref(struct web_conf *c)
{
    unsigned int before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);

    CHECK(before > 0);
    return c;
}

void web_conf_unref(struct web_conf *c)
{
    if (!c)
        return;

    unsigned int before = atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before > 1)
        return;

    auth_free(c->auth);
    for (size_t i = 0; i < c->header_count; i++) {
        free((char *)c->headers[i].name);
        free((char *)c->headers[i].value);
    }
    free(c->headers);
    free(c);
}

static enum http_verify verify_of(enum verify_client verify)
{
    switch (verify) {
    case VERIFY_CLIENT_NONE:
        return HTTP_VERIFY_NONE;
    case VERIFY_CLIENT_OPTIONAL:
        return HTTP_VERIFY_OPTIONAL;
    case VERIFY_CLIENT_REQUIRED:
        return HTTP_VERIFY_REQUIRED;
    }
    UNREACHABLE();
}

struct http_server_conf web_conf_server(const struct settings *settings)
{
    return (struct http_server_conf){
        .hosts = settings->restapi.listen.host,
        .port = settings->restapi.listen.port,
        .backlog = settings->restapi.request_queue_size,
        .tls =
            {
                .certfile = settings->restapi.certfile,
                .keyfile = settings->restapi.keyfile,
                .keyfile_password = settings->restapi.keyfile_password,
                .cafile = settings->restapi.cafile,
                .ciphers = settings->restapi.ciphers,
                .verify = verify_of(settings->restapi.verify_client),
            },
        .limits = HTTP_LIMITS_DEFAULT,
    };
}
