#include "test/sim/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

#define MS(n) ((usec)(n)*1000)

enum { SHORTEST = 1000 };

static const struct {
    const char *name;
    int weight;
    bool lasts;
    enum reach reach;
} kinds[] = {
#define FAULT(id, weight, lasts, reach) {#id, weight, lasts, REACH_##reach},
#include "test/sim/faults.def"
#undef FAULT
};

const char *fault_kind_text(enum fault_kind kind)
{
    return kinds[kind].name;
}

bool fault_kind_lasts(enum fault_kind kind)
{
    return kinds[kind].lasts;
}

enum reach fault_kind_reach(enum fault_kind kind)
{
    return kinds[kind].reach;
}

/* ---- drawing ---- */

/* Networks that part in every way; only where the setup says so. */
static bool is_cut(int kind)
{
    return kind == FAULT_CUT_ONE_BY_ONE || kind == FAULT_LATE_WORDS || kind == FAULT_PARTITION ||
           kind == FAULT_POINT_ISOLATE;
}

static int weight_of(int kind, bool cuts)
{
    return is_cut(kind) && !cuts ? 0 : kinds[kind].weight;
}

static enum fault_kind pick(bool cuts)
{
    int total = 0;

    for (int i = 0; i < FAULT_COUNT; i++)
        total += weight_of(i, cuts);
    int at = (int)chance(total);
    for (int i = 0; i < FAULT_COUNT; i++) {
        at -= weight_of(i, cuts);
        if (at < 0)
            return (enum fault_kind)i;
    }
    UNREACHABLE();
}

/* By name, so that the rare ones come up as often as the others; or the nth from now, whatever that is. */
static void draw_point(struct fault *f)
{
    bool as_call = f->kind == FAULT_POINT_FAIL;

    f->nth = 1;
    f->lasts = MS(60000);
    f->anyone = chance_one_in(2);
    if (f->kind == FAULT_POINT_ISOLATE && chance_one_in(4)) {
        str_copy(f->point, sizeof(f->point), "leadership.begins");
        return;
    }
    if (!as_call && chance_one_in(2)) {
        f->nth = (unsigned int)chance_between(1, 60);
        return;
    }
    for (int tries = 0; tries < 1000 && !f->point[0]; tries++) {
        size_t i = (size_t)chance((int64_t)points_count());
        if (!as_call || point_can_fail(i))
            str_copy(f->point, sizeof(f->point), point_name(i));
    }
}

static bool is_point(enum fault_kind kind)
{
    return kind == FAULT_POINT_KILL || kind == FAULT_POINT_CUT || kind == FAULT_POINT_HANG ||
           kind == FAULT_POINT_FAIL || kind == FAULT_POINT_ISOLATE;
}

static void draw_fault(struct fault *f, usec at, const struct setup *setup, usec end)
{
    int64_t nodes = setup->nodes;

    *f = (struct fault){.kind = pick(setup->cuts), .at = at};
    f->leader = !chance_one_in(3); /* that is where it hurts */
    f->node = (int)chance(nodes);
    f->other = (int)chance(nodes);
    f->salt = (uint64_t)chance(1000000);
    if (is_point(f->kind))
        draw_point(f);
    else if (kinds[f->kind].lasts)
        f->lasts = chance_one_in(3) ? chance_between(50000, 3000000) : chance_between(1000000, 60000000);
    if (f->lasts && at + f->lasts > end)
        f->lasts = end - at > SHORTEST ? end - at : SHORTEST;
}

/* Whoever leads is taken away, for a moment: one failover after the other. */
static void draw_strike(struct fault *f, usec at, int64_t nodes)
{
    static const enum fault_kind strikes[] = {FAULT_KILL_POSTMASTER,
                                              FAULT_KILL_POSTMASTER,
                                              FAULT_KILL_POSTGRES,
                                              FAULT_POWER_CUT,
                                              FAULT_POWER_CUT,
                                              FAULT_FREEZE_HOST,
                                              FAULT_STOP_POSTGRES,
                                              FAULT_ISOLATE,
                                              FAULT_ISOLATE_BUT_CLIENTS,
                                              FAULT_DEAF,
                                              FAULT_MUTE,
                                              FAULT_SWITCHOVER};

    *f = (struct fault){.kind = strikes[chance(ARRAY_LEN(strikes))], .at = at, .leader = true};
    f->node = (int)chance(nodes);
    f->other = (int)chance(nodes);
    f->salt = (uint64_t)chance(1000000);
    if (kinds[f->kind].lasts)
        f->lasts = chance_between(500000, chance_one_in(4) ? 20000000 : 4000000);
}

static void draw_storm(struct schedule *s)
{
    usec at = MS(s->setup.faults_from);
    usec end = at + MS(s->setup.faults_for);

    s->setup.profile = chance_one_in(4) ? 0 : 1;
    while (at < end && s->count < SCHEDULE_FAULTS_MAX) {
        if (chance_one_in(6))
            draw_fault(&s->faults[s->count++], at, &s->setup, end);
        else
            draw_strike(&s->faults[s->count++], at, s->setup.nodes);
        at += chance_one_in(8) ? chance(1000000) : chance_between(2000000, s->setup.profile == 1 ? 8000000 : 15000000);
    }
}

enum { FIXED_MAX = 8 };

static struct {
    const char *name, *value;
} fixed[FIXED_MAX];
static size_t fixed_count;

static bool read_setup(struct setup *setup, const char *name, const char *value);

bool schedule_fix(const char *name, const char *value)
{
    struct setup scratch;

    if (fixed_count == FIXED_MAX || !read_setup(&scratch, name, value))
        return false;
    fixed[fixed_count].name = name;
    fixed[fixed_count++].value = value;
    return true;
}

void schedule_draw(uint64_t seed, struct schedule *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->seed = seed;
    chance_seed(~seed);
#define X(name, draw) ret->setup.name = (draw);
    SETUP(X)
#undef X
    for (size_t i = 0; i < fixed_count; i++)
        CHECK(read_setup(&ret->setup, fixed[i].name, fixed[i].value));
    if (ret->setup.storm && ret->setup.synchronous == 2) {
        draw_storm(ret);
        return;
    }
    usec at = MS(ret->setup.faults_from);
    usec end = at + MS(ret->setup.faults_for);
    while (at < end && ret->count < SCHEDULE_FAULTS_MAX) {
        draw_fault(&ret->faults[ret->count++], at, &ret->setup, end);
        usec gap = chance_one_in(3) ? chance(1500000) : chance_between(1000000, chance_one_in(2) ? 15000000 : 45000000);
        at += gap * ret->setup.pace / 100;
    }
}

/* ---- as text ---- */

void fault_tell(const struct fault *f, char *to, size_t size)
{
    char leader[16] = "", other[32] = "", lasts[32] = "", point[POINT_NAME_MAX + 32] = "";

    if (f->anyone)
        str_copy(leader, sizeof(leader), "any/");
    else if (f->leader)
        str_copy(leader, sizeof(leader), "leader/");
    if (kinds[f->kind].reach == REACH_PAIR || kinds[f->kind].reach == REACH_NOBODY)
        (void)snprintf(other, sizeof(other), " other %d", f->other + 1);
    if (f->lasts)
        (void)snprintf(lasts, sizeof(lasts), " for %.6f", (double)f->lasts / 1e6);
    if (f->nth)
        (void)snprintf(point, sizeof(point), " point %s %u", f->point[0] ? f->point : "any", f->nth);
    (void)snprintf(to, size, "%.6f %s %s%d%s%s with %llu%s", (double)f->at / 1e6, kinds[f->kind].name, leader,
                   f->node + 1, other, lasts, (unsigned long long)f->salt, point);
}

void schedule_write(const struct schedule *s, FILE *to)
{
    (void)fprintf(to, "seed %llu\n", (unsigned long long)s->seed);
#define X(name, draw) (void)fprintf(to, "set %s %lld\n", #name, (long long)s->setup.name);
    SETUP(X)
#undef X
    for (size_t i = 0; i < s->count; i++) {
        char line[256];
        fault_tell(&s->faults[i], line, sizeof(line));
        (void)fprintf(to, "fault %s\n", line);
    }
}

static bool read_kind(const char *text, enum fault_kind *ret_kind)
{
    for (int i = 0; i < FAULT_COUNT; i++) {
        if (!str_eq(text, kinds[i].name))
            continue;
        *ret_kind = (enum fault_kind)i;
        return true;
    }
    return false;
}

static bool read_setup(struct setup *setup, const char *name, const char *value)
{
    int64_t number = 0;

    if (!str_to_int(value, INT64_MIN, INT64_MAX, &number))
        return false;
#define X(id, draw)          \
    if (str_eq(name, #id)) { \
        setup->id = number;  \
        return true;         \
    }
    SETUP(X)
#undef X
    return false;
}

static usec read_usec(const char *text)
{
    return (usec)(strtod(text, NULL) * 1e6 + 0.5);
}

/* The words behind "fault". */
static bool read_fault(char **words, size_t count, struct fault *f)
{
    if (count < 3 || !read_kind(words[1], &f->kind))
        return false;
    f->at = read_usec(words[0]);
    const char *slash = strchr(words[2], '/');
    f->leader = str_starts(words[2], "leader/");
    f->anyone = str_starts(words[2], "any/");
    f->node = atoi(slash ? slash + 1 : words[2]) - 1; /* NOLINT(cert-err34-c): looked at below */
    for (size_t i = 3; i + 1 < count; i += 2) {
        if (str_eq(words[i], "other")) {
            f->other = atoi(words[i + 1]) - 1; /* NOLINT(cert-err34-c): looked at below */
        } else if (str_eq(words[i], "for")) {
            f->lasts = read_usec(words[i + 1]);
        } else if (str_eq(words[i], "with")) {
            f->salt = strtoull(words[i + 1], NULL, 10);
        } else if (str_eq(words[i], "point") && i + 2 < count) {
            str_copy(f->point, sizeof(f->point), str_eq(words[i + 1], "any") ? "" : words[i + 1]);
            f->nth = (unsigned int)strtoul(words[i + 2], NULL, 10);
            i++;
        } else {
            return false;
        }
    }
    return f->node >= 0 && f->other >= 0;
}

static bool read_line(struct schedule *s, char *line)
{
    enum { WORDS_MAX = 16 };
    char *words[WORDS_MAX];
    size_t count = 0;
    char *rest = NULL;

    for (char *word = strtok_r(line, " \n", &rest); word && count < WORDS_MAX; word = strtok_r(NULL, " \n", &rest))
        words[count++] = word;
    if (!count || words[0][0] == '#')
        return true;
    if (str_eq(words[0], "seed") && count == 2) {
        s->seed = strtoull(words[1], NULL, 10);
        return true;
    }
    if (str_eq(words[0], "set") && count == 3)
        return read_setup(&s->setup, words[1], words[2]);
    if (!str_eq(words[0], "fault") || s->count == SCHEDULE_FAULTS_MAX)
        return false;
    return read_fault(words + 1, count - 1, &s->faults[s->count++]);
}

bool schedule_read(const char *path, struct schedule *ret, struct err *err)
{
    FILE *from = fopen(path, "re");
    char line[512];
    int number = 0;

    if (!from)
        return err_set(err, ERR_INPUT, "%s cannot be opened", path);
    memset(ret, 0, sizeof(*ret));
    while (fgets(line, sizeof(line), from)) {
        number++;
        if (read_line(ret, line))
            continue;
        (void)fclose(from); /* only read */
        return err_set(err, ERR_INPUT, "%s: line %d: not understood", path, number);
    }
    (void)fclose(from); /* only read */
    if (ret->setup.nodes < 1)
        return err_set(err, ERR_INPUT, "%s: no nodes", path);
    return true;
}
