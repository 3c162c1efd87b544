/*
 * The simulator: whole clusters in one process, by seed.
 *
 *   sim [-v] [--seeds N] [--from M] [--jobs J]      one line a finding, and a closing line
 *   sim -v --from M                                 the story of one seed
 *
 * Every seed runs in a process of its own; what it leaves behind goes with it, and an aborting CHECK is a finding.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/book.h"
#include "test/sim/faults.h"
#include "test/sim/net.h"
#include "test/sim/node.h"
#include "test/sim/store_sim.h"

#define SECONDS(n) ((usec)(n)*1000000)

static struct totals {
    uint64_t acknowledged, lost, reigns, excused, faults;
} * totals; /* shared by all processes */

static void add(uint64_t *to, uint64_t n)
{
    (void)__atomic_add_fetch(to, n, __ATOMIC_RELAXED);
}

static void starts(void *arg)
{
    guard_sim_start(&((struct node *)arg)->guard);
}

static void run_seed(uint64_t seed, bool verbose)
{
    json_object_seed(1);
    world_init(seed, verbose);
    net_init(100, 2000);

    int count = chance_one_in(4) ? 2 : chance_one_in(4) ? 5 : 3;
    AUTO(cstr)
    char *dcs = str_fmt("    ttl: %d\n    loop_wait: %d\n    retry_timeout: %d\n    failsafe_mode: %s\n"
                        "    primary_start_timeout: %d\n    maximum_lag_on_failover: 1048576\n"
                        "    postgresql:\n      use_pg_rewind: true\n"
                        "      remove_data_directory_on_rewind_failure: true\n"
                        "      remove_data_directory_on_diverged_timelines: true\n",
                        20, chance_one_in(2) ? 10 : 3, 5, chance_one_in(3) ? "true" : "false",
                        chance_one_in(2)   ? 0
                        : chance_one_in(2) ? 300
                                           : 10);
    nodes_init(count, dcs);
    struct host *store = world_add_host("store");
    struct host *clients = world_add_host("client");
    store_sim_init(store, "/service/sim/");
    book_init(clients, 3);
    for (int i = 0; i < count; i++)
        event_in(chance(3000000), &nodes[i].host->kernel, starts, &nodes[i]);

    usec faults_from = world.now + SECONDS(40);
    usec faults_to = faults_from + SECONDS(chance_between(30, 400));
    faults_schedule(faults_from, faults_to, store, clients);
    world_run(faults_to + SECONDS(240));
    book_close();

    add(&totals->acknowledged, book.acknowledged);
    add(&totals->lost, book.lost);
    add(&totals->reigns, book.reigns);
    add(&totals->excused, book.excused);
    add(&totals->faults, faults_count());
}

static bool wait_one(void)
{
    int status;

    CHECK(wait(&status) > 0);
    return status == 0;
}

int main(int argc, char **argv)
{
    uint64_t seeds = 1, from = 1, failed = 0;
    int jobs = (int)sysconf(_SC_NPROCESSORS_ONLN);
    bool verbose = false;

    for (int i = 1; i < argc; i++) {
        int64_t number = 0;
        bool has_number = i + 1 < argc && str_to_int(argv[i + 1], 0, INT64_MAX, &number);
        if (str_eq(argv[i], "-v")) {
            verbose = true;
            continue;
        }
        if (!has_number || (!str_eq(argv[i], "--seeds") && !str_eq(argv[i], "--from") && !str_eq(argv[i], "--jobs"))) {
            (void)fprintf(stderr, "usage: sim [-v] [--seeds N] [--from M] [--jobs J]\n");
            return 2;
        }
        if (str_eq(argv[i], "--seeds"))
            seeds = (uint64_t)number;
        else if (str_eq(argv[i], "--from"))
            from = (uint64_t)number;
        else
            jobs = (int)number;
        i++;
    }

    totals = mmap(NULL, sizeof(*totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(totals != MAP_FAILED);
    struct timespec begin, end;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    int running = 0;
    for (uint64_t seed = from; seed < from + seeds; seed++) {
        if (running == jobs) {
            failed += !wait_one();
            running--;
        }
        (void)fflush(stdout);
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child) {
            run_seed(seed, verbose);
            (void)fflush(stdout);
            _exit(0);
        }
        running++;
    }
    while (running-- > 0)
        failed += !wait_one();
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    double took = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;

    (void)printf(
        "%llu seeds, %llu faults, %llu reigns, %llu commits acknowledged, %llu lost, %llu excused, %llu findings, "
        "%.1f seeds a second\n",
        (unsigned long long)seeds, (unsigned long long)totals->faults, (unsigned long long)totals->reigns,
        (unsigned long long)totals->acknowledged, (unsigned long long)totals->lost, (unsigned long long)totals->excused,
        (unsigned long long)failed, (double)seeds / took);
    return failed ? 1 : 0;
}
