#include "pg/instance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "pg/bin.h"
#include "pg/datadir.h"
#include "pg/file.h"
#include "pg/resolve.h"
#include "pg/sql.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

/* A parameter of the merged configuration as text; NULL if absent. Numbers and booleans have none here. */
static const char *parameter(const struct pg_instance *i, const char *name)
{
    const char *key;
    json_t *value;

    json_object_foreach(i->dynamic->parameters, key, value)
    {
        if (str_eq_nocase(key, name))
            return json_string_value(value);
    }
    return NULL;
}

/* free() it. */
static char *absolute(const char *base, const char *path)
{
    return *path == '/' ? str_dup(path) : str_fmt("%s/%s", base, path);
}

static bool set_paths(struct pg_instance *i, struct err *err)
{
    const struct settings *s = i->settings;
    AUTO(cstr) char *here = getcwd(NULL, 0);
    if (!here)
        return err_sys(err, errno, "looking up the working folder");

    i->data_dir = absolute(here, s->postgresql.data_dir);
    i->config_dir =
        str_empty(s->postgresql.config_dir) ? str_dup(i->data_dir) : absolute(here, s->postgresql.config_dir);
    i->state_dir = absolute(here, s->pgkeep.state_dir);
    i->passfile =
        str_empty(s->postgresql.pgpass) ? str_fmt("%s/pgpass", i->state_dir) : absolute(here, s->postgresql.pgpass);
    i->log_path = str_fmt("%s/postmaster.log", i->state_dir);

    const char *base = json_string_value(json_object_get(s->postgresql.section, "config_base_name"));
    base = str_empty(base) ? "postgresql" : base;
    i->config_file = str_fmt("%s/%s.conf", i->config_dir, base);
    i->base_config_file = str_fmt("%s/%s.base.conf", i->config_dir, base);

    AUTO(cstr) char *own_hba = str_fmt("%s/pg_hba.conf", i->config_dir);
    AUTO(cstr) char *own_ident = str_fmt("%s/pg_ident.conf", i->config_dir);
    const char *hba = parameter(i, "hba_file");
    const char *ident = parameter(i, "ident_file");
    i->hba_file = str_empty(hba) ? str_dup(own_hba) : absolute(i->config_dir, hba);
    i->ident_file = str_empty(ident) ? str_dup(own_ident) : absolute(i->config_dir, ident);
    i->hba_owned = str_eq(i->hba_file, own_hba);
    i->ident_owned = str_eq(i->ident_file, own_ident);
    return true;
}

/* The first absolute folder of unix_socket_directories; NULL: none. free() it. */
static char *socket_folder(const char *list)
{
    for (const char *at = list; *at;) {
        at += strspn(at, " ,");
        size_t len = strcspn(at, ",");
        size_t trimmed = len;
        while (trimmed && at[trimmed - 1] == ' ')
            trimmed--;
        if (*at == '/')
            return str_fmt("%.*s", (int)trimmed, at);
        at += len;
    }
    return NULL;
}

static bool is_any_of(const char *word, size_t len, const char *const *words)
{
    for (int i = 0; words[i]; i++) {
        if (strlen(words[i]) == len && strncasecmp(word, words[i], len) == 0)
            return true;
    }
    return false;
}

/* How we reach our own listener by TCP: loopback where it listens there (Patroni: _get_tcp_local_address). */
static void local_tcp(const char *listen, char **ret_host, char **ret_addr)
{
    static const char *const loopback4[] = {"*", "0.0.0.0", "127.0.0.1", "localhost", NULL};
    static const char *const loopback6[] = {"::", "::1", NULL};
    AUTO(cstr) char *first = NULL;
    bool any6 = false;

    for (const char *at = listen ? listen : "*"; *at;) {
        at += strspn(at, " ,");
        size_t len = strcspn(at, " ,");
        if (is_any_of(at, len, loopback4)) {
            *ret_host = str_dup("localhost");
            *ret_addr = str_dup("127.0.0.1");
            return;
        }
        any6 |= is_any_of(at, len, loopback6);
        if (!first && len)
            first = str_fmt("%.*s", (int)len, at);
        at += len;
    }
    if (any6) {
        *ret_host = str_dup("localhost");
        *ret_addr = str_dup("::1");
        return;
    }
    *ret_host = str_dup(first ? first : "localhost");
    if (resolve_is_numeric(*ret_host))
        *ret_addr = str_dup(*ret_host);
}

static void local_address(const struct pg_instance *i, bool by_socket, char **ret_host, char **ret_addr)
{
    const char *folders = parameter(i, "unix_socket_directories");

    if (by_socket) {
        if (!folders)
            return; /* libpq's default folder, which is the server's too */
        *ret_host = socket_folder(folders);
        if (*ret_host)
            return;
    }
    local_tcp(i->settings->postgresql.listen.host, ret_host, ret_addr);
}

static void set_local(struct pg_instance *i)
{
    const struct settings *s = i->settings;

    i->local_port = s->postgresql.listen.port ? s->postgresql.listen.port : 5432;
    local_address(i, i->dynamic->use_unix_socket, &i->local_host, &i->local_addr);
    local_address(i, i->dynamic->use_unix_socket_repl, &i->local_repl_host, &i->local_repl_addr);
}

static bool check_passfile(const struct pg_instance *i, struct err *err)
{
    struct stat st;

    if (stat(i->passfile, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(err, ERR_INPUT, "%s exists and is no file: check postgresql.pgpass", i->passfile);
    return true;
}

bool pg_instance_new(struct settings *settings, struct dynamic *dynamic, struct pg_bin *take_bin,
                     struct pg_instance **ret_instance, struct err *err)
{
    AUTO(pg_instance) struct pg_instance *i = mem_zero(1, sizeof(*i));
    struct datadir_state state;

    i->refs = 1;
    i->settings = settings_ref(settings);
    i->dynamic = dynamic_ref(dynamic);
    i->bin = take_bin;
    if (!set_paths(i, err))
        return false;
    set_local(i);
    datadir_look(i->data_dir, i->state_dir, &state, NULL);
    i->major = state.major ? state.major : i->bin->major;
    if (!dir_make(i->state_dir, 0700, err))
        return err_wrap(err, "state folder");
    if (!check_passfile(i, err))
        return false;

    *ret_instance = TAKE(i);
    return true;
}

struct pg_instance *pg_instance_ref(struct pg_instance *i)
{
    CHECK(i->refs > 0);
    i->refs++;
    return i;
}

void pg_instance_unref(struct pg_instance *i)
{
    if (!i)
        return;
    CHECK(i->refs > 0);
    if (--i->refs)
        return;

    settings_unref(i->settings);
    dynamic_unref(i->dynamic);
    pg_bin_free(i->bin);
    free(i->data_dir);
    free(i->config_dir);
    free(i->state_dir);
    free(i->passfile);
    free(i->log_path);
    free(i->config_file);
    free(i->base_config_file);
    free(i->hba_file);
    free(i->ident_file);
    free(i->local_host);
    free(i->local_addr);
    free(i->local_repl_host);
    free(i->local_repl_addr);
    free(i);
}

struct sql_target pg_instance_local(const struct pg_instance *i, const char *dbname)
{
    return (struct sql_target){
        .host = i->local_host,
        .hostaddr = i->local_addr,
        .port = i->local_port,
        .dbname = dbname,
        .user = &i->settings->postgresql.superuser,
        .passfile = i->passfile,
    };
}

struct sql_target pg_instance_local_replication(const struct pg_instance *i)
{
    struct sql_target t = pg_instance_local(i, NULL);

    t.host = i->local_repl_host;
    t.hostaddr = i->local_repl_addr;
    t.user = &i->settings->postgresql.replication;
    t.replication = true;
    t.application_name = "pgkeep_job"; /* never a name that could count as a synchronous standby */
    return t;
}

struct sql_target pg_instance_remote(const struct pg_instance *i, const struct pg_user *user, const char *host,
                                     int port, bool replication)
{
    return (struct sql_target){
        .host = host,
        .port = port,
        .user = user,
        .replication = replication,
        .passfile = i->passfile,
        .application_name = "pgkeep_job", /* never a name that could count as a synchronous standby */
    };
}

const struct pg_user *pg_instance_rewind_user(const struct pg_instance *i)
{
    const struct settings *s = i->settings;

    return str_empty(s->postgresql.rewind.username) ? &s->postgresql.superuser : &s->postgresql.rewind;
}
