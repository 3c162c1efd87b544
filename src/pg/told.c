#include "pg/told.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "pg/file.h"

enum { FILE_MAX = 256 };

static char *path_of(const char *state_dir)
{
    return str_fmt("%s/position", state_dir);
}

static char *text_of(const struct told *t)
{
    return str_fmt("pgkeep position 1\nincarnation %016" PRIx64 "\ntimeline %08" PRIx32 "\nposition %016" PRIx64 "\n",
                   t->incarnation, t->timeline, t->position);
}

static uint64_t take(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? strtoull(at + strlen(name), NULL, 16) : 0;
}

/* Read loosely, then written again: the file is good exactly if that gives the same bytes. */
void told_read(const char *state_dir, struct told *ret_told)
{
    AUTO(cstr) char *path = path_of(state_dir);
    AUTO(cstr) char *text = NULL;

    *ret_told = (struct told){0};
    if (!file_read(path, FILE_MAX, &text, NULL, NULL))
        return;
    struct told t = {.incarnation = take(text, "\nincarnation "),
                     .timeline = (uint32_t)take(text, "\ntimeline "),
                     .position = take(text, "\nposition ")};
    AUTO(cstr) char *again = text_of(&t);
    if (str_eq(again, text))
        *ret_told = t;
}

bool told_write(const char *state_dir, const struct told *t, struct err *err)
{
    AUTO(cstr) char *path = path_of(state_dir);
    AUTO(cstr) char *text = text_of(t);

    return file_replace(path, text, strlen(text), 0600, err);
}

static bool is_same_history(const struct told *a, const struct told *b)
{
    return a->incarnation && a->incarnation == b->incarnation && a->timeline == b->timeline;
}

bool told_note(struct told *t, const struct told *now)
{
    if (!now->incarnation || !now->timeline || !now->position)
        return false;
    if (is_same_history(t, now) && now->position <= t->position)
        return false;
    *t = *now;
    return true;
}

bool told_is_undercut(const struct told *t, const struct told *final)
{
    return is_same_history(t, final) && final->position < t->position;
}
