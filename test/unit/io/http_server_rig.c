#include "http_server_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "test/lib/http_peer.h"

enum {
    KEEP_MS = 60 * 1000,
    US_PER_MS = 1000,
    BIG_REPLY = 8 * 1024 * 1024, /* more than the kernel takes off our hands (tcp_wmem) */
};

struct server_seen server_seen;
struct http_server *server_current;

struct later {
    struct http_note note;
    struct http_server *server;
    struct http_request *request;
    pthread_t thread;
};

static void reply_text(struct http_request *r, int status, const char *text)
{
    const struct http_header type = {"Content-Type", "text/plain"};

    http_reply(r, status, &type, 1, text, strlen(text));
}

static void on_expired(void *arg)
{
    atomic_fetch_add(&server_seen.expired, 1);
    reply_text(arg, 503, "expired");
}

static void on_gone(void *arg)
{
    (void)arg;
    atomic_fetch_add(&server_seen.gone, 1);
}

static void later_answer(struct http_note *note)
{
    struct later *later = LIST_ENTRY(note, struct later, note);

    reply_text(later->request, 200, "later");
    atomic_fetch_add(&server_seen.answered, 1);
    free(later);
}

static void *later_work(void *arg)
{
    struct later *later = arg;

    (void)usleep(SOON_MS * US_PER_MS);
    http_server_post(later->server, &later->note);
    return NULL;
}

static void echo(struct http_request *r)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"};
    struct buf text = BUF_EMPTY;
    size_t len;
    const char *body = http_request_body(r, &len);
    const char *cert = http_request_client_cert(r);

    buf_printf(&text, "%s %s ?%s", methods[http_request_method(r)], http_request_path(r), http_request_query(r));
    buf_printf(&text, " peer=%s cert=%s len=%zu body=%.*s", http_request_peer(r), cert ? cert : "none", len,
               (int)(len < 32 ? len : 32), body);
    reply_text(r, 200, buf_cstr(&text));
    buf_deinit(&text);
}

void server_handle(struct http_request *r, void *arg)
{
    const char *path = http_request_path(r);

    (void)arg;
    if (str_eq(path, "/bare")) {
        http_reply_bare(r, 503);
    } else if (str_eq(path, "/later")) {
        struct later *later = mem_zero(1, sizeof(*later));
        *later = (struct later){.note.fn = later_answer, .server = server_current, .request = r};
        list_init(&later->note.link);
        http_request_keep(r, loop_clock_ms() + KEEP_MS, on_expired, on_gone, r);
        atomic_fetch_add(&server_seen.kept, 1);
        int failed = pthread_create(&later->thread, NULL, later_work, later);
        CHECK(!failed);
        (void)pthread_detach(later->thread);
    } else if (str_eq(path, "/slow")) {
        http_request_keep(r, loop_clock_ms() + SOON_MS, on_expired, on_gone, r);
        atomic_fetch_add(&server_seen.kept, 1);
    } else if (str_eq(path, "/never")) {
        http_request_keep(r, loop_clock_ms() + KEEP_MS, on_expired, on_gone, r);
        atomic_fetch_add(&server_seen.kept, 1);
    } else if (str_eq(path, "/big")) {
        static const char big[BIG_REPLY];
        http_reply(r, 200, NULL, 0, big, sizeof(big));
    } else {
        echo(r);
    }
}

const struct http_server_conf server_plain = {.hosts = "127.0.0.1", .limits = HTTP_LIMITS_DEFAULT};

int server_start(const struct http_server_conf *conf)
{
    struct err err;

    CHECK(!server_current);
    memset(&server_seen, 0, sizeof(server_seen));
    if (!http_server_start(conf, server_handle, NULL, &server_current, &err))
        fail_msg("%s", err.text);
    return http_server_port(server_current);
}

int server_stop(void **state)
{
    (void)state;
    http_server_stop(TAKE(server_current));
    return 0;
}

struct http_server_conf server_with_tls(const struct tls_files *t, enum http_verify verify)
{
    struct http_server_conf conf = server_plain;

    conf.tls = (struct http_tls){.certfile = t->cert, .keyfile = t->key, .cafile = t->ca, .verify = verify};
    return conf;
}

void seen_wait(atomic_int *count, int at_least)
{
    for (int i = 0; atomic_load(count) < at_least && i < WAIT_MS; i++)
        (void)usleep(US_PER_MS);
    assert_int_equal(atomic_load(count), at_least);
}

void assert_works(int port)
{
    struct peer_answer a = peer_ask_once(&(struct peer_request){.port = port, .path = "/"});

    assert_int_equal(a.status, 200);
    peer_answer_deinit(&a);
}

void server_reload(const struct http_server_conf *conf)
{
    struct err err;

    if (!http_server_reload(server_current, conf, &err))
        fail_msg("%s", err.text);
}
