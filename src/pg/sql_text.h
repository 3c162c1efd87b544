/*
 * What libpq says, in our terms. Pure.
 */
#pragma once

#include <stdbool.h>

#include "pg/sql.h"

/*
 * A connection's error message, made with PQERRORS_VERBOSE (which shows the SQLSTATE, the only way to learn that
 * of a refused connection): fills sqlstate ("" if there is none) and text (one line, without LOCATION and
 * state).
 */
void sql_read_message(const char *message, char sqlstate[6], char *text, size_t cap);

/* What a refused connection means. needs_password: libpq had none to offer. */
enum sql_status sql_classify_connect(const char *sqlstate, bool needs_password);
