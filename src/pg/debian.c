#include "pg/debian.h"

#include <glob.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "pg/file.h"

enum { CONF_MAX = 1024 * 1024 };

/* The value of `data_directory = '…'`, quoted as pg_createcluster writes it; NULL: another line. free() it. */
static char *data_directory_of(const char *line)
{
    static const char name[] = "data_directory";

    line += strspn(line, " \t");
    if (!str_starts(line, name))
        return NULL;
    line += strlen(name);
    line += strspn(line, " \t=");
    return *line == '\'' ? str_fmt("%.*s", (int)strcspn(line + 1, "'\n"), line + 1) : NULL;
}

static bool same_folder(const char *a, const char *b)
{
    struct stat one;
    struct stat other;

    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static bool names_data_dir(const char *path, const char *data_dir)
{
    AUTO(cstr) char *text = NULL;
    char *state = NULL;
    bool found = false;

    if (!file_read(path, CONF_MAX, &text, NULL, NULL))
        return false; /* another user's cluster */
    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
        AUTO(cstr) char *value = data_directory_of(line);
        if (value)
            found = same_folder(value, data_dir); /* the last one counts */
    }
    return found;
}

char *debian_config_dir(const char *data_dir, int major)
{
    const char *root = getenv("PG_CLUSTER_CONF_ROOT");
    AUTO(cstr) char *pattern = str_fmt("%s/%d/*/postgresql.conf", str_empty(root) ? "/etc/postgresql" : root, major);
    glob_t found = {0};
    char *folder = NULL;

    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && !folder; i++) {
            const char *path = found.gl_pathv[i];
            if (names_data_dir(path, data_dir))
                folder = str_fmt("%.*s", (int)(strrchr(path, '/') - path), path);
        }
    }
    globfree(&found);
    return folder;
}
