/*
 * Argument lists of the programs we run. Pure.
 *
 * A list is a NULL-terminated array on the heap; NULL is the empty list.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"

void argv_add(char ***argv, const char *text);
void argv_add_fmt(char ***argv, const char *fmt, ...) PRINTF_LIKE(2, 3);
int argv_len(char *const *argv);
void argv_free(char **argv);
AUTO_DEFINE(argv, char *, argv_free)

/*
 * Split a command as a POSIX shell would (quotes, backslashes; no expansion), like Python's shlex.split, which
 * Patroni uses. False: unbalanced quotes or no word at all.
 */
MUST_USE bool command_split(const char *command, char ***ret_argv, struct err *err);

/*
 * Options of initdb, pg_basebackup and pg_rewind as Patroni takes them: a list of strings ("data-checksums") and
 * one-key objects ({"encoding": "UTF8"}), or an object. Appends "--name" and "--name=value". A forbidden
 * name or a malformed entry is an error that names it; nothing is appended then. NULL options: nothing to do.
 */
MUST_USE bool tool_options(const char *tool, const json_t *options, const char *const *forbidden, char ***argv,
                           struct err *err);

/* Keys of a custom method's section as "--key=value", without the names in `skip`. Nested values are left out. */
void method_options(const json_t *section, const char *const *skip, char ***argv);
