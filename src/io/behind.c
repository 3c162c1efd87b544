#include "io/behind.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

struct behind {
    behind_fn *fn;
    size_t size;
    atomic_bool busy;
    atomic_int users; /* the owner, and a thread under way: the last one frees it */
    unsigned char what[];
};

static void let_go(struct behind *b)
{
    if (atomic_fetch_sub(&b->users, 1) == 1)
        free(b);
}

static void *thread(void *arg)
{
    struct behind *b = arg;

    b->fn(b->what);
    atomic_store(&b->busy, false);
    let_go(b);
    return NULL;
}

struct behind *behind_new(behind_fn *fn, size_t size)
{
    struct behind *b = mem_zero(1, sizeof(*b) + size);

    b->fn = fn;
    b->size = size;
    atomic_store(&b->users, 1);
    return b;
}

void behind_free(struct behind *b)
{
    if (b)
        let_go(b);
}

bool behind_is_busy(const struct behind *b)
{
    return atomic_load(&b->busy);
}

bool behind_run(struct behind *b, const void *what)
{
    pthread_attr_t attr;
    pthread_t id;

    CHECK(!behind_is_busy(b));
    memcpy(b->what, what, b->size);
    if (pthread_attr_init(&attr) != 0)
        return false;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED); /* of two values one that there is */
    atomic_store(&b->busy, true);
    atomic_fetch_add(&b->users, 1);
    bool runs = pthread_create(&id, &attr, thread, b) == 0;
    if (!runs) {
        atomic_store(&b->busy, false);
        atomic_fetch_sub(&b->users, 1);
    }
    (void)pthread_attr_destroy(&attr);
    return runs;
}
