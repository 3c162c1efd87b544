#include "app/ctl/table.h"

#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

struct column {
    char *name;
    enum table_align align;
};

struct cell {
    char *text;
    enum table_style style;
};

struct table {
    char *title;
    struct column *columns;
    size_t column_count;
    struct cell *cells;
    size_t cell_count;
};

struct table *table_new(const char *title)
{
    struct table *t = mem_zero(1, sizeof(*t));

    t->title = str_dup(title);
    return t;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->column_count; i++)
        free(t->columns[i].name);
    for (size_t i = 0; i < t->cell_count; i++)
        free(t->cells[i].text);
    free(t->columns);
    free(t->cells);
    free(t->title);
    free(t);
}

void table_column(struct table *t, const char *name, enum table_align align)
{
    CHECK(t->cell_count == 0);
    t->columns = mem_grow(t->columns, t->column_count + 1, sizeof(*t->columns));
    t->columns[t->column_count++] = (struct column){.name = str_dup(name), .align = align};
}

void table_cell(struct table *t, const char *text, enum table_style style)
{
    CHECK(t->column_count > 0);
    t->cells = mem_grow(t->cells, t->cell_count + 1, sizeof(*t->cells));
    t->cells[t->cell_count++] = (struct cell){.text = str_dup(text), .style = style};
}

/* One character of UTF-8; a byte that starts none counts as a character of its own. */
static size_t take_char(const char *at, uint32_t *ret_char)
{
    static const unsigned char lead_mask[] = {0x7f, 0x1f, 0x0f, 0x07};
    unsigned char lead = (unsigned char)*at;
    size_t len = lead < 0x80             ? 1
                 : (lead & 0xe0) == 0xc0 ? 2
                 : (lead & 0xf0) == 0xe0 ? 3
                 : (lead & 0xf8) == 0xf0 ? 4
                                         : 0;
    uint32_t value = len ? lead & lead_mask[len - 1] : 0;

    for (size_t i = 1; i < len; i++) {
        unsigned char next = (unsigned char)at[i];
        if ((next & 0xc0) != 0x80)
            len = 0;
        else
            value = value << 6 | (next & 0x3f);
    }
    *ret_char = len ? value : 0xfffd;
    return len ? len : 1;
}

/* What wcwidth() says under a UTF-8 locale, for the ranges that matter; independent of the locale. */
static size_t char_width(uint32_t c)
{
    if (c < 0x20 || c == 0x7f || (c >= 0x300 && c <= 0x36f) || (c >= 0x200b && c <= 0x200f) || c == 0xfeff)
        return 0;
    if ((c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
        (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
        (c >= 0xffe0 && c <= 0xffe6) || (c >= 0x1f300 && c <= 0x1f64f) || (c >= 0x20000 && c <= 0x3fffd))
        return 2;
    return 1;
}

static size_t line_width(const char *line, size_t len)
{
    size_t width = 0;

    for (size_t i = 0; i < len;) {
        uint32_t c;
        i += take_char(line + i, &c);
        width += char_width(c);
    }
    return width;
}

size_t text_width(const char *text)
{
    size_t widest = 0;

    for (const char *at = text;;) {
        size_t len = strcspn(at, "\n");
        size_t width = line_width(at, len);
        widest = width > widest ? width : widest;
        if (!at[len])
            return widest;
        at += len + 1;
    }
}

static size_t column_width(const struct table *t, size_t column)
{
    size_t widest = text_width(t->columns[column].name);

    for (size_t i = column; i < t->cell_count; i += t->column_count) {
        size_t width = text_width(t->cells[i].text);
        widest = width > widest ? width : widest;
    }
    return widest;
}

static void render_rule(const struct table *t, const size_t *widths, struct buf *out)
{
    for (size_t i = 0; i < t->column_count; i++) {
        buf_add_char(out, '+');
        for (size_t k = 0; k < widths[i] + 2; k++)
            buf_add_char(out, '-');
    }
    buf_add_str(out, "+\n");
}

/* The title replaces the rule after its first '+', and never its last one. */
static void render_top(const struct table *t, const size_t *widths, struct buf *out)
{
    AUTO(buf) struct buf rule = BUF_EMPTY;
    size_t title_len = t->title ? strlen(t->title) : 0;

    render_rule(t, widths, &rule);
    size_t rule_len = rule.len - 1; /* without the newline */
    size_t title_max = rule_len >= 2 ? rule_len - 2 : 0;

    if (title_len > title_max)
        title_len = title_max;
    buf_add(out, rule.at, 1);
    buf_add(out, t->title, title_len);
    buf_add_str(out, rule.at + 1 + title_len);
}

static const char *style_start(enum table_style style)
{
    switch (style) {
    case TABLE_PLAIN:
        return "";
    case TABLE_STRONG:
        return "\033[1m";
    case TABLE_GOOD:
        return "\033[32m";
    case TABLE_WARN:
        return "\033[33m";
    case TABLE_BAD:
        return "\033[31m";
    }
    UNREACHABLE();
}

static void render_field(const char *text, size_t len, size_t width, enum table_align align, enum table_style style,
                         struct buf *out)
{
    size_t pad = width - line_width(text, len);

    buf_add_str(out, "| ");
    for (size_t i = 0; align == TABLE_RIGHT && i < pad; i++)
        buf_add_char(out, ' ');
    if (len)
        buf_add_str(out, style_start(style));
    buf_add(out, text, len);
    if (len && style != TABLE_PLAIN)
        buf_add_str(out, "\033[0m");
    for (size_t i = 0; align == TABLE_LEFT && i < pad; i++)
        buf_add_char(out, ' ');
    buf_add_char(out, ' ');
}

/* Line `line_i` of a cell; nothing where the cell has fewer lines. */
static const char *cell_line(const char *text, size_t line_i, size_t *ret_len)
{
    for (; line_i > 0; line_i--) {
        text = strchr(text, '\n');
        if (!text) {
            *ret_len = 0;
            return "";
        }
        text++;
    }
    *ret_len = strcspn(text, "\n");
    return text;
}

static size_t line_count(const char *text)
{
    size_t count = 1;

    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void render_row(const struct table *t, const size_t *widths, const struct cell *row, bool colour,
                       struct buf *out)
{
    size_t lines = 1;

    for (size_t i = 0; i < t->column_count; i++) {
        size_t count = line_count(row[i].text);
        lines = count > lines ? count : lines;
    }
    for (size_t line_i = 0; line_i < lines; line_i++) {
        for (size_t i = 0; i < t->column_count; i++) {
            size_t len;
            const char *text = cell_line(row[i].text, line_i, &len);
            render_field(text, len, widths[i], t->columns[i].align, colour ? row[i].style : TABLE_PLAIN, out);
        }
        buf_add_str(out, "|\n");
    }
}

static bool has_tall_cell(const struct table *t)
{
    for (size_t i = 0; i < t->cell_count; i++)
        if (strchr(t->cells[i].text, '\n'))
            return true;
    return false;
}

void table_render(const struct table *t, bool colour, struct buf *out)
{
    CHECK(t->column_count > 0);
    CHECK(t->cell_count % t->column_count == 0);
    size_t *widths = mem_zero(t->column_count, sizeof(*widths));
    bool rules = has_tall_cell(t);

    for (size_t i = 0; i < t->column_count; i++)
        widths[i] = column_width(t, i);

    render_top(t, widths, out);
    for (size_t i = 0; i < t->column_count; i++)
        render_field(t->columns[i].name, strlen(t->columns[i].name), widths[i], t->columns[i].align, TABLE_PLAIN, out);
    buf_add_str(out, "|\n");
    render_rule(t, widths, out);

    size_t row_count = t->cell_count / t->column_count;
    for (size_t i = 0; i < row_count; i++) {
        render_row(t, widths, &t->cells[i * t->column_count], colour, out);
        if (rules && i + 1 < row_count)
            render_rule(t, widths, out);
    }
    render_rule(t, widths, out); /* below an empty table too, as patronictl draws it */
    free(widths);
}
