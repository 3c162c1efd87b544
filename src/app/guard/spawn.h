/*
 * What every process that the guard starts goes through between fork and exec.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Default dispositions, nothing blocked. */
void spawn_reset_signals(void);

/* Opens path as descriptor fd; false with errno. */
bool spawn_redirect(int fd, const char *path, int flags);

/* Closes every descriptor above 2 except *fd, which may move. */
void spawn_keep_only(int *fd);

/*
 * What the guard changed about itself, as far as it may, so that a fence is in time on a host without memory or
 * processor to spare. Its children have not earned that: they get back what was before.
 */
struct spawn_origin {
    char oom_score[16]; /* "": not changed */
    uint32_t reniced;
    int32_t nice;
};

void spawn_protect(struct spawn_origin *ret_origin);
void spawn_restore(const struct spawn_origin *origin);
