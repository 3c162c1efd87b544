#include "pg/report_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "pg/file.h"

enum { FILES_MAX = 4096 }; /* looked at */

static bool write_whole(const char *path, const char *text, struct err *err)
{
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t len = strlen(text);

    if (fd < 0)
        return err_sys(err, errno, "writing %s", path);
    if (write(fd, text, len) != (ssize_t)len || write(fd, "\n", 1) != 1)
        return err_sys(err, errno ? errno : ENOSPC, "writing %s", path);
    return true;
}

static int by_term(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return left < right ? -1 : left > right;
}

/* "12.json" */
static bool term_of(const char *name, int64_t *ret_term)
{
    size_t len = strlen(name);
    AUTO(cstr) char *number = str_ends(name, ".json") ? str_fmt("%.*s", (int)(len - strlen(".json")), name) : NULL;

    return number && str_to_int(number, 1, INT64_MAX, ret_term);
}

static void prune(const char *folder, size_t keep)
{
    DIR *d = opendir(folder);
    int64_t *terms = mem_zero(FILES_MAX, sizeof(*terms));
    size_t count = 0;

    for (struct dirent *e; d && count < FILES_MAX && (e = readdir(d));)
        count += term_of(e->d_name, &terms[count]);
    qsort(terms, count, sizeof(*terms), by_term);
    for (size_t i = 0; i + keep < count; i++) {
        AUTO(cstr) char *path = str_fmt("%s/%lld.json", folder, (long long)terms[i]);
        (void)unlink(path); /* one that stays is tried again with the next */
    }
    free(terms);
    if (d)
        (void)closedir(d);
}

bool report_file_keep(const char *state_dir, term t, const char *text, size_t keep, struct err *err)
{
    AUTO(cstr) char *folder = str_fmt("%s/failovers", state_dir);
    AUTO(cstr) char *path = str_fmt("%s/%llu.json", folder, (unsigned long long)t);
    AUTO(cstr) char *fresh = str_fmt("%s.new", path);

    if (!dir_make(folder, 0700, err))
        return false;
    if (!write_whole(fresh, text, err)) {
        (void)unlink(fresh); /* half a file is of no use */
        return false;
    }
    if (rename(fresh, path) < 0)
        return err_sys(err, errno, "renaming %s", fresh);
    prune(folder, keep);
    return true;
}
