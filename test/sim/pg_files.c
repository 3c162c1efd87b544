/*
 * src/pg's files, over the model's disks (disk.h): small files, and PostgreSQL's configuration as the agents write it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "pg/conffile.h"
#include "pg/file.h"
#include "pg/instance.h"
#include "pg/names.h"
#include "test/sim/disk.h"
#include "test/sim/pg_api.h"
#include "wire/conf/dynamic.h"

/* ---- file.h ---- */

static struct disk *disk_here(void)
{
    return disk_of(world.current->host);
}

bool file_read(const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err)
{
    const char *text = disk_read(disk_here(), path);

    if (!text)
        return err_set(err, ERR_NOT_FOUND, "%s: absent", path);
    *ret_text = str_dup(text);
    if (ret_len)
        *ret_len = strlen(text);
    return true;
}

char *file_read_end(const char *path, size_t max)
{
    return NULL; /* the server's log, which nobody writes here */
}

bool file_exists(const char *path)
{
    const struct pg *p = pg_here();
    AUTO(cstr) char *trigger = pg_path(p, "promote");

    return str_eq(path, trigger) ? p->disk.promote_file : disk_has(disk_here(), path);
}

bool file_replace(const char *path, const char *text, size_t len, mode_t mode, struct err *err)
{
    AUTO(cstr) char *whole = str_fmt("%.*s", (int)len, text);

    bool unsynced = MUTANT(PROMISE_NOT_SYNCED) && str_ends(path, "/promise");
    bool done = unsynced ? disk_write(disk_here(), path, whole) : disk_replace(disk_here(), path, whole);
    return done || err_set(err, ERR_SYS, "%s: the disk is full, or fails", path);
}

bool file_replace_if_changed(const char *path, const char *text, mode_t mode, bool *ret_changed, struct err *err)
{
    bool changed = !str_eq(disk_read(disk_here(), path), text);

    if (changed && !file_replace(path, text, strlen(text), mode, err))
        return false;
    if (ret_changed)
        *ret_changed = changed;
    return true;
}

bool file_remove(const char *path, struct err *err)
{
    disk_remove(disk_here(), path);
    return !disk_fails(disk_here()) || err_set(err, ERR_SYS, "%s: the disk fails", path);
}

/* ---- conffile.h ---- */

static void add_line(char **text, const char *name, const char *value)
{
    char *longer = str_fmt("%s%s = '%s'\n", *text, name, value ? value : "");

    free(*text);
    *text = longer;
}

/* What postgresql.parameters and recovery_conf say of the parameters that mean something here. */
static void add_parameters(char **text, const struct dynamic *d)
{
    for (int s = 0; d && s < PG_SETTING_COUNT; s++) {
        const char *name = pg_setting_name((enum pg_setting)s);
        const json_t *value = json_object_get(d->recovery_conf, name);
        if (!value)
            value = json_object_get(d->parameters, name);
        AUTO(cstr) char *number = str_fmt("%lld", (long long)json_integer_value(value));
        if (value)
            add_line(text, name, json_is_string(value) ? json_string_value(value) : number);
    }
}

/* As conffile_text.c has them. */
static void add_quorum_defaults(char **text)
{
    add_line(text, "wal_retrieve_retry_interval", "100ms");
    add_line(text, "restart_after_crash", "off");
    add_line(text, "wal_receiver_status_interval", "1s");
}

/* postgresql.conf, as conffile_config_text() has it. */
static char *config_text(const struct conf_input *in)
{
    const char *names = in->names_floor ? in->names_floor : in->synchronous_standby_names;
    char *text = str_dup(CONFFILE_HEADER);

    if (in->names_floor)
        add_quorum_defaults(&text);
    add_parameters(&text, in->instance->dynamic);
    if (names && !MUTANT(FENCE_BY_DELETION))
        add_line(&text, "synchronous_standby_names", names);
    if (!in->frozen || !MUTANT(CONNINFO_DELETED))
        add_line(&text, "primary_conninfo", in->primary_conninfo);
    add_line(&text, "primary_slot_name", in->primary_slot_name);
    if (in->frozen)
        add_line(&text, "restore_command", "");
    if (in->names_floor) {
        char *longer = str_fmt("%sinclude_if_exists '" NAMES_FILE "'\n", text);
        free(text);
        text = longer;
    }
    return text;
}

bool conffile_sanitize(const struct pg_instance *i, bool names_too, bool *ret_changed, struct err *err)
{
    static const enum pg_setting ours[] = {PG_CONNINFO, PG_SLOT_NAME, PG_RESTORE_COMMAND, PG_SYNC_NAMES};
    AUTO(cstr) char *path = str_fmt("%s/postgresql.auto.conf", i->data_dir);
    const char *old = disk_read(disk_here(), path);
    AUTO(cstr) char *text = str_dup(old ? old : "");

    for (size_t n = 0; n < ARRAY_LEN(ours); n++) {
        char *shorter = ours[n] != PG_SYNC_NAMES || names_too ? pg_conf_without(text, ours[n]) : str_dup(text);
        free(text);
        text = shorter;
    }
    if (!old || str_eq(text, old))
        return true;
    *ret_changed = true;
    return file_replace(path, text, strlen(text), 0600, err);
}

char *conffile_quote(const char *value)
{
    CHECK(!strpbrk(value, "'\\"));
    return str_fmt("'%s'", value);
}

bool conffile_write(const struct conf_input *in, struct conf_result *ret_result, struct findings *findings,
                    struct err *err)
{
    AUTO(cstr) char *text = config_text(in);

    CHECK(!(in->frozen && in->primary_conninfo));
    *ret_result = (struct conf_result){0};
    if (!file_replace_if_changed(in->instance->config_file, text, 0600, &ret_result->config_changed, err) ||
        !conffile_sanitize(in->instance, in->names_floor, &ret_result->config_changed, err))
        return err_wrap(err, "configuration");
    return true;
}

bool conffile_postmaster_args(const struct conf_input *in, char ***ret_argv, struct findings *findings, struct err *err)
{
    *ret_argv = mem_zero(2, sizeof(**ret_argv));
    (*ret_argv)[0] = str_dup("/bin/postgres");
    return true;
}

void conffile_args_free(char **argv)
{
    free(argv[0]);
    free(argv);
}
