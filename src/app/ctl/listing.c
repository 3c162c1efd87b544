#include "app/ctl/listing.h"

#include <stdlib.h>
#include <string.h>

#include "app/ctl/yaml_out.h"
#include "base/check.h"
#include "base/str.h"
#include "wire/conf/scalar.h"

struct listing *listing_new(void)
{
    struct listing *l = mem_zero(1, sizeof(*l));

    l->rows = json_array();
    return l;
}

void listing_free(struct listing *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->column_count; i++) {
        free(l->columns[i].name);
        free(l->columns[i].shown);
    }
    free(l->columns);
    free(l->title);
    json_decref(l->rows);
    free(l);
}

void listing_column(struct listing *l, const char *name, enum table_align align)
{
    CHECK(l->column_count < LISTING_COLUMNS_MAX);
    l->columns = mem_grow(l->columns, l->column_count + 1, sizeof(*l->columns));
    l->columns[l->column_count++] =
        (struct listing_column){.name = str_dup(name), .shown = str_dup(name), .align = align};
}

enum listing_format listing_format_of(const char *name)
{
    if (str_eq(name, "tsv"))
        return LISTING_TSV;
    if (str_eq(name, "json"))
        return LISTING_JSON;
    if (str_eq(name, "yaml") || str_eq(name, "yml"))
        return LISTING_YAML;
    if (str_eq(name, "topology"))
        return LISTING_TOPOLOGY;
    return LISTING_PRETTY;
}

char *listing_text(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return str_dup(json_string_value(value));
    case JSON_INTEGER:
        return str_fmt("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case JSON_REAL:
        return scalar_float_text(json_real_value(value));
    case JSON_TRUE:
        return str_dup("True");
    case JSON_FALSE:
        return str_dup("False");
    case JSON_NULL:
        return str_dup("None");
    case JSON_OBJECT:
    case JSON_ARRAY: {
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        CHECK(text);
        return text;
    }
    }
    UNREACHABLE();
}

/* Tags are for reading: block YAML where a cell may be tall, one line elsewhere. */
static char *cell_text(const struct listing_column *column, const json_t *value, enum listing_format format)
{
    if (!json_is_object(value) || !str_eq(column->name, "Tags"))
        return listing_text(value);
    if (json_object_size(value) == 0)
        return str_dup("");

    char *text = yaml_text(value, format == LISTING_PRETTY ? YAML_BLOCK : YAML_FLOW);
    size_t len = strlen(text);
    text[len > 0 ? len - 1 : 0] = '\0';
    return text;
}

static void render_table(const struct listing *l, enum listing_format format, bool colour, struct buf *out)
{
    AUTO(table) struct table *t = table_new(l->title);

    for (size_t i = 0; i < l->column_count; i++)
        if (!l->columns[i].hidden)
            table_column(t, l->columns[i].shown, l->columns[i].align);

    for (size_t row_i = 0; row_i < json_array_size(l->rows); row_i++) {
        const json_t *row = json_array_get(l->rows, row_i);
        CHECK(json_array_size(row) == l->column_count);
        for (size_t i = 0; i < l->column_count; i++) {
            if (l->columns[i].hidden)
                continue;
            AUTO(cstr) char *text = cell_text(&l->columns[i], json_array_get(row, i), format);
            table_cell(t, text, l->style ? l->style(l->columns[i].name, text) : TABLE_PLAIN);
        }
    }
    table_render(t, colour, out);
}

static void render_tsv(const struct listing *l, const char *delimiter, struct buf *out)
{
    for (size_t i = 0; i < l->column_count; i++)
        buf_printf(out, "%s%s", i ? delimiter : "", l->columns[i].name);
    if (l->column_count)
        buf_add_char(out, '\n');

    for (size_t row_i = 0; row_i < json_array_size(l->rows); row_i++) {
        const json_t *row = json_array_get(l->rows, row_i);
        CHECK(json_array_size(row) == l->column_count);
        for (size_t i = 0; i < l->column_count; i++) {
            AUTO(cstr) char *text = cell_text(&l->columns[i], json_array_get(row, i), LISTING_TSV);
            buf_printf(out, "%s%s", i ? delimiter : "", text);
        }
        buf_add_char(out, '\n');
    }
}

/* Each row as an object; new reference. */
static json_t *rows_as_objects(const struct listing *l)
{
    json_t *all = json_array();

    for (size_t row_i = 0; row_i < json_array_size(l->rows); row_i++) {
        const json_t *row = json_array_get(l->rows, row_i);
        json_t *object = json_object();
        for (size_t i = 0; i < l->column_count; i++) {
            json_t *value = json_array_get(row, i);
            if (l->skip_empty && json_is_string(value) && json_string_length(value) == 0)
                continue;
            json_object_set(object, l->columns[i].name, value);
        }
        json_array_append_new(all, object);
    }
    return all;
}

static void render_objects(const struct listing *l, enum listing_format format, struct buf *out)
{
    json_t *all = rows_as_objects(l);
    AUTO(cstr) char *text = format == LISTING_YAML ? yaml_text(all, YAML_BLOCK) : json_dumps(all, JSON_ENSURE_ASCII);

    CHECK(text);
    buf_printf(out, "%s\n", text); /* behind YAML that is an empty line, as patronictl leaves one */
    json_decref(all);
}

void listing_render(const struct listing *l, enum listing_format format, const char *delimiter, bool colour,
                    struct buf *out)
{
    switch (format) {
    case LISTING_PRETTY:
    case LISTING_TOPOLOGY:
        render_table(l, format, colour, out);
        return;
    case LISTING_TSV:
        render_tsv(l, delimiter ? delimiter : "\t", out);
        return;
    case LISTING_JSON:
    case LISTING_YAML:
        render_objects(l, format, out);
        return;
    }
    UNREACHABLE();
}
