/* History files in pg_wal. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

bool history_newest(const char *data_dir, uint32_t *ret_tli, struct err *err)
{
    AUTO(cstr) char *path = str_fmt("%s/pg_wal", data_dir);
    uint32_t newest = 1;

    DIR *dir = opendir(path);
    if (!dir)
        return err_sys(err, errno, "opening folder %s", path);

    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (!is_history(e->d_name))
            continue;
        unsigned long tli = strtoul(e->d_name, NULL, 16); /* eight digits: it fits */
        if (tli > newest)
            newest = (uint32_t)tli;
    }
    (void)closedir(dir); /* it was only read */
    *ret_tli = newest;
    return true;
}

bool history_remove_empty(const char *data_dir, struct err *err)
{
    AUTO(cstr) char *folder = str_fmt("%s/pg_wal", data_dir);
    bool ok = true;

    DIR *dir = opendir(folder);
    if (!dir)
        return errno == ENOENT || err_sys(err, errno, "opening folder %s", folder);

    for (struct dirent *e = readdir(dir); e && ok; e = readdir(dir)) {
        AUTO(cstr) char *path = is_history(e->d_name) ? str_fmt("%s/%s", folder, e->d_name) : NULL;
        struct stat st;
        if (path && stat(path, &st) == 0 && st.st_size == 0)
            ok = file_remove(path, err);
    }
    (void)closedir(dir); /* it was only read */
    return ok;
}
