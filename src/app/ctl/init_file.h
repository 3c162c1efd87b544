/*
 * What the writers of configurations share.
 */
#pragma once

#include "base/auto.h"
#include "base/err.h"

/* A new file, mode 0600; one that is there is never overwritten. */
MUST_USE bool init_write_file(const char *path, const char *text, struct err *err);

/* Writes text to file, or to stdout for NULL. Returns the exit status. */
int init_put(const char *file, const char *text);

/* A random password; free() it. */
char *init_password(void);
