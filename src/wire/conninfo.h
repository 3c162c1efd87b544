/*
 * libpq connection strings of the keyword/value kind, written so that libpq reads back the same (PostgreSQL:
 * fe-connect.c, conninfo_parse). Whether a keyword exists is libpq's business, not ours.
 */
#pragma once

#include "base/buf.h"

/* Appends `key=value`, after a blank if *text is not empty. A NULL value adds nothing, "" adds key=''. */
void conninfo_add(struct buf *text, const char *key, const char *value);
void conninfo_add_int(struct buf *text, const char *key, int value);
