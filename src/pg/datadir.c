#include "pg/datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "pg/bin.h"
#include "pg/file.h"
#include "pg/history.h"
#include "pg/incarnation.h"

enum { PG_VERSION_FILE_MAX = 64, PID_FILE_MAX = 4096, MARKER_MAX = 4096, BOOT_ID_MAX = 64, PERMISSION_BITS = 07777 };

/* ---- what it is ---- */

static const char *const marker_files[] = {
    [DATADIR_MARK_NONE] = NULL,
    [DATADIR_MARK_BOOTSTRAP] = "bootstrap.in-progress",
    [DATADIR_MARK_CLONE] = "clone.in-progress",
    [DATADIR_MARK_REWIND] = "rewind.in-progress",
};

static bool exists_in(const char *dir, const char *name)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", dir, name);

    return file_exists(path);
}

/* The same for what decides: whether it is there could not be told only if *err is set. */
static bool certainly_in(const char *dir, const char *name, struct err *err)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", dir, name);
    struct stat st;

    if (stat(path, &st) == 0)
        return true;
    if (errno != ENOENT && errno != ENOTDIR)
        (void)err_sys(err, errno, "looking for %s", path);
    return false;
}

/* Entries that a data directory may have beside PostgreSQL's own files. */
static bool is_aside(const char *name)
{
    return str_eq(name, "lost+found") || str_starts(name, DATADIR_ASIDE_PREFIX);
}

struct contents {
    size_t aside, other;
};

static bool count_entries(const char *dir, struct contents *ret_contents, int *ret_errno)
{
    struct contents c = {0};

    DIR *d = opendir(dir);
    if (!d) {
        *ret_errno = errno;
        return false;
    }
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
            continue;
        if (is_aside(e->d_name))
            c.aside++;
        else
            c.other++;
    }
    (void)closedir(d); /* it was only read */
    *ret_contents = c;
    return true;
}

static int read_major(const char *data_dir, struct err *err)
{
    AUTO(cstr) char *path = str_fmt("%s/PG_VERSION", data_dir);
    AUTO(cstr) char *text = NULL;
    struct err failed = {0};

    if (!file_read(path, PG_VERSION_FILE_MAX, &text, NULL, &failed)) {
        if (failed.code == ERR_SYS)
            *err = failed;
        return 0;
    }
    return pg_version_parse(text) / 10000;
}

static pid_t read_postmaster_pid(const char *data_dir)
{
    AUTO(cstr) char *path = str_fmt("%s/postmaster.pid", data_dir);
    AUTO(cstr) char *text = NULL;
    int64_t pid;

    if (!file_read(path, PID_FILE_MAX, &text, NULL, NULL))
        return 0;
    text[strcspn(text, "\n")] = '\0';
    /* Negative: a single-user server (PostgreSQL: miscinit.c, CreateLockFile). */
    if (!str_to_int(text, -INT32_MAX, INT32_MAX, &pid))
        return 0;
    return (pid_t)(pid < 0 ? -pid : pid);
}

static enum datadir_marker read_marker(const char *state_dir, struct err *err)
{
    for (size_t i = DATADIR_MARK_BOOTSTRAP; i < ARRAY_LEN(marker_files); i++) {
        if (certainly_in(state_dir, marker_files[i], err))
            return (enum datadir_marker)i;
    }
    return DATADIR_MARK_NONE;
}

static enum datadir_kind kind_of(const char *data_dir, const struct contents *c, const struct datadir_state *s,
                                 struct err *err)
{
    if (!c->other)
        return DATADIR_EMPTY;
    if (s->marker != DATADIR_MARK_NONE)
        return DATADIR_HALF;
    bool whole = s->major && certainly_in(data_dir, "global/pg_control", err);
    if (err->code != ERR_NONE)
        return DATADIR_UNREADABLE;
    return whole ? DATADIR_VALID : DATADIR_FOREIGN;
}

void datadir_look(const char *data_dir, const char *state_dir, struct datadir_state *ret_state, struct err *err)
{
    struct err unclear = {0};
    struct datadir_state s = {.marker = read_marker(state_dir, &unclear)};
    struct contents contents = {0};
    int failed_errno = 0;

    if (!count_entries(data_dir, &contents, &failed_errno)) {
        s.kind = failed_errno == ENOENT    ? DATADIR_ABSENT
                 : failed_errno == ENOTDIR ? DATADIR_FOREIGN
                                           : DATADIR_UNREADABLE;
        if (s.kind == DATADIR_UNREADABLE)
            (void)err_sys(err, failed_errno, "reading data directory %s", data_dir);
        *ret_state = s;
        return;
    }
    s.shared = contents.aside > 0;
    s.major = read_major(data_dir, &unclear);
    s.standby_signal = exists_in(data_dir, "standby.signal");
    s.recovery_signal = exists_in(data_dir, "recovery.signal");
    s.backup_label = exists_in(data_dir, "backup_label");
    s.promote_file = exists_in(data_dir, "promote");
    s.incarnation = incarnation_look(data_dir, state_dir);
    s.postmaster_pid = read_postmaster_pid(data_dir);
    s.kind = kind_of(data_dir, &contents, &s, &unclear);
    if (s.kind == DATADIR_UNREADABLE && err)
        *err = unclear;
    *ret_state = s;
}

const char *datadir_kind_name(enum datadir_kind kind)
{
    switch (kind) {
    case DATADIR_ABSENT:
        return "absent";
    case DATADIR_EMPTY:
        return "empty";
    case DATADIR_VALID:
        return "valid";
    case DATADIR_HALF:
        return "half-made";
    case DATADIR_FOREIGN:
        return "not a data directory";
    case DATADIR_UNREADABLE:
        return "unreadable";
    }
    UNREACHABLE();
}

/* ---- making and measuring it ---- */

bool datadir_prepare(const char *data_dir, struct err *err)
{
    struct contents contents;
    struct stat st;
    int failed_errno;

    if (!dir_make(data_dir, 0700, err))
        return err_wrap(err, "data directory");
    if (stat(data_dir, &st) != 0)
        return err_sys(err, errno, "looking at data directory %s", data_dir);
    if (st.st_uid != geteuid())
        return err_set(err, ERR_DENIED, "data directory %s belongs to uid %u, we run as %u", data_dir,
                       (unsigned int)st.st_uid, (unsigned int)geteuid());
    if (!count_entries(data_dir, &contents, &failed_errno))
        return err_sys(err, failed_errno, "reading data directory %s", data_dir);

    /* PostgreSQL refuses any permission for others and writing by the group (miscinit.c, checkDataDir). */
    if (st.st_mode & (S_IWGRP | S_IRWXO)) {
        if (contents.other)
            return err_set(err, ERR_DENIED, "data directory %s has mode %04o, PostgreSQL wants 0700 or 0750", data_dir,
                           (unsigned int)(st.st_mode & PERMISSION_BITS));
        if (chmod(data_dir, 0700) != 0)
            return err_sys(err, errno, "setting the mode of data directory %s", data_dir);
    }
    if (access(data_dir, W_OK | X_OK) != 0)
        return err_sys(err, errno, "writing to data directory %s", data_dir);
    return true;
}

bool datadir_free_bytes(const char *dir, uint64_t *ret_bytes, struct err *err)
{
    AUTO(cstr) char *path = str_dup(dir);
    struct statvfs fs;

    while (statvfs(path, &fs) != 0) {
        char *slash = strrchr(path, '/');
        if (errno != ENOENT || !slash || slash == path)
            return err_sys(err, errno, "measuring the file system of %s", dir);
        *slash = '\0';
    }
    *ret_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return true;
}

/* ---- markers and signal files ---- */

static const char *marker_name(enum datadir_marker marker)
{
    switch (marker) {
    case DATADIR_MARK_NONE:
        return "none";
    case DATADIR_MARK_BOOTSTRAP:
        return "bootstrap";
    case DATADIR_MARK_CLONE:
        return "clone";
    case DATADIR_MARK_REWIND:
        return "rewind";
    }
    UNREACHABLE();
}

static bool remove_markers_but(const char *state_dir, enum datadir_marker keep, struct err *err)
{
    for (size_t i = DATADIR_MARK_BOOTSTRAP; i < ARRAY_LEN(marker_files); i++) {
        AUTO(cstr) char *path = str_fmt("%s/%s", state_dir, marker_files[i]);
        if (i != keep && !file_remove(path, err))
            return err_wrap(err, "removing the mark of an operation under way");
    }
    return true;
}

/* NULL: unreadable. free() it. */
static char *boot_id(void)
{
    char *text = NULL;

    return file_read("/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &text, NULL, NULL) ? text : NULL;
}

bool datadir_marked_since_boot(const char *state_dir, enum datadir_marker marker)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", state_dir, marker_files[marker]);
    AUTO(cstr) char *text = NULL;
    AUTO(cstr) char *boot = boot_id();

    return boot && file_read(path, MARKER_MAX, &text, NULL, NULL) && strstr(text, boot);
}

bool datadir_mark(const char *state_dir, enum datadir_marker marker, struct err *err)
{
    CHECK(marker != DATADIR_MARK_NONE && marker < ARRAY_LEN(marker_files));
    AUTO(cstr) char *path = str_fmt("%s/%s", state_dir, marker_files[marker]);
    AUTO(cstr) char *boot = boot_id();
    AUTO(cstr)
    char *text = str_fmt("The data directory is being rewritten. While this file exists it must not be started.\n"
                         "Since boot: %s",
                         boot ? boot : "unknown\n");

    if (!file_replace(path, text, strlen(text), 0600, err))
        return err_wrap(err, "marking that a %s is under way", marker_name(marker));
    return remove_markers_but(state_dir, marker, err); /* the new one stands already: no moment without */
}

bool datadir_unmark(const char *state_dir, struct err *err)
{
    return remove_markers_but(state_dir, DATADIR_MARK_NONE, err);
}

static bool set_signal(const char *data_dir, const char *name, struct err *err)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", data_dir, name);

    if (file_exists(path))
        return fsync_dir(data_dir, err);
    return file_replace(path, "", 0, 0600, err);
}

bool datadir_set_standby_signal(const char *data_dir, struct err *err)
{
    AUTO(cstr) char *recovery = str_fmt("%s/recovery.signal", data_dir);

    /* Both together mean standby (xlogrecovery.c), but one is clearer to the reader. */
    return set_signal(data_dir, "standby.signal", err) && file_remove(recovery, err);
}

bool datadir_set_recovery_signal(const char *data_dir, struct err *err)
{
    AUTO(cstr) char *standby = str_fmt("%s/standby.signal", data_dir);

    return set_signal(data_dir, "recovery.signal", err) && file_remove(standby, err);
}

bool datadir_clear_signals(const char *data_dir, struct err *err)
{
    AUTO(cstr) char *standby = str_fmt("%s/standby.signal", data_dir);
    AUTO(cstr) char *recovery = str_fmt("%s/recovery.signal", data_dir);

    return file_remove(standby, err) && file_remove(recovery, err);
}

bool datadir_clear_promote(const char *data_dir, struct err *err)
{
    AUTO(cstr) char *trigger = str_fmt("%s/promote", data_dir);

    return file_remove(trigger, err) && history_remove_empty(data_dir, err);
}

bool datadir_postmaster_starts(const char *data_dir, pid_t postmaster)
{
    enum { LINE_STATUS = 8 };
    AUTO(cstr) char *path = str_fmt("%s/postmaster.pid", data_dir);
    AUTO(cstr) char *text = NULL;

    if (!file_read(path, PID_FILE_MAX, &text, NULL, NULL) || strtol(text, NULL, 10) != postmaster)
        return false;
    const char *line = text;
    for (int i = 1; i < LINE_STATUS && line; i++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return line && str_starts(line, "starting");
}
