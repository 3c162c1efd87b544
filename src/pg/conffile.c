#include "pg/conffile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/str.h"
#include "pg/datadir.h"
#include "pg/debian.h"
#include "pg/file.h"
#include "pg/initdb.h"
#include "pg/instance.h"
#include "wire/conf/dynamic.h"

enum { CONF_FILE_MAX = 4 * 1024 * 1024 }; /* far above any pg_hba.conf in the field */

/* The mode for a file of ours: what it has; a new one is as open as the data directory. */
static mode_t mode_for(const struct pg_instance *i, const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0)
        return st.st_mode & 0777;
    if (stat(i->data_dir, &st) == 0 && (st.st_mode & S_IRGRP))
        return 0640;
    return 0600;
}

/* NULL where the file does not exist. */
static bool read_maybe(const char *path, char **ret_text, struct err *err)
{
    struct err why = {0};

    if (file_read(path, CONF_FILE_MAX, ret_text, NULL, &why))
        return true;
    if (why.code == ERR_NOT_FOUND) {
        *ret_text = NULL;
        return true;
    }
    if (err)
        *err = why;
    return false;
}

/* Written by us, or by Patroni before us. */
static bool is_ours(const char *text)
{
    return strstr(text, "# It will be overwritten by ") != NULL;
}

static const char no_original[] = "# There was no postgresql.conf here when this cluster came under management.\n";

/* initdb and clones bring their files in the data directory, wherever ours are to be. *ret_text may become NULL. */
static bool original_beside_data(const struct pg_instance *i, char **ret_text, struct err *err)
{
    AUTO(cstr) char *base = str_fmt("%s/%s", i->data_dir, strrchr(i->base_config_file, '/') + 1);
    AUTO(cstr) char *config = str_fmt("%s/%s", i->data_dir, strrchr(i->config_file, '/') + 1);
    AUTO(cstr) char *text = NULL;

    if (!read_maybe(base, &text, err) || (!text && !read_maybe(config, &text, err)))
        return false;
    *ret_text = text && !is_ours(text) ? TAKE(text) : NULL;
    return true;
}

/*
 * Keep the original as postgresql.base.conf, once. Where there is none (a clone without it, or somebody removed
 * the base file and only ours is left) an empty one keeps the include valid.
 */
static bool keep_original(const struct pg_instance *i, struct findings *findings, struct err *err)
{
    AUTO(cstr) char *current = NULL;
    AUTO(cstr) char *beside = NULL;

    if (!str_empty(i->dynamic->custom_conf) || file_exists(i->base_config_file))
        return true;
    if (!read_maybe(i->config_file, &current, err))
        return false;
    if (current && !is_ours(current)) {
        if (rename(i->config_file, i->base_config_file) != 0)
            return err_sys(err, errno, "renaming %s to %s", i->config_file, i->base_config_file);
        return fsync_parent(i->base_config_file, err);
    }
    if (!str_eq(i->config_dir, i->data_dir) && !original_beside_data(i, &beside, err))
        return false;
    if (!beside)
        findings_add(findings, FINDING_WARNING, "%s: was not there, PostgreSQL starts from its built-in defaults",
                     i->config_file);
    const char *text = beside ? beside : no_original;
    return file_replace(i->base_config_file, text, strlen(text), mode_for(i, i->config_file), err);
}

/* The settings that a Debian cluster had lie where we do not look. Said until they are found, or written down here. */
static void tell_debian(const struct pg_instance *i, struct findings *findings)
{
    AUTO(cstr) char *base = NULL;

    if (!read_maybe(i->base_config_file, &base, NULL) || !str_eq(base, no_original))
        return;
    AUTO(cstr) char *folder = debian_config_dir(i->data_dir, i->major);
    if (folder && !str_eq(folder, i->config_dir))
        findings_add(findings, FINDING_WARNING,
                     "postgresql.config_dir: Debian keeps the configuration of %s in %s, and what it says is not in "
                     "force: set config_dir to that folder, or write what is needed into %s",
                     i->data_dir, folder, i->base_config_file);
}

/* The line of one parameter, so that two texts can be compared in it. free() it; NULL: absent. */
static char *line_of(const char *text, const char *name)
{
    AUTO(cstr) char *begin = str_fmt("\n%s = ", name);
    const char *at = strstr(text, begin);

    return at ? str_fmt("%.*s", (int)strcspn(at + 1, "\n"), at + 1) : NULL;
}

static bool same_line(const char *a, const char *b, const char *name)
{
    AUTO(cstr) char *x = line_of(a, name);
    AUTO(cstr) char *y = line_of(b, name);

    return str_eq(x, y);
}

static bool write_config(const struct conf_input *in, struct conf_result *result, struct findings *findings,
                         struct err *err)
{
    const struct pg_instance *i = in->instance;
    AUTO(cstr) char *old = NULL;

    if (!keep_original(i, findings, err) || !read_maybe(i->config_file, &old, err))
        return false;
    tell_debian(i, findings);
    AUTO(cstr) char *text = conffile_config_text(in, findings);
    result->connection_changed =
        !old || !same_line(old, text, "primary_conninfo") || !same_line(old, text, "primary_slot_name");
    /* sslpassword is the one secret that may be in it. */
    mode_t mode = strstr(text, "sslpassword=") ? 0600 : mode_for(i, i->config_file);
    return file_replace_if_changed(i->config_file, text, mode, &result->config_changed, err);
}

/* Does ALTER SYSTEM's file say more of the names than the recovery parameters that go anyway? */
static bool overrides_names(const struct pg_instance *i)
{
    AUTO(cstr) char *path = str_fmt("%s/postgresql.auto.conf", i->data_dir);
    AUTO(cstr) char *text = NULL;

    if (!read_maybe(path, &text, NULL) || !text)
        return false;
    AUTO(cstr) char *without = conffile_sanitize_auto(text, false);
    AUTO(cstr) char *names = conffile_sanitize_auto(without ? without : text, true);
    return names != NULL;
}

/* Recovery parameters set by ALTER SYSTEM would win over ours. */
bool conffile_sanitize(const struct pg_instance *i, bool names_too, bool *ret_changed, struct err *err)
{
    AUTO(cstr) char *path = str_fmt("%s/postgresql.auto.conf", i->data_dir);
    AUTO(cstr) char *old = NULL;

    if (!read_maybe(path, &old, err))
        return false;
    AUTO(cstr) char *text = old ? conffile_sanitize_auto(old, names_too) : NULL;
    if (!text)
        return true;
    *ret_changed = true;
    return file_replace(path, text, strlen(text), mode_for(i, path), err);
}

static bool write_hba(const struct conf_input *in, bool *ret_changed, struct err *err)
{
    const struct pg_instance *i = in->instance;
    AUTO(cstr) char *own = str_fmt("%s/pg_hba.conf", i->config_dir);
    AUTO(cstr) char *old = NULL;
    bool bootstrap = in->role == CONF_BOOTSTRAP && bootstrap_is_custom(i);

    if (!i->hba_owned && !bootstrap) /* the operator's own file is left alone */
        return true;
    if (!read_maybe(own, &old, err))
        return false;
    AUTO(cstr) char *text = conffile_hba_text(in, old);
    return file_replace_if_changed(own, text, mode_for(i, own), ret_changed, err);
}

static bool write_ident(const struct conf_input *in, bool *ret_changed, struct err *err)
{
    const struct pg_instance *i = in->instance;
    AUTO(cstr) char *text = i->ident_owned ? conffile_ident_text(in) : NULL;

    if (text)
        return file_replace_if_changed(i->ident_file, text, mode_for(i, i->ident_file), ret_changed, err);
    if (i->ident_owned && !file_exists(i->ident_file))
        return file_replace(i->ident_file, "", 0, mode_for(i, i->ident_file), err);
    return true;
}

/* Folders that the configuration names and we or the server would miss. */
static bool make_folders(const struct pg_instance *i, struct err *err)
{
    const char *list = json_string_value(json_object_get(i->dynamic->parameters, "unix_socket_directories"));

    if (!dir_make(i->config_dir, 0700, err))
        return err_wrap(err, "postgresql.config_dir");
    for (const char *at = list ? list : ""; *at;) {
        at += strspn(at, " ,");
        size_t len = strcspn(at, ",");
        AUTO(cstr) char *folder = str_fmt("%.*s", (int)len, at);
        if (*folder == '/' && !dir_make(folder, 0755, err))
            return err_wrap(err, "unix_socket_directories");
        at += len;
    }
    return true;
}

bool conffile_write(const struct conf_input *in, struct conf_result *ret_result, struct findings *findings,
                    struct err *err)
{
    const struct pg_instance *i = in->instance;
    struct conf_result result = {0};
    bool custom = in->role == CONF_BOOTSTRAP && bootstrap_is_custom(i);
    bool keep_recovery = custom && bootstrap_keep_recovery_conf(i) && !bootstrap_recovery_conf(i);

    CHECK(!(in->frozen && (in->primary_conninfo || in->primary_slot_name)));
    if (!make_folders(i, err) || !write_config(in, &result, findings, err))
        return err_wrap(err, "configuration");
    result.names_overridden = in->names_floor && overrides_names(i);
    if (!keep_recovery && !conffile_sanitize(i, in->names_floor, &result.config_changed, err))
        return err_wrap(err, "configuration");
    if (!write_hba(in, &result.hba_changed, err) || !write_ident(in, &result.ident_changed, err))
        return err_wrap(err, "configuration");
    if (custom && bootstrap_recovery_conf(i) && !datadir_set_recovery_signal(i->data_dir, err))
        return err_wrap(err, "configuration");

    conffile_raise(in, &result);
    *ret_result = result;
    return true;
}

/* ---- copies ---- */

/* The files that a copy is kept of; the caller frees each. */
static size_t kept_files(const struct pg_instance *i, char *files[4])
{
    size_t count = 0;

    files[count++] = str_dup(i->config_file);
    if (str_empty(i->dynamic->custom_conf))
        files[count++] = str_dup(i->base_config_file);
    if (i->hba_owned)
        files[count++] = str_dup(i->hba_file);
    if (i->ident_owned)
        files[count++] = str_dup(i->ident_file);
    return count;
}

static bool save_one(const struct pg_instance *i, const char *path, struct err *err)
{
    AUTO(cstr) char *backup = str_fmt("%s.backup", path);
    AUTO(cstr) char *text = NULL;

    if (!read_maybe(path, &text, err))
        return false;
    return !text || file_replace_if_changed(backup, text, mode_for(i, path), NULL, err);
}

static bool restore_one(const struct pg_instance *i, const char *path, struct err *err)
{
    AUTO(cstr) char *backup = str_fmt("%s.backup", path);
    AUTO(cstr) char *text = NULL;

    if (file_exists(path))
        return true;
    if (!read_maybe(backup, &text, err))
        return false;
    return !text || file_replace(path, text, strlen(text), mode_for(i, path), err);
}

static bool each_kept(const struct pg_instance *i, bool (*each)(const struct pg_instance *, const char *, struct err *),
                      struct err *err)
{
    char *files[4];
    size_t count = kept_files(i, files);
    bool good = true;

    for (size_t f = 0; f < count; f++) {
        good = good && each(i, files[f], err);
        free(files[f]);
    }
    return good;
}

bool conffile_save(const struct pg_instance *i, struct err *err)
{
    return each_kept(i, save_one, err) || err_wrap(err, "keeping copies of the configuration files");
}

bool conffile_restore(const struct pg_instance *i, struct err *err)
{
    return each_kept(i, restore_one, err) || err_wrap(err, "restoring configuration files from their copies");
}
