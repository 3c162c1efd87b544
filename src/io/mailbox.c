#include "io/mailbox.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"

struct mailbox {
    mailbox_fn *fn;
    void *arg;
    bool delivering;
    int fd; /* eventfd: readable while letters wait */
    struct loop_fd *watch;

    pthread_mutex_t lock; /* guards what follows; never held while fn runs */
    struct list letters;
    unsigned int count;
};

/* Hand over what waits now. What fn sends to this mailbox in turn comes with the next turn of the loop. */
static void deliver(struct mailbox *m)
{
    struct list taken;

    list_init(&taken);
    (void)pthread_mutex_lock(&m->lock);
    LIST_EACH (it, tmp, &m->letters) {
        list_remove(it);
        list_add_tail(&taken, it);
    }
    m->count = 0;
    (void)pthread_mutex_unlock(&m->lock);

    m->delivering = true;
    while (!list_empty(&taken)) {
        struct list *first = taken.next;

        list_remove(first);
        m->fn(LIST_ENTRY(first, struct letter, link), m->arg);
    }
    m->delivering = false;
}

static void woken(int fd, unsigned int ready, void *arg)
{
    uint64_t sends;

    (void)ready; /* only reading was asked for */
    /* Emptied before the letters are taken: a letter that comes in between rings again. */
    (void)!read(fd, &sends, sizeof(sends));
    deliver(arg);
}

struct mailbox *mailbox_new(struct loop *l, mailbox_fn *fn, void *arg)
{
    struct mailbox *m = mem_zero(1, sizeof(*m));

    CHECK(fn);
    m->fn = fn;
    m->arg = arg;
    list_init(&m->letters);
    int failed = pthread_mutex_init(&m->lock, NULL);
    CHECK(!failed);
    m->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(m->fd >= 0);
    m->watch = loop_fd_add(l, m->fd, LOOP_READ, woken, m);
    return m;
}

void mailbox_free(struct mailbox *m)
{
    if (!m)
        return;

    CHECK(!m->delivering);
    while (!list_empty(&m->letters))
        deliver(m);
    loop_fd_remove(m->watch);
    (void)close(m->fd);
    (void)pthread_mutex_destroy(&m->lock);
    free(m);
}

bool mailbox_send(struct mailbox *m, struct letter *letter)
{
    const uint64_t one = 1;

    (void)pthread_mutex_lock(&m->lock);
    bool full = m->count >= MAILBOX_MAX;
    if (!full) {
        list_add_tail(&m->letters, &letter->link);
        m->count++;
        /* Cannot fail: the counter is far from its limit. Inside the lock: the mailbox may be freed
         * as soon as its owner has seen the letter. */
        if (m->count == 1)
            (void)!write(m->fd, &one, sizeof(one));
    }
    (void)pthread_mutex_unlock(&m->lock);
    return !full;
}
