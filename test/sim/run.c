#include "test/sim/run.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "base/trace.h"
#include "test/sim/book.h"
#include "test/sim/faults.h"
#include "test/sim/net.h"
#include "test/sim/node.h"
#include "test/sim/store_sim.h"
#include "test/sim/truths.h"
#include "test/sim/watch.h"

#define MS(n) ((usec)(n)*1000)

enum { LOOK = 5000000, SETTLE_MAX = 240000000, WRITERS = 2 };

static usec settled_since; /* 0: it is not */
static usec settle;

static void starts(void *arg)
{
    guard_sim_start(&((struct node *)arg)->guard);
}

/* All faults are over: as soon as the cluster has been whole for long enough there is nothing more to see. */
static void look(void *arg)
{
    (void)arg;
    if (!book_settled())
        settled_since = 0;
    else if (!settled_since)
        settled_since = world.now;
    if (settled_since && world.now - settled_since >= settle)
        world_end();
    event_in(LOOK, NULL, look, NULL);
}

static usec end_of_faults(const struct schedule *s)
{
    usec end = 0;

    for (size_t i = 0; i < s->count; i++)
        if (s->faults[i].at + s->faults[i].lasts > end)
            end = s->faults[i].at + s->faults[i].lasts;
    return end > MS(s->setup.faults_from) ? end : MS(s->setup.faults_from);
}

static void set_up(const struct schedule *s)
{
    const struct setup *setup = &s->setup;

    static const char *const modes[] = {"off", "on", "quorum"};
    static const char *const profiles[] = {"default", "fast", "wan"};
    static const char archive[] = "      parameters: {archive_mode: 'on', archive_command: put}\n"
                                  "      recovery_conf: {restore_command: get}\n";

    truth_set(TRUTH_NAMES_MISSED_AT_START, setup->old_minor); /* and strict mode is refused */
    net_init(100, 2000);
    AUTO(cstr)
    char *dcs = str_fmt("    ttl: %d\n    loop_wait: %lld\n    retry_timeout: %d\n    failsafe_mode: %s\n"
                        "    primary_start_timeout: %lld\n    maximum_lag_on_failover: 1048576\n"
                        "    synchronous_mode: %s\n    synchronous_mode_strict: %s\n"
                        "    synchronous_node_count: %lld\n    failover_profile: %s\n    peer_lease: %s\n"
                        "    postgresql:\n      use_pg_rewind: true\n"
                        "      remove_data_directory_on_rewind_failure: true\n"
                        "      remove_data_directory_on_diverged_timelines: true\n%s",
                        20, (long long)setup->loop_wait, 5, setup->failsafe_mode ? "true" : "false",
                        (long long)setup->primary_start_timeout, modes[setup->synchronous],
                        setup->strict && !setup->old_minor ? "true" : "false",
                        (long long)(setup->acknowledge ? setup->acknowledge : 1), profiles[setup->profile],
                        setup->peer_lease ? "on" : "off", setup->archive ? archive : "");
    nodes_init((int)setup->nodes, dcs, setup->witness && setup->synchronous && setup->nodes > 2);
    struct host *store = world_add_host("store");
    struct host *clients = world_add_host("client");
    store_sim_init(store, "/service/sim/");
    book_init(clients, node_count + WRITERS); /* one that stays with each node, and those who look for the leader */
    if (setup->synchronous) {
        book_watch_record();
        watch_init();
    }
    for (int i = 0; i < node_count; i++) {
        bool late = i && i + 1 == node_count && setup->late_node;
        event_in(late ? MS(setup->late_node) : chance(3000000), &nodes[i].host->kernel, starts, &nodes[i]);
    }
    faults_play(s, store, clients);
}

_Noreturn void run_schedule(const struct schedule *s, struct outcome *ret, bool verbose)
{
    outcome = ret;
    json_object_seed(1);
    world_init(s->seed, verbose);
    set_up(s);

    usec quiet = WORLD_BEGIN + end_of_faults(s);
    if (s->setup.late_node && quiet < WORLD_BEGIN + MS(s->setup.late_node))
        quiet = WORLD_BEGIN + MS(s->setup.late_node);
    settle = MS(s->setup.settle);
    if (settle < SETTLE_MAX)
        event_at(quiet, NULL, look, NULL);
    world_run(quiet + SETTLE_MAX);
    book_close();
    nodes_check_mesh();

    ret->score.acknowledged = book.acknowledged;
    ret->score.lost = book.lost;
    ret->score.excused += book.excused;
    world_close();
    (void)fflush(stdout);
    _exit(0);
}

/* base/check.h: what a daemon prints before it aborts is a finding here. */
static void put(const char *text)
{
    (void)fputs(text, stdout);
}

_Noreturn void check_failed(const char *condition, const char *file, int line)
{
    if (!outcome) {
        (void)fprintf(stderr, "CHECK failed: %s at %s:%d\n", condition, file, line);
        abort();
    }
    if (world.verbose)
        trace_print(put);
    finding("CHECK", "%s at %s:%d, on %s", condition, file, line,
            world.current ? world.current->host->name : "no host");
}
