/*
 * Something small that may block (a file on a disk that hangs), done behind the loop's back, in a thread of its own.
 *
 * One at a time; who is busy is not asked again. Nobody is told of the end. A thread that never comes back keeps what
 * it was given: nothing else hangs on it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct behind;

/* Runs in the thread, on a copy of what behind_run() was given; it may touch nothing else that others do. */
typedef void behind_fn(const void *what);

struct behind *behind_new(behind_fn *fn, size_t size);
/* Does not wait for a thread under way. */
void behind_free(struct behind *b);

bool behind_is_busy(const struct behind *b);
/* Of `size` bytes, copied. Not while it is busy. False: no thread could be had; nothing is done. */
bool behind_run(struct behind *b, const void *what);
