/*
 * A queue from any thread to one loop: the only way threads talk to each other here.
 *
 * Letters of one sender arrive in order. The owner of the mailbox is the thread of its loop: it makes
 * and frees it, and everybody who may still send must be told before that.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/list.h"

struct loop;
struct mailbox;

enum { MAILBOX_MAX = 1024 }; /* letters waiting; more means the loop is stuck and senders must be refused */

struct letter { /* embedded in what is sent */
    struct list link;
};

typedef void mailbox_fn(struct letter *letter, void *arg);

struct mailbox *mailbox_new(struct loop *l, mailbox_fn *fn, void *arg);
/* No letter is delivered afterwards; letters that wait are handed to fn first. Not from inside fn. */
void mailbox_free(struct mailbox *m);
AUTO_DEFINE(mailbox, struct mailbox, mailbox_free)

/* From any thread. false: full, the letter stays the caller's. */
MUST_USE bool mailbox_send(struct mailbox *m, struct letter *letter);
