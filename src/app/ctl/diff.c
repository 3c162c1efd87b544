#include "app/ctl/diff.h"

#include <stdint.h>
#include <string.h>

#include "base/auto.h"
#include "base/str.h"

enum {
    DIFF_CONTEXT = 3,
    DIFF_CELLS_MAX =
        16 * 1024 * 1024, /* of the table below: texts of 4,000 lines each; above, all lines count as changed */
};

struct line {
    const char *at;
    size_t len;
};

struct lines {
    struct line *at;
    size_t count;
};

/* One line of the result: ' ' both, '-' only before, '+' only after. */
struct edit {
    char kind;
    struct line line;
};

struct edits {
    struct edit *at;
    size_t count;
};

/* The last newline ends the last line; it does not begin an empty one. */
static struct lines lines_split(const char *text)
{
    struct lines lines = {0};

    while (*text) {
        size_t len = strcspn(text, "\n");
        lines.at = mem_grow(lines.at, lines.count + 1, sizeof(*lines.at));
        lines.at[lines.count++] = (struct line){text, len};
        text += len;
        text += *text == '\n';
    }
    return lines;
}

static bool line_eq(struct line a, struct line b)
{
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

static void edits_add(struct edits *e, char kind, struct line line)
{
    e->at[e->count++] = (struct edit){kind, line};
}

/*
 * Longest common subsequence by the classical table: length[i][j] is the best for the tails from i and
 * j on, so that walking forward through it yields the lines in order.
 */
static void edits_between(const struct line *a, size_t a_count, const struct line *b, size_t b_count, struct edits *e)
{
    size_t width = b_count + 1;
    bool fits = (a_count + 1) <= DIFF_CELLS_MAX / width;
    uint32_t *length = fits ? mem_zero((a_count + 1) * width, sizeof(*length)) : NULL;

    for (size_t i = fits ? a_count : 0; i-- > 0;)
        for (size_t j = b_count; j-- > 0;) {
            uint32_t down = length[(i + 1) * width + j];
            uint32_t right = length[i * width + j + 1];
            length[i * width + j] = line_eq(a[i], b[j]) ? length[(i + 1) * width + j + 1] + 1
                                    : down > right      ? down
                                                        : right;
        }

    size_t i = 0, j = 0;
    while (i < a_count || j < b_count) {
        if (fits && i < a_count && j < b_count && line_eq(a[i], b[j])) {
            edits_add(e, ' ', a[i++]);
            j++;
        } else if (i < a_count && (!fits || j == b_count || length[(i + 1) * width + j] >= length[i * width + j + 1])) {
            edits_add(e, '-', a[i++]);
        } else {
            edits_add(e, '+', b[j++]);
        }
    }
    free(length);
}

/* Equal heads and tails are cut off first: most changes of a configuration are a line or two. */
static struct edits edits_of(const struct lines *a, const struct lines *b)
{
    struct edits e = {.at = mem_zero(a->count + b->count, sizeof(*e.at))};
    size_t head = 0, tail = 0;

    while (head < a->count && head < b->count && line_eq(a->at[head], b->at[head]))
        head++;
    while (tail < a->count - head && tail < b->count - head &&
           line_eq(a->at[a->count - 1 - tail], b->at[b->count - 1 - tail]))
        tail++;

    for (size_t i = 0; i < head; i++)
        edits_add(&e, ' ', a->at[i]);
    edits_between(a->at + head, a->count - head - tail, b->at + head, b->count - head - tail, &e);
    for (size_t i = a->count - tail; i < a->count; i++)
        edits_add(&e, ' ', a->at[i]);
    return e;
}

static void render_range(struct buf *out, char sign, size_t first, size_t count)
{
    if (count == 1)
        buf_printf(out, "%c%zu", sign, first + 1);
    else
        buf_printf(out, "%c%zu,%zu", sign, count ? first + 1 : first, count);
}

static void render_line(struct buf *out, bool colour, char kind, const char *text, size_t len)
{
    const char *start = !colour || kind == ' ' ? "" : kind == '-' ? "\033[31m" : kind == '+' ? "\033[32m" : "\033[36m";

    buf_add_str(out, start);
    if (kind != '@')
        buf_add_char(out, kind);
    buf_add(out, text, len);
    buf_printf(out, "%s\n", *start ? "\033[0m" : "");
}

/* The hunk of edits [from, to); a_line and b_line are the lines before it on each side. */
static void render_hunk(const struct edits *e, size_t from, size_t to, size_t a_line, size_t b_line, bool colour,
                        struct buf *out)
{
    AUTO(buf) struct buf head = BUF_EMPTY;
    size_t a_count = 0, b_count = 0;

    for (size_t i = from; i < to; i++) {
        a_count += e->at[i].kind != '+';
        b_count += e->at[i].kind != '-';
    }
    buf_add_str(&head, "@@ ");
    render_range(&head, '-', a_line, a_count);
    buf_add_char(&head, ' ');
    render_range(&head, '+', b_line, b_count);
    buf_add_str(&head, " @@");

    render_line(out, colour, '@', head.at, head.len);
    for (size_t i = from; i < to; i++)
        render_line(out, colour, e->at[i].kind, e->at[i].line.at, e->at[i].line.len);
}

/* Index of the next change at or after i; count if there is none. */
static size_t next_change(const struct edits *e, size_t i)
{
    while (i < e->count && e->at[i].kind == ' ')
        i++;
    return i;
}

static void render_hunks(const struct edits *e, bool colour, struct buf *out)
{
    size_t a_line = 0, b_line = 0, seen = 0;

    for (size_t change = next_change(e, 0); change < e->count;) {
        size_t from = change > DIFF_CONTEXT ? change - DIFF_CONTEXT : 0;
        size_t to = change;

        /* Changes that share their context belong to one hunk. */
        for (size_t next = change; next < e->count && next <= to + 2 * DIFF_CONTEXT + 1;
             next = next_change(e, next + 1))
            to = next;
        size_t after = to + 1;
        to = to + 1 + DIFF_CONTEXT < e->count ? to + 1 + DIFF_CONTEXT : e->count;

        for (; seen < from; seen++) {
            a_line += e->at[seen].kind != '+';
            b_line += e->at[seen].kind != '-';
        }
        render_hunk(e, from, to, a_line, b_line, colour, out);
        change = next_change(e, after);
    }
}

void diff_unified(const char *before, const char *after, bool colour, struct buf *out)
{
    struct lines a = lines_split(before);
    struct lines b = lines_split(after);
    struct edits e = edits_of(&a, &b);

    if (next_change(&e, 0) < e.count) {
        render_line(out, colour, '-', "-- ", 3);
        render_line(out, colour, '+', "++ ", 3);
        render_hunks(&e, colour, out);
    }
    free(e.at);
    free(a.at);
    free(b.at);
}
