/*
 * Rows for people and for programs: the formats that patronictl prints.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "app/ctl/table.h"
#include "base/auto.h"
#include "base/buf.h"

enum listing_format { LISTING_PRETTY, LISTING_TSV, LISTING_JSON, LISTING_YAML, LISTING_TOPOLOGY };

#define LISTING_FORMATS "pretty|tsv|json|yaml|yml|topology"

enum { LISTING_COLUMNS_MAX = 1700 }; /* PostgreSQL's limit of a result is 1664 */

struct listing_column {
    char *name;  /* for programs */
    char *shown; /* in tables */
    enum table_align align;
    bool hidden; /* left out of tables */
};

struct listing {
    struct listing_column *columns;
    size_t column_count;
    json_t *rows;    /* array of arrays, as long as there are columns */
    char *title;     /* over tables; NULL: none */
    bool skip_empty; /* json, yaml: a field whose text is empty is left out */
    enum table_style (*style)(const char *column, const char *text); /* NULL: plain */
};

struct listing *listing_new(void);
void listing_free(struct listing *l);
AUTO_DEFINE(listing, struct listing, listing_free)

void listing_column(struct listing *l, const char *name, enum table_align align);

/* One of LISTING_FORMATS. */
enum listing_format listing_format_of(const char *name);

/* delimiter NULL: a tabulator. */
void listing_render(const struct listing *l, enum listing_format format, const char *delimiter, bool colour,
                    struct buf *out);

/* A value as Python prints it: True, None, 0.5, text. free() it. */
char *listing_text(const json_t *value);
