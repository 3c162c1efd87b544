#include "pg/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "pg/conffile.h"
#include "pg/file.h"
#include "pg/instance.h"

static const char setting[] = "synchronous_standby_names";

char *names_path(const struct pg_instance *i)
{
    return str_fmt("%s/%s", i->config_dir, NAMES_FILE);
}

bool names_remove(const struct pg_instance *i, struct err *err)
{
    AUTO(cstr) char *path = names_path(i);
    AUTO(cstr) char *copied = str_fmt("%s/%s", i->data_dir, NAMES_FILE); /* a clone of one that has its files there */

    return file_remove(path, err) && (str_eq(path, copied) || file_remove(copied, err));
}

bool names_floor_stands(const struct pg_instance *i)
{
    enum { CONFIG_MAX = 1024 * 1024 };
    char *text = NULL;

    if (!file_read(i->config_file, CONFIG_MAX, &text, NULL, NULL))
        return false;
    bool stands = str_starts(text, CONFFILE_HEADER) && strstr(text, "\ninclude_if_exists '" NAMES_FILE "'\n");
    free(text);
    return stands;
}

static struct reload_job *prove(struct loop *l, struct pg_instance *i, pid_t postmaster, const char *value,
                                const char *file, msec budget_ms, reload_fn *fn, void *arg)
{
    struct reload_want want = {.name = setting, .value = value, .file = file};

    return reload_start(l, i, postmaster, &want, 1, budget_ms, fn, arg);
}

bool names_load(struct loop *l, struct pg_instance *i, pid_t postmaster, const char *list, msec budget_ms,
                reload_fn *fn, void *arg, struct reload_job **ret_job, struct err *err)
{
    AUTO(cstr) char *path = names_path(i);
    AUTO(cstr) char *quoted = conffile_quote(list);
    AUTO(cstr) char *text = str_fmt("%s%s = %s\n", CONFFILE_HEADER, setting, quoted);
    bool changed = false;

    if (!conffile_sanitize(i, true, &changed, err) || !file_replace(path, text, strlen(text), 0600, err))
        return err_wrap(err, "%s", setting);
    *ret_job = prove(l, i, postmaster, list, path, budget_ms, fn, arg);
    return true;
}

bool names_drop(struct loop *l, struct pg_instance *i, pid_t postmaster, msec budget_ms, reload_fn *fn, void *arg,
                struct reload_job **ret_job, struct err *err)
{
    bool changed = false;

    if (!names_remove(i, err) || !conffile_sanitize(i, true, &changed, err))
        return err_wrap(err, "%s", setting);
    *ret_job = prove(l, i, postmaster, NAMES_FENCE, i->config_file, budget_ms, fn, arg);
    return true;
}
