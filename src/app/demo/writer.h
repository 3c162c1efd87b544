/*
 * A client that writes rows and remembers which ones were acknowledged.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

struct writer;

/*
 * conninfo names all nodes and asks for one that accepts writes; passfile holds the password. Connects with
 * the first act.
 */
struct writer *writer_new(const char *conninfo, const char *passfile);
void writer_free(struct writer *w);
AUTO_DEFINE(writer, struct writer, writer_free)

/* Makes the table. */
MUST_USE bool writer_prepare(struct writer *w, struct err *err);
/* One row. True: acknowledged, and remembered. */
MUST_USE bool writer_row(struct writer *w, struct err *err);
/* The first column of the first row as a number. */
MUST_USE bool writer_number(struct writer *w, const char *sql, int64_t *ret_value, struct err *err);

int64_t writer_acknowledged(const struct writer *w);
/* How many acknowledged rows the server that we are connected to does not have. */
MUST_USE bool writer_missing(struct writer *w, int64_t *ret_count, struct err *err);
/*
 * From now on to another server; what was acknowledged stays remembered. Waits until replay has caught up
 * with what the server received.
 */
MUST_USE bool writer_redirect(struct writer *w, const char *conninfo, struct err *err);
