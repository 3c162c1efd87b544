/*
 * detach: this node goes back to Patroni; what quorum mode left in its files is removed.
 *
 * On the node itself, as PostgreSQL's user, with no agent running: the guard's lock is ours while it works. What the
 * fence in the files still protects must be over: the record is of no quorum, this node's promise has been settled by
 * it, and no primary is here beside the leader of the cluster.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/ctl/ctl.h"
#include "app/ctl/show.h"
#include "app/ctl/verbs.h"
#include "base/str.h"
#include "io/process.h"
#include "pg/bin.h"
#include "pg/control.h"
#include "pg/datadir.h"
#include "pg/detach.h"
#include "pg/instance.h"
#include "pg/names.h"
#include "pg/promise.h"
#include "wire/conf/dynamic.h"
#include "wire/guard.h"

#define DETACH_FORMATS "pretty|json|yaml|yml"

struct detach {
    struct ctl *ctl;
    const struct settings *settings;
    struct cluster *cluster;
    struct datadir_state datadir;
    enum pg_control_state control;
    bool runs; /* a postmaster may be there */
};

/* A file of root's in PostgreSQL's folders is one that it cannot read. */
static bool is_postgres_user(const struct detach *d)
{
    struct stat st;

    if (stat(d->settings->postgresql.data_dir, &st) < 0 || st.st_uid == geteuid())
        return true;
    (void)ctl_refuse("%s belongs to user %u: run this as that user", d->settings->postgresql.data_dir,
                     (unsigned int)st.st_uid);
    return false;
}

/* Held until this program ends: no guard starts meanwhile, and no agent runs. */
static bool take_lock(const struct detach *d)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", d->settings->pgkeep.state_dir, GUARD_LOCK_FILE);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        (void)ctl_refuse("%s: %s", path, strerror(errno));
        return false;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    (void)close(fd); /* nothing was written */
    (void)ctl_refuse("pgkeep runs on this node (%s is locked): stop it first; in pause PostgreSQL stays", path);
    return false;
}

static bool record_allows(const struct detach *d)
{
    const struct record_key *r = &d->cluster->record;
    char why[RECORD_WHY_MAX];

    if (record_key_is_opaque(r)) {
        (void)ctl_refuse("the record in the store %s: what it promises is not known", record_key_why_opaque(r, why));
        return false;
    }
    if (r->present && r->mode == RECORD_QUORUM) {
        (void)ctl_refuse(
            "the cluster is in quorum mode, whose failovers count on the fence of every node: switch it off "
            "first (edit-config -s synchronous_mode=off, with the agents running), then detach");
        return false;
    }
    return true;
}

/* A freeze ends only when the record has settled its term. */
static bool promise_allows(const struct detach *d)
{
    const struct record_key *r = &d->cluster->record;
    struct promise promise;
    struct err err = {0};

    if (promise_read(d->settings->pgkeep.state_dir, &promise, &err) == PROMISE_UNUSABLE) {
        (void)ctl_refuse("%s: what this node promised is not known", err.text);
        return false;
    }
    bool over = promise.term <= promise.settled || (r->present && r->term >= promise.term);
    if (!over)
        (void)ctl_refuse("this node is frozen under term %" PRIu64 ", which the store's record (term %" PRIu64
                         ") has not come to",
                         promise.term, r->term);
    return over;
}

/* What cannot be read may be one, too. */
static bool was_primary(const struct detach *d)
{
    return d->control == PG_CONTROL_UNKNOWN || d->control == PG_CONTROL_IN_PRODUCTION ||
           d->control == PG_CONTROL_SHUT_DOWN || d->control == PG_CONTROL_SHUTTING_DOWN ||
           d->control == PG_CONTROL_IN_CRASH_RECOVERY;
}

/* Who leads, or did last: nobody else may be a primary. NULL: nobody knows. */
static const char *holder(const struct detach *d)
{
    const struct cluster *c = d->cluster;

    return !str_empty(c->leader) ? c->leader : c->record.present ? c->record.leader : NULL;
}

static bool role_allows(struct detach *d)
{
    const char *who = holder(d);

    if (d->datadir.kind == DATADIR_HALF) {
        (void)ctl_refuse("a bootstrap, clone or rewind of %s was cut off: let the node finish it first",
                         d->settings->postgresql.data_dir);
        return false;
    }
    if (d->runs && was_primary(d) && who && !str_eq(who, d->settings->name)) {
        (void)ctl_refuse("PostgreSQL runs here as a primary, and %s leads: it would acknowledge what nobody else has",
                         who);
        return false;
    }
    return true;
}

/* It would come up as a primary, and another one leads. */
static bool wants_quarantine(const struct detach *d)
{
    const char *who = holder(d);

    return d->datadir.kind == DATADIR_VALID && !d->runs && was_primary(d) && !d->datadir.standby_signal && who &&
           !str_eq(who, d->settings->name);
}

static bool make_instance(const struct detach *d, struct pg_instance **ret, struct err *err)
{
    struct findings findings = {0};
    struct pg_bin *bin = NULL;
    AUTO(dynamic) struct dynamic *dynamic = dynamic_read(d->cluster->config, d->settings, &findings);
    const struct pg_bin_spec spec = {.bin_dir = dynamic->bin_dir,
                                     .bin_name = dynamic->bin_name,
                                     .data_major = d->datadir.major,
                                     .path_env = getenv("PATH")};

    findings_deinit(&findings);
    return pg_bin_find(&spec, &bin, err) && pg_instance_new(d->ctl->settings, dynamic, bin, ret, err);
}

/* A number in postmaster.pid outlives its process; a server works in its data directory. */
static bool postmaster_runs(const struct detach *d)
{
    AUTO(cstr) char *path = str_fmt("/proc/%d/cwd", (int)d->datadir.postmaster_pid);
    struct process_stat stat_of;
    struct stat works_in, data;

    if (d->datadir.postmaster_pid <= 0 || !process_stat_read(d->datadir.postmaster_pid, &stat_of) ||
        stat_of.state == 'Z')
        return false;
    return stat(path, &works_in) < 0 || stat(d->settings->postgresql.data_dir, &data) < 0 ||
           (works_in.st_dev == data.st_dev && works_in.st_ino == data.st_ino);
}

static void look(struct detach *d)
{
    const char *data_dir = d->settings->postgresql.data_dir;
    lsn checkpoint = 0;

    datadir_look(data_dir, d->settings->pgkeep.state_dir, &d->datadir, NULL);
    d->control = d->datadir.kind == DATADIR_VALID ? pg_control_glance(data_dir, &checkpoint) : PG_CONTROL_UNKNOWN;
    d->runs = postmaster_runs(d);
}

/* A sentence about what was done. */
static void add(json_t *changed, bool did, const char *path, const char *what)
{
    AUTO(cstr) char *text = str_fmt("%s %s", path, what);

    if (did)
        json_array_append_new(changed, json_string(text));
}

static void tell(const struct detach *d, const struct detach_done *done, const struct pg_instance *i,
                 enum listing_format format)
{
    AUTO(cstr) char *signal = str_fmt("%s/standby.signal", i->data_dir);
    AUTO(cstr) char *auto_conf = str_fmt("%s/postgresql.auto.conf", i->data_dir);
    AUTO(cstr) char *names = names_path(i);
    json_t *changed = json_array();

    add(changed, done->quarantined, signal, "was made: another node leads");
    add(changed, done->names, names, "was removed");
    add(changed, done->auto_conf, auto_conf, "was cleared of recovery parameters and synchronous_standby_names");
    add(changed, done->conf, i->config_file, "was cleared of the write fence and of what names an upstream");
    for (size_t n = 0; format == LISTING_PRETTY && n < json_array_size(changed); n++)
        (void)printf("%s\n", json_string_value(json_array_get(changed, n)));
    if (format == LISTING_PRETTY && !json_array_size(changed))
        (void)printf("Nothing is left to remove\n");
    json_t *all = json_pack("{ss, sb, so}", "member", d->settings->name, "running", d->runs, "changed", changed);
    if (format != LISTING_PRETTY)
        show_json(all, format);
    json_decref(all);
}

int verb_detach(struct ctl *ctl, int argc, char **argv)
{
    const char *format = "pretty";
    struct detach_done done = {0};
    struct err err = {0};
    int status;
    const struct opt opts[] = {
        {'f', "format", "TEXT", "Output format (" DETACH_FORMATS ")", .text = &format, .choices = DETACH_FORMATS},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status))
        return status;
    if (argc)
        return ctl_misuse(ctl, "Got unexpected extra argument (%s)", argv[0]);
    struct detach d = {.ctl = ctl, .settings = ctl->settings};
    if (str_empty(d.settings->postgresql.data_dir) || str_empty(d.settings->name) || str_empty(d.settings->scope))
        return ctl_refuse("this needs the configuration of a node: scope, name and postgresql.data_dir");
    if (!is_postgres_user(&d) || !take_lock(&d))
        return CTL_FAILED;
    if (!ctl_read(ctl, d.settings->scope, &d.cluster, &err))
        return ctl_fail(&err);
    AUTO(cluster) UNUSED struct cluster *cluster = d.cluster;
    look(&d);
    if (!record_allows(&d) || !promise_allows(&d) || !role_allows(&d))
        return CTL_FAILED;

    AUTO(pg_instance) struct pg_instance *i = NULL;
    if (!make_instance(&d, &i, &err))
        return ctl_fail(&err);
    bool ok = detach_files(i, wants_quarantine(&d), &done, &err);
    tell(&d, &done, i, listing_format_of(format));
    if (!ok)
        return ctl_fail(&err);
    ctl_note("Node %s is detached; PostgreSQL %s. Patroni may be started on it now, with the same file",
             d.settings->name, d.runs ? "runs on with what it has loaded" : "is not running");
    return CTL_OK;
}
