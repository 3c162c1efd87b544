#include "pg/sql_text.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"

/* "  57P03: " at `at`: five letters or digits between two blanks and a colon. */
static bool is_state(const char *at)
{
    for (int i = 0; i < 5; i++) {
        if (!isdigit((unsigned char)at[i]) && !isupper((unsigned char)at[i]))
            return false;
    }
    return at[5] == ':' && at[6] == ' ';
}

void sql_read_message(const char *message, char sqlstate[6], char *text, size_t cap)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    sqlstate[0] = '\0';
    for (const char *line = message; *line;) {
        size_t len = strcspn(line, "\n");
        if (len && strncmp(line, "LOCATION:", 9) != 0) { /* libpq speaks C here: nobody calls setlocale() */
            if (out.len)
                buf_add_str(&out, "; ");
            for (size_t i = 0; i < len; i++) {
                /* The last state counts: with several addresses that is the one tried last. */
                if (i >= 2 && line[i - 1] == ' ' && line[i - 2] == ' ' && len - i > 6 && is_state(line + i)) {
                    memcpy(sqlstate, line + i, 5);
                    sqlstate[5] = '\0';
                    i += 6;
                    continue;
                }
                buf_add_char(&out, line[i] == '\t' ? ' ' : line[i]);
            }
        }
        line += len + (line[len] == '\n');
    }
    str_copy(text, cap, buf_cstr(&out));
}

enum sql_status sql_classify_connect(const char *sqlstate, bool needs_password)
{
    if (str_starts(sqlstate, "57P"))
        return SQL_STARTING;
    if (str_starts(sqlstate, "28") || str_eq(sqlstate, "3D000") || (!*sqlstate && needs_password))
        return SQL_DENIED;
    return *sqlstate ? SQL_FAILED : SQL_NO_SERVER; /* too many connections, …: a server that refuses is there */
}

char *sql_quote_literal(const char *text)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    if (strchr(text, '\\'))
        buf_add_char(&out, 'E');
    buf_add_char(&out, '\'');
    for (const char *c = text; *c; c++) {
        if (*c == '\'' || *c == '\\')
            buf_add_char(&out, *c);
        buf_add_char(&out, *c);
    }
    buf_add_char(&out, '\'');
    return buf_take(&out);
}

char *sql_quote_ident(const char *name)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    buf_add_char(&out, '"');
    for (const char *c = name; *c; c++) {
        if (*c == '"')
            buf_add_char(&out, '"');
        buf_add_char(&out, *c);
    }
    buf_add_char(&out, '"');
    return buf_take(&out);
}
