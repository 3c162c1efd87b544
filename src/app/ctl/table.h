/*
 * Tables with a frame, in the look of patronictl: the title runs over the top line.
 *
 * A cell may have several lines; then every row gets a rule below it. Widths count columns of the
 * terminal, not bytes. Style never changes the layout: it is a colour for people at a terminal.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/buf.h"

enum table_align { TABLE_LEFT, TABLE_RIGHT };
enum table_style { TABLE_PLAIN, TABLE_STRONG, TABLE_GOOD, TABLE_WARN, TABLE_BAD };

struct table;

struct table *table_new(const char *title); /* NULL: no title */
void table_free(struct table *t);
AUTO_DEFINE(table, struct table, table_free)

/* All columns before the first cell. */
void table_column(struct table *t, const char *name, enum table_align align);
/* Row by row, left to right. */
void table_cell(struct table *t, const char *text, enum table_style style);

void table_render(const struct table *t, bool colour, struct buf *out);

/* Columns that `text` takes on a terminal (the widest of its lines). */
size_t text_width(const char *text);
