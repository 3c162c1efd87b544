/*
 * What every process that the guard starts goes through between fork and exec.
 */
#pragma once

#include <stdbool.h>

/* Default dispositions, nothing blocked. */
void spawn_reset_signals(void);

/* Opens path as descriptor fd; false with errno. */
bool spawn_redirect(int fd, const char *path, int flags);

/* Closes every descriptor above 2 except *fd, which may move. */
void spawn_keep_only(int *fd);

/* The guard may have protected itself from the OOM killer; its children have not earned that. "": nothing to undo. */
void spawn_oom_score(const char *score);
