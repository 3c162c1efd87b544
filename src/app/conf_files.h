/*
 * The files of a configuration, read into memory for settings_read().
 *
 * A path is one file, or a folder whose *.yml and *.yaml files count in sorted order (as Patroni takes them).
 */
#pragma once

#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"
#include "wire/conf/settings.h"

struct conf_files {
    struct conf_source *at; /* path and text are owned here */
    size_t count;
};

/* Errors name the file. A file larger than a configuration can be is refused. */
MUST_USE bool conf_files_read(const char *path, struct conf_files *ret_files, struct err *err);
/* The descriptor itself: /dev/stdin cannot be opened by who got it from another user (su, sudo). */
MUST_USE bool conf_files_read_stdin(struct conf_files *ret_files, struct err *err);
void conf_files_deinit(struct conf_files *f);

static inline UNUSED void conf_files_freep(struct conf_files *f)
{
    conf_files_deinit(f);
}
