#include "io/http_server.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "base/trace.h"
#include "io/http_conn.h"
#include "io/http_listen.h"
#include "io/http_tls.h"

enum {
    BACKLOG_MIN = 128,            /* a fleet that checks at the same moment; costs nothing while unused */
    ACCEPT_PAUSE_US = 100 * 1000, /* when the process has no descriptors left: not to spin on accept() */
};

struct listener {
    struct listen_addr addr; /* as asked for: port 0 stays 0 */
    int fd;                  /* -1 once `bound` owns it, or closed */
    struct evhttp_bound_socket *bound;
    struct list link;
};

struct http_server {
    pthread_t thread;
    int port;

    /* Changed by the HTTP thread only, at the word of the thread that starts, reloads and stops: both may read it. */
    struct list listeners;

    /* Of the HTTP thread; before it starts and after it ended, of the other. */
    struct event_base *base;
    struct event *wake, *accept_again;
    struct http_conns conns;
    bool stopping;

    /* Shared. */
    int wake_fd;
    pthread_mutex_t lock; /* guards notes; never held while one runs */
    struct list notes;
};

/* ---- the thread ---- */

void http_server_post(struct http_server *s, struct http_note *note)
{
    const uint64_t one = 1;

    (void)pthread_mutex_lock(&s->lock);
    list_add_tail(&s->notes, &note->link);
    /* Cannot fail: the counter is far from its limit. Inside the lock: the server may end with this note. */
    (void)!write(s->wake_fd, &one, sizeof(one));
    (void)pthread_mutex_unlock(&s->lock);
}

static struct http_note *note_take(struct http_server *s)
{
    struct http_note *note = NULL;

    (void)pthread_mutex_lock(&s->lock);
    if (!list_empty(&s->notes)) {
        note = LIST_ENTRY(s->notes.next, struct http_note, link);
        list_remove(&note->link);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return note;
}

static void woken(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *s = arg;
    struct http_note *note;
    uint64_t posts;

    (void)!read(fd, &posts, sizeof(posts));
    while ((note = note_take(s)))
        note->fn(note);
}

/* A note whose sender waits. */
struct errand {
    struct http_note note;
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool is_over;
};

static void errand_run(struct http_note *note)
{
    struct errand *e = LIST_ENTRY(note, struct errand, note);

    e->fn(e->arg);
    (void)pthread_mutex_lock(&e->lock);
    e->is_over = true;
    (void)pthread_cond_signal(&e->over);
    (void)pthread_mutex_unlock(&e->lock); /* the sender frees it after this */
}

/* Run fn in the HTTP thread and wait for it: as long as the longest handler, which may not block. */
static void in_thread(struct http_server *s, void (*fn)(void *arg), void *arg)
{
    struct errand e = {.note.fn = errand_run, .fn = fn, .arg = arg};

    CHECK(!pthread_equal(pthread_self(), s->thread));
    list_init(&e.note.link);
    int failed = pthread_mutex_init(&e.lock, NULL) || pthread_cond_init(&e.over, NULL);
    CHECK(!failed);
    http_server_post(s, &e.note);
    (void)pthread_mutex_lock(&e.lock);
    while (!e.is_over)
        (void)pthread_cond_wait(&e.over, &e.lock);
    (void)pthread_mutex_unlock(&e.lock);
    (void)pthread_cond_destroy(&e.over);
    (void)pthread_mutex_destroy(&e.lock);
}

/* libevent tells its listeners' error callback nothing of ours. */
static _Thread_local struct http_server *server_of_thread;

static void *thread_main(void *arg)
{
    struct http_server *s = arg;

    server_of_thread = s;
    (void)event_base_dispatch(s->base);
    CHECK(s->stopping);
    woken(s->wake_fd, EV_READ, s); /* what was posted before the end */
    return NULL;
}

/* ---- listeners ---- */

static void accept_resume(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *s = arg;

    LIST_EACH (it, tmp, &s->listeners)
        (void)evconnlistener_enable(evhttp_bound_socket_get_listener(LIST_ENTRY(it, struct listener, link)->bound));
}

/* Out of descriptors, most likely: the connection stays in the backlog, we look again in a moment. */
static void accept_failed(struct evconnlistener *listener, void *arg)
{
    struct timeval pause = {.tv_usec = ACCEPT_PAUSE_US};

    (void)arg; /* evhttp's */
    trace_add("http: accept: %s", strerror(errno));
    (void)evconnlistener_disable(listener);
    (void)event_add(server_of_thread->accept_again, &pause);
}

static void listener_free(struct listener *l)
{
    list_remove(&l->link);
    if (l->fd >= 0)
        (void)close(l->fd);
    free(l);
}

static void listeners_free(struct list *listeners)
{
    LIST_EACH (it, tmp, listeners)
        listener_free(LIST_ENTRY(it, struct listener, link));
}

/* In the HTTP thread, or before it starts. */
static void listeners_bind(struct http_server *s, struct list *opened)
{
    LIST_EACH (it, tmp, opened) {
        struct listener *l = LIST_ENTRY(it, struct listener, link);

        l->bound = evhttp_accept_socket_with_handle(s->conns.http, l->fd);
        CHECK(l->bound);
        l->fd = -1;
        evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(l->bound), accept_failed);
        list_remove(it);
        list_add_tail(&s->listeners, it);
    }
}

/* In the HTTP thread: close its socket. */
static void listener_unbind(struct http_server *s, struct listener *l)
{
    evhttp_del_accept_socket(s->conns.http, l->bound);
    l->bound = NULL;
    list_remove(&l->link);
}

/* What an operator's hosts come to. */
struct wanted {
    struct listen_addr addrs[LISTEN_ADDRS_MAX];
    size_t count;
    int backlog;
};

static bool wanted_read(const struct http_server_conf *conf, struct wanted *ret_wanted, struct err *err)
{
    ret_wanted->backlog = conf->backlog > BACKLOG_MIN ? conf->backlog : BACKLOG_MIN;
    return listen_resolve(conf->hosts, conf->port, ret_wanted->addrs, ARRAY_LEN(ret_wanted->addrs), &ret_wanted->count,
                          err);
}

static bool is_wanted(const struct wanted *w, const struct listener *l)
{
    for (size_t i = 0; i < w->count; i++) {
        if (listen_addr_eq(&w->addrs[i], &l->addr))
            return true;
    }
    return false;
}

static bool is_open(const struct http_server *s, const struct listen_addr *addr)
{
    LIST_EACH (it, tmp, &s->listeners) {
        if (listen_addr_eq(&LIST_ENTRY(it, struct listener, link)->addr, addr))
            return true;
    }
    return false;
}

static bool listener_open(const struct listen_addr *addr, int backlog, struct list *opened, struct err *err)
{
    int fd;

    if (!listen_open(addr, backlog, &fd, err))
        return false;

    struct listener *l = mem_zero(1, sizeof(*l));
    *l = (struct listener){.addr = *addr, .fd = fd};
    list_init(&l->link);
    list_add_tail(opened, &l->link);
    return true;
}

/*
 * Open what is wanted and not open yet. Of a host with several addresses one is enough, if the others
 * are such that this machine does not have. On failure nothing is left open.
 */
static bool listeners_open(const struct http_server *s, const struct wanted *w, struct list *opened, struct err *err)
{
    for (size_t i = 0; i < w->count;) {
        unsigned int host_i = w->addrs[i].host_i;
        bool had = false;

        for (; i < w->count && w->addrs[i].host_i == host_i; i++) {
            if (is_open(s, &w->addrs[i]) || listener_open(&w->addrs[i], w->backlog, opened, err)) {
                had = true;
            } else if (!listen_is_absent(err)) {
                listeners_free(opened);
                return false;
            }
        }
        if (!had) {
            listeners_free(opened);
            return false;
        }
    }
    return true;
}

/* ---- start, reload, stop ---- */

/* libevent's warnings would go to stderr, which is the operator's. */
static void libevent_says(int severity, const char *text)
{
    trace_add("http: libevent: %s", text);
}

static void libevent_hush(void)
{
    event_set_log_callback(libevent_says);
}

static struct http_server *server_new(http_handler_fn *handler, void *arg)
{
    static pthread_once_t hushed = PTHREAD_ONCE_INIT;
    struct http_server *s = mem_zero(1, sizeof(*s));

    (void)pthread_once(&hushed, libevent_hush);
    list_init(&s->listeners);
    list_init(&s->notes);
    int failed = pthread_mutex_init(&s->lock, NULL);
    CHECK(!failed);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->base = event_base_new();
    CHECK(s->wake_fd >= 0 && s->base);
    s->wake = event_new(s->base, s->wake_fd, EV_READ | EV_PERSIST, woken, s);
    s->accept_again = evtimer_new(s->base, accept_resume, s);
    CHECK(s->wake && s->accept_again);
    (void)event_add(s->wake, NULL);
    http_conns_init(&s->conns, s->base, handler, arg);
    return s;
}

/* The thread does not run. */
static void server_free(struct http_server *s)
{
    http_conns_deinit(&s->conns); /* closes the listening sockets too */
    listeners_free(&s->listeners);
    event_free(s->wake);
    event_free(s->accept_again);
    event_base_free(s->base);
    (void)close(s->wake_fd);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Signals are for the thread of the loop, which reads them from a descriptor; SIGPIPE is for nobody. */
static bool thread_start(struct http_server *s, struct err *err)
{
    sigset_t all;
    sigset_t old;

    (void)sigfillset(&all);
    int failed = pthread_sigmask(SIG_BLOCK, &all, &old);
    CHECK(!failed);
    failed = pthread_create(&s->thread, NULL, thread_main, s);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed)
        return err_sys(err, failed, "starting the HTTP thread");
    (void)pthread_setname_np(s->thread, "http"); /* for people with top and gdb */
    return true;
}

bool http_server_start(const struct http_server_conf *conf, http_handler_fn *handler, void *arg,
                       struct http_server **ret_server, struct err *err)
{
    struct err ours; /* its code decides, also when the caller wants no text */
    struct list opened;
    struct wanted wanted;
    SSL_CTX *tls = NULL;

    CHECK(handler);
    if (!err)
        err = &ours;
    if (!wanted_read(conf, &wanted, err))
        return false;
    if (conf->tls.certfile && !http_tls_context(&conf->tls, &tls, err))
        return false;

    struct http_server *s = server_new(handler, arg);
    list_init(&opened);
    http_conns_configure(&s->conns, tls, &conf->limits);
    if (!listeners_open(s, &wanted, &opened, err)) {
        server_free(s);
        return false;
    }

    struct listen_addr first = {.at_len = sizeof(first.at)};
    void *at = &first.at;
    int failed = getsockname(LIST_ENTRY(opened.next, struct listener, link)->fd, at, &first.at_len);
    CHECK(!failed);
    s->port = listen_addr_port(&first);
    listeners_bind(s, &opened);
    if (!thread_start(s, err)) {
        server_free(s);
        return false;
    }
    *ret_server = s;
    return true;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

struct change {
    struct http_server *server;
    const struct wanted *wanted;
    struct list opened; /* listeners to take up */
    struct list closed; /* listeners that were let go */
    bool only_ports;    /* let go only those whose port is wanted elsewhere */
    SSL_CTX *tls;
    const struct http_limits *limits;
};

/* In the HTTP thread: let go of what is not wanted any more. */
static void change_let_go(struct change *change)
{
    struct http_server *s = change->server;

    LIST_EACH (it, tmp, &s->listeners) {
        struct listener *l = LIST_ENTRY(it, struct listener, link);
        bool rival = !change->only_ports;

        if (is_wanted(change->wanted, l))
            continue;
        for (size_t i = 0; i < change->wanted->count && !rival; i++)
            rival = listen_addr_port(&change->wanted->addrs[i]) == listen_addr_port(&l->addr);
        if (rival) {
            listener_unbind(s, l);
            list_add_tail(&change->closed, &l->link);
        }
    }
}

static void change_clear_way(void *arg)
{
    struct change *change = arg;

    change->only_ports = true;
    change_let_go(change);
}

static void change_take_up(void *arg)
{
    struct change *change = arg;

    listeners_bind(change->server, &change->opened);
}

static void change_apply(void *arg)
{
    struct change *change = arg;
    struct http_server *s = change->server;

    listeners_bind(s, &change->opened);
    change->only_ports = false;
    change_let_go(change);
    http_conns_configure(&s->conns, change->tls, change->limits);
}

/*
 * The new address cannot be had beside an old one of the same port (0.0.0.0 after 127.0.0.1): close
 * the old ones first, and if it was not that, open them again. *err is why the first try failed.
 */
static bool reopen(struct change *change, struct err *err)
{
    struct http_server *s = change->server;
    struct err again;

    in_thread(s, change_clear_way, change);
    if (list_empty(&change->closed))
        return false;
    if (listeners_open(s, change->wanted, &change->opened, err))
        return true;

    LIST_EACH (it, tmp, &change->closed) {
        const struct listener *l = LIST_ENTRY(it, struct listener, link);
        if (!listener_open(&l->addr, change->wanted->backlog, &change->opened, &again))
            (void)err_wrap(err, "%s (it was given up for the new one)", again.text);
    }
    in_thread(s, change_take_up, change);
    listeners_free(&change->closed);
    return false;
}

bool http_server_reload(struct http_server *s, const struct http_server_conf *conf, struct err *err)
{
    struct err ours; /* its code decides, also when the caller wants no text */
    struct wanted wanted;
    struct change change = {.server = s, .wanted = &wanted, .limits = &conf->limits};

    if (!err)
        err = &ours;
    list_init(&change.opened);
    list_init(&change.closed);
    if (!wanted_read(conf, &wanted, err))
        return false;
    if (conf->tls.certfile && !http_tls_context(&conf->tls, &change.tls, err))
        return false;
    if (!listeners_open(s, &wanted, &change.opened, err) &&
        !(err->code == ERR_SYS && err->sys_errno == EADDRINUSE && reopen(&change, err))) {
        SSL_CTX_free(change.tls);
        return false;
    }

    in_thread(s, change_apply, &change);
    listeners_free(&change.closed);
    return true;
}

static void end(void *arg)
{
    struct http_server *s = arg;

    s->stopping = true;
    (void)event_base_loopbreak(s->base);
}

void http_server_stop(struct http_server *s)
{
    if (!s)
        return;

    in_thread(s, end, s);
    (void)pthread_join(s->thread, NULL);
    server_free(s);
}
