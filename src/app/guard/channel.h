/*
 * Packets to and from the agent: one answer in hand, never a queue, never a wait.
 *
 * While the answer to a request cannot be sent, no further request is read.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/guard.h"

struct channel {
    int fd;         /* -1: no agent */
    int passed_pid; /* the postmaster whose pidfd this agent has */

    struct guard_msg in; /* the request in hand */
    struct {
        bool due;
        enum guard_kind kind; /* GUARD_STATE or GUARD_REFUSED */
        uint64_t seq;
        char text[GUARD_TEXT_MAX];
    } answer;
    bool state_due; /* something changed */
    bool term_due;
    bool reload_due;
    bool reopen_due;
};

enum channel_result { CHANNEL_NONE, CHANNEL_REQUEST, CHANNEL_BAD, CHANNEL_CLOSED };

void channel_init(struct channel *c);
void channel_open(struct channel *c, int take_fd);
void channel_close(struct channel *c);

/* CHANNEL_REQUEST: a well-formed packet is in c->in. CHANNEL_BAD: it was refused already. */
enum channel_result channel_receive(struct channel *c);

void channel_answer(struct channel *c, uint64_t seq);
void channel_refuse(struct channel *c, uint64_t seq, const char *why);

/* Sends what is due; fill() writes the STATE part. pidfd: of the postmaster state names, or -1. */
void channel_flush(struct channel *c, void (*fill)(struct guard_msg *m, void *arg), void *arg, int pidfd);

/* Something is due that could not be sent: poll for POLLOUT. */
bool channel_blocked(const struct channel *c);
