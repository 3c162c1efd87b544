/*
 * An HTTP server in a thread of its own (libevent's evhttp, OpenSSL).
 *
 * The handler runs in that thread, once per request, and must not block: it answers at once, or keeps
 * the request and answers later, in the same thread (other threads come in by http_server_post). Every
 * request is answered exactly once, or expires (http_request_expire) and is then answered; a client
 * that went away meanwhile costs nothing. Headers that a caller passes are never NULL.
 *
 * Nobody can make others wait: a connection that is silent, slow to shake hands, to ask or to read is
 * closed at its limit, and when the house is full the one that has kept us waiting longest has to go.
 *
 * What differs from Patroni's server (Python, HTTP/1.0, one request a connection):
 * - HTTP/1.1 is spoken to who speaks it: Date, Content-Length and, unless the client asks to close,
 *   keep-alive. HTTP/1.0 gets HTTP/1.0 and a close, also if it asks for keep-alive.
 * - http_reply_bare() is as Patroni's health checks for HEAD and OPTIONS: a status line of HTTP/1.0,
 *   no header, then the end of the connection.
 * - A body of a GET or DELETE is read and ignored; a body above the limit is 413, a request line or
 *   header that cannot be read is 400 (by evhttp itself, in HTML).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/list.h"
#include "base/time.h"

struct http_server;
struct http_request;

/* Whose certificates a client must show. A shown certificate is always checked against cafile. */
enum http_verify { HTTP_VERIFY_NONE, HTTP_VERIFY_OPTIONAL, HTTP_VERIFY_REQUIRED };

struct http_tls {
    const char *certfile;         /* PEM: certificate and chain; NULL: no TLS */
    const char *keyfile;          /* NULL: in certfile */
    const char *keyfile_password; /* NULL: none */
    const char *cafile;           /* NULL: the system's authorities */
    const char *ciphers;          /* OpenSSL's list, for TLS 1.2; NULL: its default */
    enum http_verify verify;
};

struct http_limits {
    size_t body_max;    /* bytes */
    size_t headers_max; /* bytes, request line included */
    int conn_max;       /* connections at a time */
    msec hello_ms;      /* from accept to the first byte of a request: with TLS, the handshake */
    msec request_ms;    /* from the first byte to the last, body included */
    msec reply_ms;      /* for the client to take our answer */
    msec idle_ms;       /* between two requests of a connection */
};

/* Enough for a big dynamic configuration; for slow checkers; and for the checks of a big fleet at once. */
#define HTTP_LIMITS_DEFAULT                                                                       \
    {                                                                                             \
        .body_max = 1024 * 1024, .headers_max = 16 * 1024, .conn_max = 256, .hello_ms = 5 * 1000, \
        .request_ms = 10 * 1000, .reply_ms = 10 * 1000, .idle_ms = 15 * 1000                      \
    }

struct http_server_conf { /* read during the call only */
    const char *hosts;    /* comma separated names, addresses (IPv6 in brackets or without), "*" or "": all */
    int port;             /* 0: any free one (tests) */
    int backlog;          /* of listen(); below 128 counts as 128 */
    struct http_tls tls;
    struct http_limits limits;
};

typedef void http_handler_fn(struct http_request *take_request, void *arg);

/* Bind, listen, start the thread. Errors name the address or the file. */
MUST_USE bool http_server_start(const struct http_server_conf *conf, http_handler_fn *handler, void *arg,
                                struct http_server **ret_server, struct err *err);
/*
 * Apply another configuration; certificates and keys are read again in any case. Addresses that stay
 * are not closed; new ones are bound before old ones are let go (unless both cannot be had at a time:
 * then the old one is closed first, and opened again if the new one fails). Open connections end after
 * their current request. On failure everything stays as it was.
 */
MUST_USE bool http_server_reload(struct http_server *s, const struct http_server_conf *conf, struct err *err);
/*
 * Close all connections, end the thread, free the server. Notes that were posted are run first; nothing
 * may be posted afterwards. Requests that the handler kept are freed unanswered: each one's `gone` runs.
 */
void http_server_stop(struct http_server *s);
/* The port of the first address. */
int http_server_port(const struct http_server *s);

/* Work for the HTTP thread, from any thread. Embedded in what it is about; may free it. */
struct http_note {
    struct list link;
    void (*fn)(struct http_note *note);
};
void http_server_post(struct http_server *s, struct http_note *note);

/* ---- In the HTTP thread, on a request that is not answered yet ---- */

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_OPTIONS, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE };

enum http_method http_request_method(const struct http_request *r);
const char *http_request_path(const struct http_request *r);                     /* not decoded; begins with "/" */
const char *http_request_query(const struct http_request *r);                    /* not decoded; "" if there is none */
const char *http_request_header(const struct http_request *r, const char *name); /* NULL: absent */
/* The body; *ret_len may be 0. Valid until the answer. */
const char *http_request_body(struct http_request *r, size_t *ret_len);
const char *http_request_peer(const struct http_request *r); /* numeric address */
bool http_request_is_tls(const struct http_request *r);
/* Subject of the client's verified certificate, NULL if it showed none. */
const char *http_request_client_cert(const struct http_request *r);

/*
 * Call expired(arg) at at_ms if the request is not answered by then; it may answer. gone(arg) runs
 * instead if the server stops: the request is then freed and may not be used.
 */
typedef void http_request_fn(void *arg);
void http_request_keep(struct http_request *r, msec at_ms, http_request_fn *expired, http_request_fn *gone, void *arg);

struct http_header {
    const char *name, *value;
};

/* Answer and free the request. Content-Length and Date are added. */
void http_reply(struct http_request *take_request, int status, const struct http_header *headers, size_t header_count,
                const char *body, size_t body_len);
/* Answer with "HTTP/1.0 200 OK" and nothing else, then close. */
void http_reply_bare(struct http_request *take_request, int status);

/* "Not Found"; "Unknown" for a number we never send. */
const char *http_reason(int status);
