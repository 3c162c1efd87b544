#include "pg/bin.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "io/child.h"

enum {
    MAJOR_NEWEST = 40, /* folders of versions that do not exist yet cost one stat each */
    MAJOR_OLDEST = 13,
    VERSION_BUDGET_MS = 10 * 1000, /* a program that only prints a line; a cold disk may take seconds */
};

/* Where packages put the programs of one major version. */
static const char *const version_dirs[] = {
    "/usr/lib/postgresql/%d/bin", /* Debian, Ubuntu */
    "/usr/pgsql-%d/bin",          /* PGDG's RPMs */
    "/usr/lib/postgresql%d/bin",  /* SUSE */
    "/usr/libexec/postgresql%d",  /* Alpine */
    "/opt/postgresql/%d/bin",
    "/opt/PostgreSQL/%d/bin", /* EDB's installer */
    "/opt/homebrew/opt/postgresql@%d/bin",
    "/usr/local/opt/postgresql@%d/bin",
    "/usr/local/pgsql-%d/bin",
};

static const char *const plain_dirs[] = {"/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"};

static const char *const program_names[PG_PROGRAM_COUNT] = {
    [PG_POSTGRES] = "postgres",          [PG_INITDB] = "initdb",
    [PG_BASEBACKUP] = "pg_basebackup",   [PG_REWIND] = "pg_rewind",
    [PG_CONTROLDATA] = "pg_controldata", [PG_WALDUMP] = "pg_waldump",
};

const char *pg_program_name(enum pg_program which)
{
    CHECK(which < PG_PROGRAM_COUNT);
    return program_names[which];
}

/* What the program is called here (postgresql.bin_name). */
static const char *local_name(const struct pg_bin_spec *spec, enum pg_program which)
{
    const char *name = json_string_value(json_object_get(spec->bin_name, program_names[which]));

    return str_empty(name) ? program_names[which] : name;
}

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* dir/name if it is a program (name alone if absolute); NULL otherwise. free() it. */
static char *program_in(const char *dir, const char *name)
{
    AUTO(cstr) char *path = *name == '/' ? str_dup(name) : str_fmt("%s/%s", dir, name);

    return is_program(path) ? TAKE(path) : NULL;
}

static bool dir_has_server(const struct pg_bin_spec *spec, const char *dir)
{
    AUTO(cstr) char *server = program_in(dir, local_name(spec, PG_POSTGRES));

    return server != NULL;
}

static char *dir_name(const char *pattern, int major)
{
    const char *mark = strstr(pattern, "%d");

    return str_fmt("%.*s%d%s", (int)(mark - pattern), pattern, major, mark + 2);
}

/* The folder of one major version; NULL: not installed. free() it. */
static char *dir_of_major(const struct pg_bin_spec *spec, int major)
{
    for (size_t i = 0; i < ARRAY_LEN(version_dirs); i++) {
        AUTO(cstr) char *dir = dir_name(version_dirs[i], major);
        if (dir_has_server(spec, dir))
            return TAKE(dir);
    }
    return NULL;
}

/* The first folder of PATH with the program; NULL: none. free() it. */
static char *dir_in_path(const char *path_env, const char *name)
{
    for (const char *at = path_env; at && *at;) {
        size_t len = strcspn(at, ":");
        AUTO(cstr) char *dir = str_fmt("%.*s", (int)len, at);
        AUTO(cstr) char *program = *dir == '/' ? program_in(dir, name) : NULL; /* never "." */
        if (program)
            return TAKE(dir);
        at += len + (at[len] == ':');
    }
    return NULL;
}

static char *dir_newest(const struct pg_bin_spec *spec, int *ret_major)
{
    for (int major = MAJOR_NEWEST; major >= MAJOR_OLDEST; major--) {
        char *dir = dir_of_major(spec, major);
        *ret_major = dir ? major : 0;
        if (dir)
            return dir;
    }
    for (size_t i = 0; i < ARRAY_LEN(plain_dirs); i++) {
        if (dir_has_server(spec, plain_dirs[i]))
            return str_dup(plain_dirs[i]);
    }
    return NULL;
}

/* What a configured folder says of its version, if it is one of those that packages make; else 0. */
static int major_of_dir(const char *dir)
{
    for (int major = MAJOR_NEWEST; major >= MAJOR_OLDEST; major--)
        for (size_t i = 0; i < ARRAY_LEN(version_dirs); i++) {
            AUTO(cstr) char *name = dir_name(version_dirs[i], major);
            if (str_eq(dir, name))
                return major;
        }
    return 0;
}

bool pg_bin_find(const struct pg_bin_spec *spec, struct pg_bin **ret_bin, struct err *err)
{
    AUTO(pg_bin) struct pg_bin *b = mem_zero(1, sizeof(*b));
    bool configured = !str_empty(spec->bin_dir);

    if (configured)
        b->dir = str_dup(spec->bin_dir);
    else if (spec->data_major)
        b->dir = dir_of_major(spec, spec->data_major);
    if (b->dir)
        b->major = configured ? major_of_dir(b->dir) : spec->data_major;
    else
        b->dir = dir_newest(spec, &b->major);
    if (!b->dir) /* last: what stands in PATH is often a few links of a whole installation */
        b->dir = dir_in_path(spec->path_env, local_name(spec, PG_POSTGRES));
    if (!b->dir)
        return err_set(err, ERR_NOT_FOUND,
                       "no PostgreSQL server program found in PATH or the usual folders; "
                       "set postgresql.bin_dir");

    for (int i = 0; i < PG_PROGRAM_COUNT; i++) {
        const char *name = local_name(spec, (enum pg_program)i);
        b->path[i] = program_in(b->dir, name);
        if (!b->path[i] && !configured) {
            AUTO(cstr) char *other = dir_in_path(spec->path_env, name);
            b->path[i] = other ? program_in(other, name) : NULL;
        }
    }
    if (!b->path[PG_POSTGRES])
        return err_set(err, ERR_NOT_FOUND, "no program %s in %s", local_name(spec, PG_POSTGRES), b->dir);

    *ret_bin = TAKE(b);
    return true;
}

struct pg_bin *pg_bin_copy(const struct pg_bin *bin)
{
    struct pg_bin *copy = mem_zero(1, sizeof(*copy));

    copy->dir = str_dup(bin->dir);
    for (int i = 0; i < PG_PROGRAM_COUNT; i++)
        copy->path[i] = str_dup(bin->path[i]);
    copy->major = bin->major;
    return copy;
}

void pg_bin_free(struct pg_bin *b)
{
    if (!b)
        return;
    free(b->dir);
    for (int i = 0; i < PG_PROGRAM_COUNT; i++)
        free(b->path[i]);
    free(b);
}

bool pg_bin_need(const struct pg_bin *b, enum pg_program which, const char **ret_path, struct err *err)
{
    CHECK(which < PG_PROGRAM_COUNT);
    if (!b->path[which])
        return err_set(err, ERR_NOT_FOUND, "program %s is not in %s nor in PATH", program_names[which], b->dir);

    *ret_path = b->path[which];
    return true;
}

/* A decimal number at *at, which is left behind it; 0 if there is none or it is no part of a version. */
static int number_at(const char **at)
{
    int value = 0;

    for (; isdigit((unsigned char)**at); (*at)++)
        value = value < 1000 ? value * 10 + (**at - '0') : value;
    return value < 1000 ? value : 0;
}

int pg_version_parse(const char *text)
{
    /* The version is the first word that starts with a digit. */
    for (const char *at = text; *at; at++) {
        bool word_start = at == text || isspace((unsigned char)at[-1]);
        if (!word_start || !isdigit((unsigned char)*at))
            continue;
        int major = number_at(&at);
        int minor = 0;
        if (*at == '.') {
            at++;
            minor = number_at(&at);
        }
        return major < 8 ? 0 : major * 10000 + minor; /* "1": not a version of a server */
    }
    return 0;
}

struct version_job {
    pg_bin_version_fn *done;
    void *arg;
};

static void version_done(const struct child_result *result, void *arg)
{
    struct version_job *j = arg;
    struct err err = {0};
    int version = 0;

    if (child_succeeded(result, "postgres --version", &err)) {
        version = pg_version_parse(result->out);
        if (!version)
            (void)err_set(&err, ERR_PG, "postgres --version: no version in \"%.80s\"", result->out);
    }
    j->done(version, version ? NULL : &err, j->arg);
    free(j);
}

bool pg_bin_version(struct loop *l, const struct pg_bin *bin, pg_bin_version_fn *done, void *arg, struct err *err)
{
    static const char *const env[] = {"LC_ALL=C", NULL};
    const char *program = NULL;

    if (!pg_bin_need(bin, PG_POSTGRES, &program, err))
        return false;

    const char *argv[] = {program, "--version", NULL};
    struct child_spec spec = {.argv = argv, .env = env, .budget_ms = VERSION_BUDGET_MS};
    struct version_job *j = mem_zero(1, sizeof(*j));
    *j = (struct version_job){.done = done, .arg = arg};
    if (!child_start(l, &spec, version_done, j, NULL, err)) {
        free(j);
        return false;
    }
    return true;
}
