/* Data directories out of the way: moved aside, removed, filled beside what is left in them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "io/child.h"
#include "pg/argv.h"
#include "pg/datadir.h"
#include "pg/file.h"

#define REASON_REMOVING "removing"
#define FILL_NAME DATADIR_ASIDE_PREFIX "new"

static char *stamp_of(int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[32];

    CHECK(gmtime_r(&seconds, &tm));
    CHECK(strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &tm) > 0);
    return str_dup(text);
}

/* base, or base-2, base-3, … if that is taken. free() it. */
static char *free_name(const char *base)
{
    char *name = str_dup(base);

    for (int i = 2; file_exists(name); i++) {
        free(name);
        name = str_fmt("%s-%d", base, i);
    }
    return name;
}

/* True for errors that mean "this directory cannot be renamed here", not "the disk is broken". */
static bool is_immovable(int failed_errno)
{
    return failed_errno == EBUSY || failed_errno == EXDEV || failed_errno == EACCES || failed_errno == EPERM ||
           failed_errno == EROFS;
}

/* ---- links out of the directory ---- */

/* dir/name is a link to a folder elsewhere: the folder's path. NULL: it is not. free() it. */
static char *link_target(const char *dir, const char *name)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", dir, name);
    char target[PATH_MAX];
    char real_dir[PATH_MAX];
    struct stat st;

    if (lstat(path, &st) != 0 || !S_ISLNK(st.st_mode) || !realpath(path, target) || !realpath(dir, real_dir))
        return NULL;
    if (stat(target, &st) != 0 || !S_ISDIR(st.st_mode))
        return NULL;
    AUTO(cstr) char *inside = str_fmt("%s/", real_dir);
    return str_starts(target, inside) ? NULL : str_dup(target);
}

/* Let dir/name point to `target`, atomically. */
static bool link_set(const char *dir, const char *name, const char *target, struct err *err)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", dir, name);
    AUTO(cstr) char *temp = str_fmt("%s.pgkeep-tmp", path);

    (void)unlink(temp); /* of an attempt that was cut off */
    if (symlink(target, temp) != 0)
        return err_sys(err, errno, "making link %s", temp);
    if (rename(temp, path) != 0)
        return err_sys(err, errno, "renaming link %s to %s", temp, path);
    return true;
}

/* Rename what a link points to and let it point there. Not a link: nothing to do. */
static bool move_target(const char *dir, const char *name, const char *suffix, struct err *err)
{
    AUTO(cstr) char *target = link_target(dir, name);
    if (!target)
        return true;

    AUTO(cstr) char *wanted = str_fmt("%s.%s", target, suffix);
    AUTO(cstr) char *moved = free_name(wanted);
    if (rename(target, moved) != 0)
        return err_sys(err, errno, "moving %s, which %s/%s points to, out of the way", target, dir, name);
    if (!link_set(dir, name, moved, err)) {
        (void)rename(moved, target); /* as it was; if that fails too the error below is the thing to look at */
        return false;
    }
    return fsync_parent(target, err);
}

/* Calls each() for pg_wal and every tablespace; stops at the first false. */
typedef bool link_fn(const char *dir, const char *name, void *arg, struct err *err);

static bool each_link(const char *data_dir, link_fn *each, void *arg, struct err *err)
{
    AUTO(cstr) char *tblspc = str_fmt("%s/pg_tblspc", data_dir);
    bool good = each(data_dir, "pg_wal", arg, err);

    DIR *d = opendir(tblspc);
    if (!d)
        return good; /* none: half of a data directory */
    for (struct dirent *e = readdir(d); good && e; e = readdir(d)) {
        if (e->d_name[0] != '.')
            good = each(tblspc, e->d_name, arg, err);
    }
    (void)closedir(d); /* it was only read */
    return good;
}

static bool move_link(const char *dir, const char *name, void *arg, struct err *err)
{
    return move_target(dir, name, arg, err);
}

/* ---- moving aside ---- */

/* Rename every entry of `from` that is not aside already into `to`. */
static bool move_entries(const char *from, const char *to, bool asides_too, struct err *err)
{
    bool good = true;

    DIR *d = opendir(from);
    if (!d)
        return err_sys(err, errno, "reading folder %s", from);
    for (struct dirent *e = readdir(d); good && e; e = readdir(d)) {
        const char *name = e->d_name;
        if (str_eq(name, ".") || str_eq(name, "..") || str_eq(name, "lost+found"))
            continue;
        if (!asides_too && str_starts(name, DATADIR_ASIDE_PREFIX))
            continue;
        AUTO(cstr) char *old = str_fmt("%s/%s", from, name);
        AUTO(cstr) char *new = str_fmt("%s/%s", to, name);
        if (rename(old, new) != 0)
            good = err_sys(err, errno, "moving %s to %s", old, new);
    }
    (void)closedir(d); /* it was only read */
    return good && fsync_dir(to, err) && fsync_dir(from, err);
}

static bool move_inside(const char *data_dir, const char *suffix, char **ret_path, struct err *err)
{
    AUTO(cstr) char *wanted = str_fmt("%s/" DATADIR_ASIDE_PREFIX "%s", data_dir, suffix);
    AUTO(cstr) char *aside = free_name(wanted);

    if (!dir_make(aside, 0700, err) || !move_entries(data_dir, aside, false, err))
        return false;
    *ret_path = TAKE(aside);
    return true;
}

bool datadir_move_aside(const char *data_dir, const char *reason, int64_t wall_ms, char **ret_path, struct err *err)
{
    AUTO(cstr) char *stamp = stamp_of(wall_ms);
    AUTO(cstr) char *suffix = str_fmt("%s.%s", reason, stamp);
    char real[PATH_MAX];
    struct stat st;

    /* The link at data_dir, if it is one, stays: it says which disk the data belongs on. */
    if (!realpath(data_dir, real) || stat(real, &st) != 0)
        return err_sys(err, errno, "looking at data directory %s", data_dir);
    if (!each_link(real, move_link, suffix, err))
        return false;

    AUTO(cstr) char *wanted = str_fmt("%s.%s", real, suffix);
    AUTO(cstr) char *aside = free_name(wanted);
    if (rename(real, aside) != 0) {
        if (!is_immovable(errno))
            return err_sys(err, errno, "moving data directory %s to %s", real, aside);
        return move_inside(real, suffix, ret_path, err);
    }
    if (mkdir(real, st.st_mode & 0777) != 0)
        return err_sys(err, errno, "making data directory %s anew", real);
    if (!fsync_parent(real, err))
        return false;
    *ret_path = TAKE(aside);
    return true;
}

/* ---- removing ---- */

static bool add_target(const char *dir, const char *name, void *arg, struct err *err)
{
    char ***argv = arg;
    AUTO(cstr) char *target = link_target(dir, name);

    if (target && strstr(target, "." REASON_REMOVING ".")) /* only what we renamed ourselves */
        argv_add(argv, target);
    return true;
}

/* Everything in `dir` whose name begins with prefix, and what it links to, to the arguments of rm. */
static void add_removable(const char *dir, const char *prefix, char ***argv)
{
    DIR *d = opendir(dir);

    if (!d)
        return;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (!str_starts(e->d_name, prefix))
            continue;
        AUTO(cstr) char *path = str_fmt("%s/%s", dir, e->d_name);
        (void)each_link(path, add_target, argv, NULL); /* add_target does not fail */
        argv_add(argv, path);
    }
    (void)closedir(d); /* it was only read */
}

static void removal_done(const struct child_result *result, void *arg)
{
    (void)result; /* what could not be removed is tried again with the next removal */
    (void)arg;
}

/* What was being filled gets a name of its own: the next filling must not meet the remover. */
static bool fill_aside(const char *data_dir, int64_t wall_ms, struct err *err)
{
    AUTO(cstr) char *fill = str_fmt("%s/" FILL_NAME, data_dir);
    AUTO(cstr) char *stamp = stamp_of(wall_ms);
    AUTO(cstr) char *wanted = str_fmt("%s/" DATADIR_ASIDE_PREFIX REASON_REMOVING ".%s", data_dir, stamp);
    AUTO(cstr) char *aside = free_name(wanted);

    if (rename(fill, aside) != 0 && errno != ENOENT)
        return err_sys(err, errno, "moving %s to %s", fill, aside);
    return true;
}

bool datadir_remove_job(struct loop *l, const char *data_dir, int64_t wall_ms, struct err *err)
{
    AUTO(cstr) char *aside = NULL;
    char real[PATH_MAX];

    if (!realpath(data_dir, real))
        return err_sys(err, errno, "looking at data directory %s", data_dir);
    if (!fill_aside(real, wall_ms, err) || !datadir_move_aside(real, REASON_REMOVING, wall_ms, &aside, err))
        return false;

    AUTO(argv) char **argv = NULL;
    argv_add(&argv, "rm");
    argv_add(&argv, "-rf");
    argv_add(&argv, "--");
    char *slash = strrchr(real, '/');
    CHECK(slash);
    AUTO(cstr) char *parent = str_fmt("%.*s", slash == real ? 1 : (int)(slash - real), real);
    AUTO(cstr) char *sibling = str_fmt("%s." REASON_REMOVING ".", slash + 1);
    add_removable(parent, sibling, &argv);
    add_removable(real, DATADIR_ASIDE_PREFIX REASON_REMOVING ".", &argv);

    struct child_spec spec = {.argv = (const char *const *)argv};
    return child_start(l, &spec, removal_done, NULL, NULL, err);
}

/* ---- filling a directory that is not quite empty ---- */

char *datadir_fill_path(const char *data_dir)
{
    bool clean = true;

    DIR *d = opendir(data_dir);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        clean = clean && (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."));
    if (d)
        (void)closedir(d); /* it was only read */
    return clean ? str_dup(data_dir) : str_fmt("%s/" FILL_NAME, data_dir);
}

bool datadir_fill_finish(const char *data_dir, const char *fill_path, struct err *err)
{
    if (str_eq(data_dir, fill_path))
        return true;
    if (!move_entries(fill_path, data_dir, true, err))
        return false;
    if (rmdir(fill_path) != 0)
        return err_sys(err, errno, "removing folder %s", fill_path);
    return fsync_dir(data_dir, err);
}
