#include "app/demo/trial.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/demo/writer.h"
#include "base/str.h"
#include "io/loop.h"

enum {
    LEADER_MS = 120 * 1000,  /* initdb on a slow disk */
    HEALTHY_MS = 180 * 1000, /* clones included */
    WRITES_MS = 60 * 1000,
    CAUGHT_UP_MS = 30 * 1000,
    NEXT_MS = 90 * 1000,  /* an election, a promotion, on a machine that has other things to do */
    BACK_MS = 180 * 1000, /* crash recovery, rewind or clone */
    LOOK_MS = 100,
    ROWS_BEFORE = 500,
    ROWS_AFTER = 200,
    LOG_LINES = 24,
};

struct trial {
    struct demo *d;
    struct writer *writer;
    msec phase_ms;         /* when the phase began */
    struct demo_node *old; /* the primary that is killed */
    struct demo_node *next;
};

static void phase_begin(struct trial *t)
{
    t->phase_ms = loop_clock_ms();
}

static void phase_end(const struct trial *t, const char *what)
{
    msec took = loop_clock_ms() - t->phase_ms;

    (void)printf("%7.2f s  %s\n", (double)took / 1000, what);
    (void)fflush(stdout);
}

static bool stopped(const struct trial *t, struct err *err)
{
    return t->d->asked_to_stop && !err_set(err, ERR_INPUT, "interrupted");
}

/* A server that is meant to run and does not will not get better by waiting. */
static bool all_run(struct trial *t, struct err *err)
{
    if (!proc_running(&t->d->etcd))
        return err_set(err, ERR_STORE, "etcd has ended");
    for (int i = 0; i < t->d->node_count; i++)
        if (!proc_running(&t->d->nodes[i].proc) && &t->d->nodes[i] != t->old)
            return err_set(err, ERR_PG, "node %s has ended", t->d->nodes[i].name);
    return true;
}

typedef bool arrived_fn(struct trial *t, const json_t *list);

/* Looks at the list until arrived() says so. */
static bool await(struct trial *t, arrived_fn *arrived, msec budget_ms, const char *what, struct err *err)
{
    msec deadline_ms = loop_clock_ms() + budget_ms;
    struct err last = {0};

    for (;;) {
        json_t *list = demo_list(t->d, &last);
        bool there = list && arrived(t, list);
        json_decref(list);
        if (there)
            return true;
        if (!all_run(t, err))
            return false;
        if (loop_clock_ms() >= deadline_ms)
            return err_set(err, ERR_TIMEOUT, "%s: not within %lld s%s%s", what, (long long)(budget_ms / 1000),
                           *last.text ? "; " : "", last.text);
        if (!demo_pause(t->d, LOOK_MS))
            return !stopped(t, err);
    }
}

static bool has_leader(struct trial *t, const json_t *list)
{
    const struct demo_node *leader = demo_leader(t->d, list);

    return leader && str_eq(demo_state_of(list, leader->name), "running");
}

static bool all_healthy(struct trial *t, const json_t *list)
{
    return demo_healthy_count(list) == t->d->node_count;
}

static bool has_next_leader(struct trial *t, const json_t *list)
{
    struct demo_node *leader = demo_leader(t->d, list);

    if (!leader || leader == t->old || !str_eq(demo_state_of(list, leader->name), "running"))
        return false;
    t->next = leader;
    return true;
}

static bool start_phase(struct trial *t, struct err *err)
{
    phase_begin(t);
    if (!await(t, has_leader, LEADER_MS, "a first leader", err))
        return false;
    phase_end(t, "the first node is bootstrapped and leads");

    phase_begin(t);
    if (!await(t, all_healthy, HEALTHY_MS, "all nodes healthy", err))
        return false;
    phase_end(t, "the others are cloned and stream");
    return true;
}

static bool write_rows(struct trial *t, int count, struct err *err)
{
    msec deadline_ms = loop_clock_ms() + WRITES_MS;

    for (int i = 0; i < count; i++) {
        if (!writer_row(t->writer, err))
            return err_wrap(err, "writing row %d", i + 1);
        if (loop_clock_ms() >= deadline_ms)
            return err_set(err, ERR_TIMEOUT, "only %d of %d rows were written within %d s", i + 1, count,
                           WRITES_MS / 1000);
        if (i % 50 == 0 && !demo_pause(t->d, 0))
            return !stopped(t, err);
    }
    return true;
}

/* Commits wait for one of the standbys from then on: nothing that was acknowledged may be lost. */
static bool await_cohort(struct trial *t, struct err *err)
{
    static const char sql[] = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication"
                              " WHERE sync_state = 'quorum'";
    msec deadline_ms = loop_clock_ms() + CAUGHT_UP_MS;
    int64_t count = 0;

    for (;;) {
        if (!writer_number(t->writer, sql, &count, err))
            return false;
        if (count >= t->d->node_count - 1)
            return true;
        if (loop_clock_ms() >= deadline_ms)
            return err_set(err, ERR_TIMEOUT, "only %d standbys are of the quorum after %d s", (int)count,
                           CAUGHT_UP_MS / 1000);
        if (!demo_pause(t->d, LOOK_MS))
            return !stopped(t, err);
    }
}

/* Before one of them is looked at itself. */
static bool await_replicas(struct trial *t, struct err *err)
{
    static const char sql[] = "SELECT count(*) FROM pg_catalog.pg_stat_replication"
                              " WHERE flush_lsn >= pg_catalog.pg_current_wal_flush_lsn()";
    msec deadline_ms = loop_clock_ms() + CAUGHT_UP_MS;
    int64_t count = 0;

    for (;;) {
        if (!writer_number(t->writer, sql, &count, err))
            return false;
        if (count >= t->d->node_count - 1)
            return true;
        if (loop_clock_ms() >= deadline_ms)
            return err_set(err, ERR_TIMEOUT, "only %d replicas have everything after %d s", (int)count,
                           CAUGHT_UP_MS / 1000);
        if (!demo_pause(t->d, LOOK_MS))
            return !stopped(t, err);
    }
}

static bool write_phase(struct trial *t, struct err *err)
{
    phase_begin(t);
    if (!writer_prepare(t->writer, err) || !await_cohort(t, err) || !write_rows(t, ROWS_BEFORE, err))
        return false;
    AUTO(cstr) char *what = str_fmt("%d rows are written and acknowledged", ROWS_BEFORE);
    phase_end(t, what);
    return true;
}

/* The writer goes on trying, as applications do: the first row after the crash ends the outage. */
static bool await_first_write(struct trial *t, struct err *err)
{
    msec deadline_ms = loop_clock_ms() + NEXT_MS;
    struct err last = {0};

    while (!writer_row(t->writer, &last)) {
        if (loop_clock_ms() >= deadline_ms)
            return err_set(err, ERR_TIMEOUT, "no write within %d s after the primary was killed; %s", NEXT_MS / 1000,
                           last.text);
        if (!all_run(t, err))
            return false;
        if (!demo_pause(t->d, 20))
            return !stopped(t, err);
    }
    return true;
}

static bool kill_phase(struct trial *t, struct err *err)
{
    json_t *list = demo_list(t->d, err);

    t->old = list ? demo_leader(t->d, list) : NULL;
    json_decref(list);
    if (!t->old)
        return err_set(err, ERR_NOT_FOUND, "there is no leader to kill");

    phase_begin(t);
    int killed = proc_kill_tree(&t->old->proc, t->old->data_dir);
    while (procs_in_dir(t->old->data_dir))
        if (loop_clock_ms() - t->phase_ms > 5000 || !demo_pause(t->d, 10))
            return err_set(err, ERR_SYS, "processes of %s do not go away", t->old->name);
    (void)printf("           %s is killed: kill -9 for its %d processes\n", t->old->name, killed);
    if (!await_first_write(t, err))
        return false;
    phase_end(t, "the first write is acknowledged again (ttl is 20 s: quorum mode does not wait for it)");

    if (!await(t, has_next_leader, NEXT_MS, "a next leader", err))
        return false;
    AUTO(cstr) char *what = str_fmt("%s is shown as the leader", t->next->name);
    phase_end(t, what);
    return true;
}

static bool verify_rows(struct trial *t, const char *where, struct err *err)
{
    int64_t missing = 0;

    if (!writer_missing(t->writer, &missing, err))
        return err_wrap(err, "looking for the rows on %s", where);
    if (missing)
        return err_set(err, ERR_PG, "%lld of %lld acknowledged rows are missing on %s", (long long)missing,
                       (long long)writer_acknowledged(t->writer), where);
    (void)printf("           all %lld acknowledged rows are on %s\n", (long long)writer_acknowledged(t->writer), where);
    return true;
}

static bool return_phase(struct trial *t, struct err *err)
{
    struct demo_node *old = t->old;

    phase_begin(t);
    if (!demo_start_node(t->d, old, err))
        return false;
    t->old = NULL; /* it has to run from now on */
    if (!write_rows(t, ROWS_AFTER, err) || !await(t, all_healthy, BACK_MS, "the killed node back as a replica", err))
        return false;
    AUTO(cstr) char *what = str_fmt("%s, started again, is back as a replica", old->name);
    phase_end(t, what);

    if (!await_replicas(t, err))
        return false;
    /* Its own rows, not those of whoever answers. */
    AUTO(cstr) char *conninfo = str_fmt("host=127.0.0.1 port=%d user=postgres dbname=postgres", old->pg_port);
    return writer_redirect(t->writer, conninfo, err) && verify_rows(t, old->name, err);
}

static void show_logs(const struct trial *t)
{
    (void)printf("\nWhat the logs say:\n");
    demo_show_log(t->d->etcd_log, 6);
    for (int i = 0; i < t->d->node_count; i++)
        demo_show_log(t->d->nodes[i].log, LOG_LINES);
}

bool trial_run(struct demo *d, struct err *err)
{
    AUTO(cstr) char *conninfo = demo_conninfo(d, "read-write");
    AUTO(writer) struct writer *writer = writer_new(conninfo, d->pgpass);
    struct trial t = {.d = d, .writer = writer};

    bool ok = start_phase(&t, err) && write_phase(&t, err) && kill_phase(&t, err) &&
              verify_rows(&t, t.next->name, err) && return_phase(&t, err);
    if (ok) {
        (void)printf("The check has passed.\n");
        return true;
    }
    (void)printf("FAILED: %s\n", err->text);
    if (!d->asked_to_stop)
        show_logs(&t);
    return false;
}
