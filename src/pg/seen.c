#include "pg/seen.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "pg/file.h"

enum { FILE_MAX = RECORD_TEXT_MAX + 256 };

static char *path_of(const char *state_dir)
{
    return str_fmt("%s/record", state_dir);
}

/* FNV-1a: tells damage, not malice. */
static uint64_t sum_of(uint64_t sum, const char *text)
{
    for (const char *c = text; *c; c++)
        sum = (sum ^ (unsigned char)*c) * 1099511628211U;
    return sum;
}

static char *head_of(uint64_t store, int64_t revision, const char *text)
{
    AUTO(cstr) char *place = str_fmt("pgkeep record 1\nstore %016" PRIx64 "\nrevision %" PRId64 "\n", store, revision);

    return str_fmt("%ssum %016" PRIx64 "\n", place, sum_of(sum_of(14695981039346656037U, place), text));
}

void seen_deinit(struct seen *s)
{
    record_key_deinit(&s->record);
    *s = (struct seen){0};
}

/* Read loosely; the head is good exactly if it is what would be written. */
static bool parse(const char *text, struct seen *ret)
{
    const char *at = text, *why;
    const char *lines[4];

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        lines[i] = at;
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    const char *store = strchr(lines[1], ' '), *revision = strchr(lines[2], ' ');
    if (!store || !revision)
        return false;
    ret->store = strtoull(store, NULL, 16);
    int64_t at_revision = strtoll(revision, NULL, 10);
    AUTO(cstr) char *head = head_of(ret->store, at_revision, at);
    return str_starts(text, head) && strlen(head) == (size_t)(at - text) &&
           record_key_read(at, strlen(at), at_revision, &ret->record, &why) == RECORD_OK;
}

bool seen_read(const char *state_dir, struct seen *ret_seen, struct err *err)
{
    AUTO(cstr) char *path = path_of(state_dir);
    AUTO(cstr) char *text = NULL;
    struct err failed = {0};
    size_t len = 0;

    *ret_seen = (struct seen){0};
    if (!file_read(path, FILE_MAX, &text, &len, &failed))
        return failed.code == ERR_NOT_FOUND || err_set(err, failed.code, "%s", failed.text);
    if (strlen(text) == len && parse(text, ret_seen))
        return true;
    seen_deinit(ret_seen);
    return err_set(err, ERR_INPUT, "%s is damaged: a store that was put back will not be noticed by it", path);
}

bool seen_write(const char *state_dir, const struct seen *s, struct err *err)
{
    AUTO(cstr) char *path = path_of(state_dir);
    AUTO(cstr) char *text = record_key_text(&s->record);
    AUTO(cstr) char *head = head_of(s->store, s->record.mod_revision, text);
    AUTO(cstr) char *whole = str_fmt("%s%s", head, text);

    CHECK(s->record.present);
    return file_replace(path, whole, strlen(whole), 0600, err) || err_wrap(err, "the newest record");
}
