#include "pg/history.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

/* "tli<blank>X/X<blank>reason" of one line, without its end. */
static bool entry_parse(const char *line, size_t len, struct history_entry *ret_entry)
{
    AUTO(cstr) char *text = str_fmt("%.*s", (int)len, line);
    char *save = NULL;
    int64_t tli;
    lsn at;

    char *first = strtok_r(text, " \t", &save);
    char *second = strtok_r(NULL, " \t", &save);
    if (!str_to_int(first, 1, UINT32_MAX, &tli) || !second || !lsn_parse(second, &at))
        return false;

    const char *reason = save ? save : "";
    while (isspace((unsigned char)*reason))
        reason++;
    *ret_entry = (struct history_entry){.tli = (uint32_t)tli, .switch_at = at, .reason = str_dup(reason)};
    return true;
}

static bool is_comment(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isspace((unsigned char)line[i]))
            return line[i] == '#';
    }
    return true;
}

bool history_parse(uint32_t tli, const char *text, struct history **ret_history, struct err *err)
{
    AUTO(history) struct history *h = mem_zero(1, sizeof(*h));

    h->tli = tli;
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\r\n");
        if (!is_comment(line, len)) {
            struct history_entry entry;
            if (!entry_parse(line, len, &entry))
                return err_set(err, ERR_INPUT, "history of timeline %u: malformed line \"%.*s\"", tli,
                               (int)(len < 80 ? len : 80), line);
            h->at = mem_grow(h->at, h->count + 1, sizeof(*h->at));
            h->at[h->count++] = entry;
            if (h->count > HISTORY_MAX)
                return err_set(err, ERR_INPUT, "history of timeline %u: too long", tli);
            uint32_t before = h->count > 1 ? h->at[h->count - 2].tli : 0;
            if (entry.tli <= before || entry.tli >= tli)
                return err_set(err, ERR_INPUT, "history of timeline %u: timeline %u out of order", tli, entry.tli);
        }
        line += len;
        line += strspn(line, "\r\n");
    }
    *ret_history = TAKE(h);
    return true;
}

void history_free(struct history *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->count; i++)
        free(h->at[i].reason);
    free(h->at);
    free(h);
}

bool history_switch_point(const struct history *h, uint32_t tli, lsn *ret_switch_at)
{
    for (size_t i = 0; i < h->count; i++) {
        if (h->at[i].tli == tli) {
            *ret_switch_at = h->at[i].switch_at;
            return true;
        }
    }
    return false;
}

/* The i-th timeline of h, the own one last; where it ends. */
static uint32_t part(const struct history *h, size_t i, lsn *ret_end)
{
    CHECK(i <= h->count);
    *ret_end = i < h->count ? h->at[i].switch_at : UINT64_MAX;
    return i < h->count ? h->at[i].tli : h->tli;
}

bool history_fork(const struct history *a, const struct history *b, uint32_t *ret_tli, lsn *ret_at)
{
    bool found = false;

    for (size_t i = 0; i <= a->count && i <= b->count; i++) {
        lsn a_end;
        lsn b_end;
        uint32_t a_tli = part(a, i, &a_end);
        if (a_tli != part(b, i, &b_end))
            break;
        *ret_tli = a_tli;
        *ret_at = a_end < b_end ? a_end : b_end;
        found = true;
        if (a_end != b_end)
            break;
    }
    return found;
}
