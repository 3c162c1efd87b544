#include "pg/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"

bool fsync_dir(const char *dir, struct err *err)
{
    AUTO(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "opening folder %s", dir);
    if (fsync(fd) != 0)
        return err_sys(err, errno, "syncing folder %s", dir);
    return true;
}

/* The folder part; free() it. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return str_dup(".");
    return slash == path ? str_dup("/") : str_fmt("%.*s", (int)(slash - path), path);
}

bool fsync_parent(const char *path, struct err *err)
{
    AUTO(cstr) char *dir = parent_of(path);

    return fsync_dir(dir, err);
}

static bool write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t written = write(fd, text, len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        text += written;
        len -= (size_t)written;
    }
    return true;
}

/* The temporary file, complete and on disk. */
static bool write_temp(const char *path, const char *text, size_t len, mode_t mode, struct err *err)
{
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return err_sys(err, errno, "creating %s", path);
    if (fchmod(fd, mode) != 0) /* an older temporary file, or the umask */
        return err_sys(err, errno, "setting the mode of %s", path);
    if (!write_all(fd, text, len))
        return err_sys(err, errno, "writing %s", path);
    if (fsync(fd) != 0)
        return err_sys(err, errno, "syncing %s", path);
    return true;
}

bool file_replace(const char *path, const char *text, size_t len, mode_t mode, struct err *err)
{
    char real[PATH_MAX];
    const char *target = realpath(path, real) ? real : path;
    AUTO(cstr) char *temp = str_fmt("%s.pgkeep-tmp", target);

    if (!write_temp(temp, text, len, mode, err)) {
        (void)unlink(temp); /* what is left of it would only be overwritten */
        return false;
    }
    if (rename(temp, target) != 0)
        return err_sys(err, errno, "renaming %s to %s", temp, target);
    return fsync_parent(target, err);
}

bool file_replace_if_changed(const char *path, const char *text, mode_t mode, bool *ret_changed, struct err *err)
{
    AUTO(cstr) char *old = NULL;
    struct err read_err = {0};
    size_t len = strlen(text);
    size_t old_len = 0;
    struct stat st;

    bool same =
        file_read(path, SIZE_MAX, &old, &old_len, &read_err) && old && old_len == len && memcmp(old, text, len) == 0;
    if (same && stat(path, &st) == 0 && (st.st_mode & 07777) == mode) {
        if (ret_changed)
            *ret_changed = false;
        return true;
    }
    if (!file_replace(path, text, len, mode, err))
        return false;
    if (ret_changed)
        *ret_changed = !same;
    return true;
}

bool file_read(const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err)
{
    AUTO(buf) struct buf text = BUF_EMPTY;
    char bytes[16 * 1024];

    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return err_set(err, ERR_NOT_FOUND, "%s does not exist", path);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", path);

    for (;;) {
        ssize_t got = read(fd, bytes, sizeof(bytes));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, errno, "reading %s", path);
        if (got == 0)
            break;
        if ((size_t)got > max - text.len)
            return err_set(err, ERR_INPUT, "%s is larger than %zu bytes", path, max);
        buf_add(&text, bytes, (size_t)got);
    }
    if (ret_len)
        *ret_len = text.len;
    *ret_text = buf_take(&text);
    return true;
}

char *file_read_end(const char *path, size_t max)
{
    AUTO(cstr) char *text = mem_zero(max + 1, 1);
    struct stat st;

    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return NULL;
    off_t from = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
    if (pread(fd, text, max, from) < 0)
        return NULL;
    return TAKE(text);
}

bool file_remove(const char *path, struct err *err)
{
    if (unlink(path) != 0) {
        if (errno == ENOENT)
            return true;
        return err_sys(err, errno, "removing %s", path);
    }
    return fsync_parent(path, err);
}

bool file_exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

bool dir_make(const char *path, mode_t mode, struct err *err)
{
    struct stat st;

    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return true;
        return err_set(err, ERR_INPUT, "%s is no folder", path);
    }
    if (errno != ENOENT)
        return err_sys(err, errno, "looking at folder %s", path);

    AUTO(cstr) char *parent = parent_of(path);
    if (!dir_make(parent, mode, err))
        return false;
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return err_sys(err, errno, "making folder %s", path);
    return fsync_dir(parent, err);
}
