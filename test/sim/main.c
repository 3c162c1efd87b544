/*
 * The simulator: whole clusters, by seed or by schedule.
 *
 *   sim [--seeds N] [--from M] [--jobs J]    one line a finding, and a closing line
 *       --twice                              each seed two times: the same history?
 *       --coverage [--at-least PERCENT]      what was reached; fails below that share of fault points killed at
 *   sim -v --from M                          the story of one seed
 *   sim --minimize M [--out FILE]            the smallest schedule that fails as that seed does, and its story
 *   sim --schedule FILE…                     schedules of before: each must be clean now
 *   sim --mutants [NAME,NAME…] [--seeds N]    deliberate mistakes: each must be caught
 *   sim --mutant NAME …                      one of them in any of the above
 *   sim --set NAME VALUE …                   the cluster has that, whatever is drawn (schedule.h: SETUP)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/minimize.h"
#include "test/sim/mutants.h"
#include "test/sim/pool.h"
#include "test/sim/report.h"

enum { MUTANT_SEEDS = 2000 };

struct options {
    uint64_t seeds, from;
    int jobs;
    bool verbose, twice, coverage, minimize;
    int at_least;
    bool mutants;
    const char *only; /* of the mutants; NULL: all */
    const char *out;
    char **schedules;
    int schedule_count;
};

struct total {
    struct score score;
    const struct options *options;
};

struct one { /* a seed that runs */
    struct total *total;
    uint64_t seed;
    const char *path; /* NULL: drawn by the seed */
    bool have_hash;
    uint64_t hash, steps;
};

/* ---- many seeds ---- */

static void say(const struct one *one, const struct outcome *o)
{
    if (one->path)
        (void)printf("%s: ", one->path);
    else
        (void)printf("seed %llu: ", (unsigned long long)one->seed);
    if (o->invariant[0])
        (void)printf("%s at %.3f: %s\n", o->invariant, (double)o->at / 1e6, o->text);
    else
        (void)printf("clean, history %016llx of %llu events\n", (unsigned long long)o->hash,
                     (unsigned long long)o->steps);
}

static void seed_done(const struct outcome *o, void *arg)
{
    struct one *one = arg;
    struct total *t = one->total;
    bool verbose = t->options->verbose || one->path;

    if (t->options->twice && !one->have_hash) {
        one->have_hash = true;
        one->hash = o->hash;
        one->steps = o->steps;
        return; /* the other one counts */
    }
    score_add(&t->score, &o->score);
    if (o->invariant[0] || verbose)
        say(one, o);
    if (one->have_hash && (one->hash != o->hash || one->steps != o->steps)) {
        t->score.findings++;
        (void)printf("seed %llu: two histories: %016llx of %llu events, %016llx of %llu\n",
                     (unsigned long long)one->seed, (unsigned long long)one->hash, (unsigned long long)one->steps,
                     (unsigned long long)o->hash, (unsigned long long)o->steps);
    }
    free(one);
}

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run_one(struct pool *p, struct total *t, const struct schedule *s, const char *path)
{
    struct one *one = mem_zero(1, sizeof(*one));

    *one = (struct one){.total = t, .seed = s->seed, .path = path};
    for (int i = 0; i < (t->options->twice ? 2 : 1); i++)
        pool_start(p, s, t->options->verbose, seed_done, one);
}

static int run_many(const struct options *options)
{
    struct total t = {.options = options};
    struct pool *p = pool_new(options->jobs);
    struct schedule *s = mem_zero(1, sizeof(*s));
    struct err err = {0};
    double begin = now();

    for (uint64_t i = 0; i < (options->schedule_count ? 0 : options->seeds); i++) {
        schedule_draw(options->from + i, s);
        run_one(p, &t, s, NULL);
    }
    for (int i = 0; i < options->schedule_count; i++) {
        if (!schedule_read(options->schedules[i], s, &err)) {
            (void)fprintf(stderr, "sim: %s\n", err.text);
            return 2;
        }
        run_one(p, &t, s, options->schedules[i]);
    }
    pool_wait(p);
    pool_free(p);
    free(s);
    int killed_at = options->coverage ? report_coverage(&t.score) : 100;
    report_closing(&t.score, now() - begin);
    if (killed_at < options->at_least) {
        (void)printf("killed at %d %% of the fault points, wanted are %d\n", killed_at, options->at_least);
        return 1;
    }
    return t.score.findings ? 1 : 0;
}

/* ---- the smallest ---- */

static void keep(const struct outcome *o, void *arg)
{
    *(struct outcome *)arg = *o;
}

static void write_schedule(const struct schedule *s, const struct outcome *o, const char *path)
{
    FILE *to = path ? fopen(path, "we") : stdout;

    CHECK(to);
    (void)fprintf(to, "# %s at %.3f: %s\n", o->invariant, (double)o->at / 1e6, o->text);
    schedule_write(s, to);
    if (path)
        (void)fclose(to); /* what is missing in it shows when it is read */
}

static int run_minimize(const struct options *options)
{
    struct pool *p = pool_new(options->jobs);
    struct schedule *s = mem_zero(1, sizeof(*s));
    struct outcome o = {0};
    struct err err = {0};

    if (!options->schedule_count) {
        schedule_draw(options->from, s);
    } else if (!schedule_read(options->schedules[0], s, &err)) {
        (void)fprintf(stderr, "sim: %s\n", err.text);
        return 2;
    }
    pool_start(p, s, false, keep, &o);
    pool_wait(p);
    if (!o.invariant[0]) {
        (void)printf("seed %llu is clean\n", (unsigned long long)s->seed);
        return 0;
    }
    minimize(p, s, &o);
    pool_start(p, s, true, keep, &o);
    pool_wait(p);
    (void)printf("\n%s at %.3f: %s\n\n", o.invariant, (double)o.at / 1e6, o.text);
    write_schedule(s, &o, options->out);
    pool_free(p);
    free(s);
    return 1;
}

/* ---- options ---- */

static int usage(void)
{
    (void)fprintf(stderr,
                  "usage: sim [-v] [--seeds N] [--from M] [--jobs J] [--twice] [--coverage [--at-least PERCENT]]\n"
                  "       sim --minimize M [--out FILE]\n"
                  "       sim [-v] [--minimize] --schedule FILE...\n"
                  "       sim --mutants [NAME,NAME...] [--seeds N] [--from M]\n"
                  "       sim --mutant NAME ...\n"
                  "       sim --set NAME VALUE ...\n");
    return 2;
}

static bool read_number(const char *text, int64_t max, int64_t *ret)
{
    return text && str_to_int(text, 0, max, ret);
}

static bool read_options(int argc, char **argv, struct options *o)
{
    int64_t number = 0;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (str_eq(argv[i], "-v")) {
            o->verbose = true;
        } else if (str_eq(argv[i], "--twice")) {
            o->twice = true;
        } else if (str_eq(argv[i], "--coverage")) {
            o->coverage = true;
        } else if (str_eq(argv[i], "--schedule")) {
            o->schedules = argv + i + 1;
            o->schedule_count = argc - i - 1;
            return o->schedule_count > 0;
        } else if (str_eq(argv[i], "--mutants")) {
            o->mutants = true;
            if (value && value[0] != '-') {
                o->only = value;
                i++;
            }
        } else if (str_eq(argv[i], "--mutant") && value && mutant_choose(value)) {
            i++;
        } else if (str_eq(argv[i], "--set") && i + 2 < argc && schedule_fix(value, argv[i + 2])) {
            i += 2;
        } else if (str_eq(argv[i], "--out") && value) {
            o->out = argv[++i];
        } else if (str_eq(argv[i], "--minimize")) {
            o->minimize = true;
            if (read_number(value, INT64_MAX, &number)) {
                o->from = (uint64_t)number;
                i++;
            }
        } else if (str_eq(argv[i], "--seeds") && read_number(value, INT64_MAX, &number)) {
            o->seeds = (uint64_t)number;
            i++;
        } else if (str_eq(argv[i], "--from") && read_number(value, INT64_MAX, &number)) {
            o->from = (uint64_t)number;
            i++;
        } else if (str_eq(argv[i], "--jobs") && read_number(value, 1024, &number) && number) {
            o->jobs = (int)number;
            i++;
        } else if (str_eq(argv[i], "--at-least") && read_number(value, 100, &number)) {
            o->at_least = (int)number;
            i++;
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options options = {.seeds = 0, .from = 1, .jobs = (int)sysconf(_SC_NPROCESSORS_ONLN)};

    if (!read_options(argc, argv, &options))
        return usage();
    if (options.verbose)
        options.jobs = 1;
    if (options.mutants)
        return mutants_run(options.only, options.from, options.seeds ? options.seeds : MUTANT_SEEDS, options.jobs) > 0;
    options.seeds = options.seeds ? options.seeds : 1;
    return options.minimize ? run_minimize(&options) : run_many(&options);
}
