/*
 * Small files that must be whole after a crash: read at once, replaced by rename, folder synced.
 *
 * Synchronous; for configuration, markers and signal files only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"

/* Sync a folder, so that a creation, rename or unlink in it is on disk. */
MUST_USE bool fsync_dir(const char *dir, struct err *err);
/* The same for the folder that path is in. */
MUST_USE bool fsync_parent(const char *path, struct err *err);

/*
 * Write a whole file: temporary name beside it, fsync, rename, fsync of the folder. A symlink is followed, not
 * replaced.
 */
MUST_USE bool file_replace(const char *path, const char *text, size_t len, mode_t mode, struct err *err);
/*
 * As file_replace, but only if the file does not hold this text already (mode is corrected too). ret_changed
 * may be NULL.
 */
MUST_USE bool file_replace_if_changed(const char *path, const char *text, mode_t mode, bool *ret_changed,
                                      struct err *err);
/* The whole file, NUL-terminated (free). ERR_NOT_FOUND when absent; one above max is an error. ret_len may be NULL. */
MUST_USE bool file_read(const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err);
/* The last bytes of a file that grows, at most max, NUL-terminated (free). NULL: unreadable. */
char *file_read_end(const char *path, size_t max);
/* Unlink and sync the folder; absent is fine. */
MUST_USE bool file_remove(const char *path, struct err *err);
bool file_exists(const char *path);

/* mkdir -p; what is missing is made with mode. */
MUST_USE bool dir_make(const char *path, mode_t mode, struct err *err);
