/*
 * What makes pg_rewind repeatable: our own WAL, kept aside from before its first byte until it is done.
 *
 * pg_rewind finds the changed blocks in our WAL from the last common checkpoint on, and overwrites or removes that very
 * WAL while it copies the source's files. Cut off there, it cannot begin anew: the records that it must read are gone.
 * With the WAL put back every attempt sees the same divergence, and what an earlier one has copied is
 * copied or replayed once more: recovery begins at the common checkpoint, with full page images. pg_control is
 * written last of all (pg_rewind.c, perform_rewind), so it tells which of the two states this is.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "io/child.h"
#include "pg/argv.h"
#include "pg/file.h"
#include "pg/instance.h"
#include "pg/rewind_job.h"
#include "pg/tool.h"

enum { SEGMENT_NAME_LEN = 24 };

static char *kept_path(const struct pg_instance *i)
{
    return str_fmt("%s/rewind-wal", i->state_dir);
}

/* Where it grows; only a whole one has the other name. */
static char *growing_path(const struct pg_instance *i)
{
    return str_fmt("%s/rewind-wal.new", i->state_dir);
}

/* Segments and timeline histories, not the folders beside them. */
static bool is_wal_name(const char *name)
{
    size_t hex = strspn(name, "0123456789ABCDEF");

    return (hex == SEGMENT_NAME_LEN && !name[hex]) || (hex == 8 && str_eq(name + hex, ".history"));
}

/* Appends "dir/name" for each; false with err: the folder cannot be read. */
static bool list_wal(const char *dir, char ***argv, struct err *err)
{
    DIR *d = opendir(dir);

    if (!d)
        return err_sys(err, errno, "opening %s", dir);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        if (is_wal_name(e->d_name))
            argv_add_fmt(argv, "%s/%s", dir, e->d_name);
    (void)closedir(d);
    return true;
}

static bool remove_kept(const char *dir, struct err *err)
{
    AUTO(argv) char **files = NULL;

    if (access(dir, F_OK) < 0)
        return true;
    if (!list_wal(dir, &files, err))
        return false;
    for (char **file = files; file && *file; file++)
        if (unlink(*file) < 0)
            return err_sys(err, errno, "removing %s", *file);
    return rmdir(dir) == 0 || err_sys(err, errno, "removing %s", dir);
}

bool rewind_keep_drop(const struct pg_instance *i, struct err *err)
{
    AUTO(cstr) char *kept = kept_path(i);
    AUTO(cstr) char *growing = growing_path(i);

    return remove_kept(growing, err) && remove_kept(kept, err);
}

static void copied(const struct child_result *result, void *arg)
{
    struct rewind_job *j = arg;
    struct err err = {0};
    AUTO(cstr) char *kept = kept_path(j->instance);
    AUTO(cstr) char *growing = growing_path(j->instance);

    j->child = NULL;
    bool good = tool_succeeded(result, "cp", &err);
    if (good && !j->putting_back && rename(growing, kept) < 0)
        good = err_sys(&err, errno, "renaming %s", growing);
    if (good) {
        j->wal_kept(j, NULL);
        return;
    }
    (void)err_wrap(&err, j->putting_back ? "putting back the WAL kept for another attempt"
                                         : "keeping the WAL that another attempt would need");
    struct err drop_err = {0};
    (void)!remove_kept(growing, &drop_err); /* the next attempt removes it, too */
    j->wal_kept(j, &err);
}

static bool copy(struct rewind_job *j, const char *from, const char *to, struct err *err)
{
    AUTO(argv) char **argv = NULL;
    static const char *const env[] = {"LC_ALL=C", NULL};

    /* On disk before it gets its name: half a copy must not be put back after the host went down. */
    argv_add(&argv, "/bin/sh");
    argv_add(&argv, "-c");
    argv_add(&argv, "cp -p -t \"$0\" -- \"$@\" && sync -- \"$0\"/* \"$0\"");
    argv_add(&argv, to);
    int options = argv_len(argv);
    if (!list_wal(from, &argv, err))
        return false;
    if (argv_len(argv) == options)
        return err_set(err, ERR_NOT_FOUND, "%s has no WAL", from);
    struct child_spec spec = {.argv = (const char *const *)argv, .env = env};
    return child_start(j->loop, &spec, copied, j, &j->child, err);
}

bool rewind_keep_wal(struct rewind_job *j, rewind_kept_fn *then, struct err *err)
{
    const struct pg_instance *i = j->instance;
    AUTO(cstr) char *kept = kept_path(i);
    AUTO(cstr) char *growing = growing_path(i);
    AUTO(cstr) char *wal = str_fmt("%s/pg_wal", i->data_dir);

    j->wal_kept = then;
    j->putting_back = j->marked_before && access(kept, F_OK) == 0;
    if (j->putting_back)
        return copy(j, kept, wal, err);
    return rewind_keep_drop(i, err) && dir_make(growing, 0700, err) && copy(j, wal, growing, err);
}
