#include "io/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/check.h"
#include "base/str.h"

enum { MS_PER_S = 1000, NS_PER_MS = 1000 * 1000, ADDRESSES_MAX = 32 };

struct name {
    char *name;
    bool looked_up; /* once at least, with whatever result */
    char *addresses[ADDRESSES_MAX];
    size_t count;
};

struct resolver {
    msec refresh_ms;
    pthread_mutex_t lock; /* guards all that follows; never held during a look-up */
    pthread_cond_t changed;
    bool running; /* the thread exists; it frees the resolver if it is the last */
    bool closing;
    struct name *names;
    size_t count;
};

static void addresses_free(struct name *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->addresses[i]);
    n->count = 0;
}

static void name_free(struct name *n)
{
    addresses_free(n);
    free(n->name);
}

static void destroy(struct resolver *r)
{
    for (size_t i = 0; i < r->count; i++)
        name_free(&r->names[i]);
    free(r->names);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

struct resolver *resolver_new(msec refresh_ms)
{
    struct resolver *r = mem_zero(1, sizeof(*r));
    pthread_condattr_t monotonic;

    CHECK(refresh_ms > 0);
    r->refresh_ms = refresh_ms;
    int failed = pthread_mutex_init(&r->lock, NULL) || pthread_condattr_init(&monotonic) ||
                 pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) || pthread_cond_init(&r->changed, &monotonic);
    CHECK(!failed);
    (void)pthread_condattr_destroy(&monotonic);
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;

    (void)pthread_mutex_lock(&r->lock);
    r->closing = true;
    bool running = r->running;
    (void)pthread_cond_signal(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
    if (!running)
        destroy(r);
}

/* Blocks, possibly for long. */
static void look_up(const char *name, struct name *ret_found)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char address[RESOLVER_ADDRESS_MAX];

    if (getaddrinfo(name, NULL, &hints, &found) != 0)
        return;
    for (const struct addrinfo *at = found; at && ret_found->count < ADDRESSES_MAX; at = at->ai_next) {
        if (getnameinfo(at->ai_addr, at->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) == 0)
            ret_found->addresses[ret_found->count++] = str_dup(address);
    }
    freeaddrinfo(found);
}

static struct name *name_of(const struct resolver *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (str_eq(r->names[i].name, name))
            return &r->names[i];
    }
    return NULL;
}

/* Looks up one name without the lock; the set may have changed meanwhile. */
static void refresh(struct resolver *r, const char *name)
{
    struct name found = {0};

    (void)pthread_mutex_unlock(&r->lock);
    look_up(name, &found);
    (void)pthread_mutex_lock(&r->lock);

    struct name *n = name_of(r, name);
    if (n && found.count > 0) {
        addresses_free(n);
        for (size_t i = 0; i < found.count; i++)
            n->addresses[i] = found.addresses[i];
        n->count = found.count;
        found.count = 0;
    }
    if (n)
        n->looked_up = true;
    addresses_free(&found);
}

/* The next name that has never been looked up. */
static char *name_new(const struct resolver *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (!r->names[i].looked_up)
            return str_dup(r->names[i].name);
    }
    return NULL;
}

static void forget_look_ups(const struct resolver *r)
{
    for (size_t i = 0; i < r->count; i++)
        r->names[i].looked_up = false;
}

static void *resolve(void *arg)
{
    struct resolver *r = arg;

    (void)pthread_mutex_lock(&r->lock);
    while (!r->closing) {
        AUTO(cstr) char *name = name_new(r);
        struct timespec until;

        if (name) {
            refresh(r, name);
            continue;
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += (time_t)(r->refresh_ms / MS_PER_S);
        until.tv_nsec += (long)(r->refresh_ms % MS_PER_S * NS_PER_MS);
        until.tv_sec += until.tv_nsec / ((long)MS_PER_S * NS_PER_MS);
        until.tv_nsec %= (long)MS_PER_S * NS_PER_MS;
        if (pthread_cond_timedwait(&r->changed, &r->lock, &until) != 0)
            forget_look_ups(r);
    }
    (void)pthread_mutex_unlock(&r->lock);
    destroy(r);
    return NULL;
}

/* Under the lock. Signals are for the thread of the loop. Without the thread, names match nothing. */
static void thread_start(struct resolver *r)
{
    pthread_t thread;
    sigset_t all;
    sigset_t old;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &old);
    r->running = pthread_create(&thread, NULL, resolve, r) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r->running) {
        (void)pthread_setname_np(thread, "resolver");
        (void)pthread_detach(thread);
    }
}

static bool same_names(const struct resolver *r, const char *const *names, size_t count)
{
    if (r->count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(r->names[i].name, names[i]))
            return false;
    }
    return true;
}

void resolver_watch(struct resolver *r, const char *const *names, size_t count)
{
    if (count > RESOLVER_NAMES_MAX)
        count = RESOLVER_NAMES_MAX;

    (void)pthread_mutex_lock(&r->lock);
    if (!same_names(r, names, count)) {
        struct name *watched = mem_zero(count + 1, sizeof(*watched));

        for (size_t i = 0; i < count; i++) {
            struct name *known = name_of(r, names[i]);
            if (known && known->name) {
                watched[i] = *known; /* with what is known of it */
                *known = (struct name){0};
            } else {
                watched[i].name = str_dup(names[i]);
            }
        }
        for (size_t i = 0; i < r->count; i++)
            name_free(&r->names[i]);
        free(r->names);
        r->names = watched;
        r->count = count;
        if (!r->running && count > 0)
            thread_start(r);
        (void)pthread_cond_signal(&r->changed);
    }
    (void)pthread_mutex_unlock(&r->lock);
}

bool resolver_has(struct resolver *r, const char *name, const char *address)
{
    bool has = false;

    (void)pthread_mutex_lock(&r->lock);
    const struct name *n = name_of(r, name);
    for (size_t i = 0; n && i < n->count && !has; i++)
        has = str_eq(n->addresses[i], address);
    (void)pthread_mutex_unlock(&r->lock);
    return has;
}

size_t resolver_addresses(struct resolver *r, const char *name, char (*ret_addresses)[RESOLVER_ADDRESS_MAX], size_t max)
{
    size_t count = 0;

    if (resolver_is_address(name) && max) {
        str_copy(ret_addresses[0], RESOLVER_ADDRESS_MAX, name);
        return 1;
    }
    (void)pthread_mutex_lock(&r->lock);
    const struct name *n = name_of(r, name);
    for (; n && count < n->count && count < max; count++)
        str_copy(ret_addresses[count], RESOLVER_ADDRESS_MAX, n->addresses[count]);
    (void)pthread_mutex_unlock(&r->lock);
    return count;
}

bool resolver_is_address(const char *name)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}
