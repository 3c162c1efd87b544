#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/ctl/checks.h"
#include "base/str.h"
#include "core/ha/minor.h"
#include "io/loop.h"
#include "pg/bin.h"
#include "pg/control.h"
#include "pg/datadir.h"
#include "pg/debian.h"
#include "wire/conf/dynamic.h"

enum {
    LOOK_MS = 10 * 1000, /* pg_controldata and `postgres --version`: a hung disk must not hang the check */
    OLDEST_MAJOR = 13,   /* PostgreSQL 12 lacks what our standbys need to re-read (primary_conninfo on reload) */
};

static void turn_until(struct check *c, const bool *done, msec budget_ms)
{
    msec deadline_ms = loop_clock_ms() + budget_ms;

    while (!*done && loop_clock_ms() < deadline_ms)
        loop_turn(c->loop, 100);
}

static void check_data_mode(struct check *c, const char *data_dir)
{
    struct stat st;

    if (stat(data_dir, &st) < 0)
        return;
    mode_t mode = st.st_mode & 0777;
    if (st.st_uid != geteuid() && geteuid() != 0)
        check_error(c, "postgresql.data_dir", "%s: belongs to user %u, we are user %u", data_dir,
                    (unsigned int)st.st_uid, (unsigned int)geteuid());
    if (mode != 0700 && mode != 0750)
        check_error(c, "postgresql.data_dir", "%s: has mode %04o; PostgreSQL starts with 0700 or 0750 only", data_dir,
                    mode);
}

/* Debian's way: without config_dir what was set there would be lost. */
static void check_config_dir(struct check *c, const char *data_dir, int major)
{
    AUTO(cstr) char *config = str_fmt("%s/postgresql.conf", data_dir);
    AUTO(cstr) char *folder = debian_config_dir(data_dir, major);

    if (folder && str_empty(c->settings->postgresql.config_dir) && access(config, F_OK) < 0)
        check_warn(c, "postgresql.config_dir", "is not set, but Debian keeps the configuration of %s in %s", data_dir,
                   folder);
}

/* Returns true if there is a data directory that PostgreSQL could start from. */
static bool check_data_dir(struct check *c)
{
    const char *data_dir = c->settings->postgresql.data_dir;
    struct datadir_state state = {0};
    struct err err = {0};

    datadir_look(data_dir, c->settings->pgkeep.state_dir, &state, &err);
    c->data_major = state.major;
    switch (state.kind) {
    case DATADIR_ABSENT:
    case DATADIR_EMPTY:
        check_passed(c, "data directory %s is %s: the node will bootstrap or clone", data_dir,
                     datadir_kind_name(state.kind));
        return false;
    case DATADIR_VALID:
        check_data_mode(c, data_dir);
        check_config_dir(c, data_dir, state.major);
        if (state.promote_file)
            check_warn(c, "postgresql.data_dir", "%s: a promote trigger lies there; it will be removed before a start",
                       data_dir);
        return true;
    case DATADIR_HALF:
        check_warn(c, "postgresql.data_dir", "%s: a bootstrap, clone or rewind was cut off; the node will do it again",
                   data_dir);
        return false;
    case DATADIR_FOREIGN:
        check_error(c, "postgresql.data_dir", "%s: is not empty and no data directory; it is never touched", data_dir);
        return false;
    case DATADIR_UNREADABLE:
        check_error(c, "postgresql.data_dir", "%s", err.text);
        return false;
    }
    return false;
}

struct version_answer {
    bool done;
    int version;
    struct err err;
};

static void on_version(int version, const struct err *err, void *arg)
{
    struct version_answer *a = arg;

    a->done = true;
    a->version = version;
    if (version == 0 && err)
        a->err = *err;
}

/* 0: unknown, and said so. */
static int installed_version(struct check *c, const struct pg_bin *bin)
{
    struct version_answer a = {0};

    if (!pg_bin_version(c->loop, bin, on_version, &a, &a.err)) {
        check_error(c, "postgresql.bin_dir", "%s", a.err.text);
        return 0;
    }
    turn_until(c, &a.done, 2 * LOOK_MS); /* it has a budget of its own, well below */
    if (a.version == 0)
        check_error(c, "postgresql.bin_dir", "%s", a.done ? a.err.text : "`postgres --version` does not end");
    return a.version;
}

static void check_version(struct check *c, const struct pg_bin *bin, int version)
{
    int major = version / 10000;

    if (c->data_major && c->data_major != major)
        check_error(c, "postgresql.data_dir", "made by PostgreSQL %d, but the programs are version %d (%s)",
                    c->data_major, major, bin->dir ? bin->dir : bin->path[PG_POSTGRES]);
    else if (major < OLDEST_MAJOR)
        check_error(c, "postgresql.bin_dir", "PostgreSQL %d is too old; %d is the first that works", major,
                    OLDEST_MAJOR);
    else
        check_passed(c, "PostgreSQL %d.%d in %s%s", major, version % 10000,
                     bin->dir ? bin->dir : bin->path[PG_POSTGRES],
                     c->data_major ? ", the version of the data directory" : "");
}

char *check_why_not_strict(const struct check *c, const struct dynamic *d)
{
    if (!c->version || d->synchronous_mode == SYNC_MODE_OFF || !d->synchronous_mode_strict ||
        minor_keeps_names(c->version))
        return NULL;
    return minor_why_not_strict(c->version);
}

/* What a new cluster would begin with. */
static void check_strict(struct check *c)
{
    AUTO(cstr) char *why_not = check_why_not_strict(c, c->dynamic);

    if (why_not)
        check_error(c, "bootstrap.dcs.synchronous_mode_strict", "%s: this node would not become primary", why_not);
}

static void check_programs(struct check *c, const struct pg_bin *bin)
{
    static const enum pg_program needed[] = {PG_INITDB, PG_BASEBACKUP, PG_CONTROLDATA, PG_REWIND};

    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        const char *name = pg_program_name(needed[i]);
        AUTO(cstr) char *key = str_fmt("postgresql.bin_name.%s", name);
        const char *renamed = json_string_value(json_object_get(c->dynamic->bin_name, name));
        if (!bin->path[needed[i]])
            check_error(c, renamed ? key : "postgresql.bin_dir", "%s is not installed beside postgres",
                        renamed ? renamed : name);
    }
    if (!bin->path[PG_WALDUMP])
        check_warn(c, "postgresql.bin_dir", "%s is not installed; some rejoins will need a clone instead of a rewind",
                   pg_program_name(PG_WALDUMP));
}

struct control_answer {
    bool done;
    bool known;
    struct pg_control control;
    struct err err;
};

static void on_control(const struct pg_control *control, const struct err *err, void *arg)
{
    struct control_answer *a = arg;

    a->done = true;
    a->known = control != NULL;
    if (control)
        a->control = *control;
    else if (err)
        a->err = *err;
}

static void check_control(struct check *c, const struct pg_bin *bin)
{
    struct control_answer a = {0};
    struct pg_control_job *job = NULL;

    if (!pg_control_read(c->loop, bin, c->settings->postgresql.data_dir, LOOK_MS, on_control, &a, &job, &a.err)) {
        check_error(c, "postgresql.data_dir", "%s", a.err.text);
        return;
    }
    turn_until(c, &a.done, 2 * LOOK_MS);
    if (!a.done)
        pg_control_cancel(job);
    if (!a.known) {
        check_error(c, "postgresql.data_dir", "%s", a.done ? a.err.text : "pg_controldata does not end");
        return;
    }
    c->system_identifier = str_dup(a.control.system_identifier);
    check_passed(c, "data directory %s: system identifier %s, %s", c->settings->postgresql.data_dir,
                 a.control.system_identifier, a.control.state_text);
    if (!pg_control_can_rewind(&a.control))
        check_warn(c, "postgresql.data_dir",
                   "neither data checksums nor wal_log_hints: pg_rewind will not work until PostgreSQL was restarted "
                   "by the node");
}

void check_postgresql(struct check *c)
{
    const struct settings *s = c->settings;
    AUTO(pg_bin) struct pg_bin *bin = NULL;
    struct err err;

    if (!s->postgresql.data_dir || s->pgkeep.witness)
        return;
    bool has_data = check_data_dir(c);
    const struct pg_bin_spec spec = {.bin_dir = c->dynamic->bin_dir,
                                     .bin_name = c->dynamic->bin_name,
                                     .data_major = c->data_major,
                                     .path_env = getenv("PATH")};
    if (!pg_bin_find(&spec, &bin, &err)) {
        bool renamed = json_object_get(c->dynamic->bin_name, pg_program_name(PG_POSTGRES)) != NULL;
        check_error(c, renamed ? "postgresql.bin_name.postgres" : "postgresql.bin_dir", "%s", err.text);
        return;
    }
    check_programs(c, bin);
    int version = installed_version(c, bin);
    c->version = version;
    if (version)
        check_version(c, bin, version);
    check_strict(c);
    if (has_data && bin->path[PG_CONTROLDATA])
        check_control(c, bin);
}
