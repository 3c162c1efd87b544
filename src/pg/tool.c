#include "pg/tool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "io/child.h"

enum { TELLING_LINES_MAX = 4 };

bool tool_progress(const char *line, long long *ret_done_bytes, long long *ret_total_bytes)
{
    char *end;

    long long done_kb = strtoll(line, &end, 10);
    if (end == line || *end != '/' || done_kb < 0 || done_kb > INT64_MAX / 1024)
        return false;
    const char *total = end + 1;
    long long total_kb = strtoll(total, &end, 10);
    if (end == total || !str_starts(end, " kB (") || total_kb < 0 || total_kb > INT64_MAX / 1024)
        return false;
    *ret_done_bytes = done_kb * 1024;
    *ret_total_bytes = total_kb * 1024;
    return true;
}

static bool has_word(const char *line, size_t len, const char *word)
{
    const char *at = memmem(line, len, word, strlen(word));

    return at != NULL;
}

/* "pg_basebackup: error: …", "FATAL:  …", and what explains them. */
static bool is_telling(const char *line, size_t len)
{
    static const char *const words[] = {"error:", "fatal:",  "detail:", "hint:",     "ERROR:",       "FATAL:",
                                        "PANIC:", "DETAIL:", "HINT:",   "could not", "unrecognized", "invalid "};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (has_word(line, len, words[i]))
            return true;
    }
    return false;
}

static void add_telling_lines(const char *text, struct buf *out)
{
    int count = 0;

    for (const char *line = text; *line && count < TELLING_LINES_MAX;) {
        size_t len = strcspn(line, "\r\n");
        if (is_telling(line, len)) {
            buf_printf(out, "%s%.*s", out->len ? "; " : "", (int)len, line);
            count++;
        }
        line += len;
        line += strspn(line, "\r\n");
    }
}

bool tool_succeeded(const struct child_result *r, const char *name, struct err *err)
{
    AUTO(buf) struct buf lines = BUF_EMPTY;

    if (child_succeeded(r, name, err))
        return true;
    add_telling_lines(r->errout, &lines);
    if (!lines.len)
        add_telling_lines(r->out, &lines);
    if (!lines.len || r->timed_out)
        return false; /* what child_succeeded said */
    if (r->exited)
        return err_set(err, ERR_PG, "%s: exit %d: %s", name, r->status, buf_cstr(&lines));
    return err_set(err, ERR_PG, "%s: ended by signal %d: %s", name, r->signal, buf_cstr(&lines));
}
