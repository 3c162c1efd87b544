/* History files in pg_wal. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "pg/file.h"
#include "pg/history.h"

enum { HISTORY_FILE_MAX = 4 * 1024 * 1024 }; /* PostgreSQL writes some 60 bytes a line */

bool history_load(const char *data_dir, uint32_t tli, struct history **ret_history, struct err *err)
{
    AUTO(cstr) char *path = str_fmt("%s/pg_wal/%08X.history", data_dir, tli);
    AUTO(cstr) char *text = NULL;
    size_t len;

    if (tli == 1)
        return history_parse(1, "", ret_history, err);
    if (!file_read(path, HISTORY_FILE_MAX, &text, &len, err))
        return false;
    return history_parse(tli, text, ret_history, err);
}

static bool is_history(const char *name)
{
    return strspn(name, "0123456789ABCDEF") == 8 && str_eq(name + 8, ".history");
}

typedef bool each_history_fn(uint32_t tli, const char *path, void *arg, struct err *err);

/* Each history file of pg_wal, until one fails. */
static bool each_history(const char *folder, each_history_fn *each, void *arg, struct err *err)
{
    bool ok = true;

    DIR *dir = opendir(folder);
    if (!dir)
        return err_sys(err, errno, "opening folder %s", folder);

    for (struct dirent *e = readdir(dir); e && ok; e = readdir(dir)) {
        if (!is_history(e->d_name))
            continue;
        AUTO(cstr) char *path = str_fmt("%s/%s", folder, e->d_name);
        ok = each((uint32_t)strtoul(e->d_name, NULL, 16), path, arg, err); /* eight digits: it fits */
    }
    (void)closedir(dir); /* it was only read */
    return ok;
}

static bool note_newest(uint32_t tli, const char *path, void *arg, struct err *err)
{
    uint32_t *newest = arg;

    (void)path;
    (void)err;
    if (tli > *newest)
        *newest = tli;
    return true;
}

bool history_newest(const char *data_dir, uint32_t *ret_tli, struct err *err)
{
    AUTO(cstr) char *folder = str_fmt("%s/pg_wal", data_dir);
    uint32_t newest = 1;

    if (!each_history(folder, note_newest, &newest, err))
        return false;
    *ret_tli = newest;
    return true;
}

static bool is_empty(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_size == 0;
}

static bool note_newest_real(uint32_t tli, const char *path, void *arg, struct err *err)
{
    return is_empty(path) || note_newest(tli, path, arg, err);
}

static bool remove_empty_above(uint32_t tli, const char *path, void *arg, struct err *err)
{
    const uint32_t *newest = arg;

    return tli <= *newest || !is_empty(path) || file_remove(path, err);
}

bool history_remove_empty(const char *data_dir, struct err *err)
{
    AUTO(cstr) char *folder = str_fmt("%s/pg_wal", data_dir);
    uint32_t newest = 1;

    if (access(folder, F_OK) != 0 && errno == ENOENT)
        return true;
    return each_history(folder, note_newest_real, &newest, err) &&
           each_history(folder, remove_empty_above, &newest, err);
}
