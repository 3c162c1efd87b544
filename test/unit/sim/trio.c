#include "test/unit/sim/trio.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/disk.h"
#include "test/sim/net.h"
#include "test/sim/score.h"

enum { UNMET = 3, SEED = 7, SETTLE_MS = 3000, TEXT_MAX = 4096 };

struct pg trio[3];

/* ---- a process for each test ---- */

/* Its exit status; what it said is in text. */
static int run(trio_test *test, char text[TEXT_MAX])
{
    int out[2];
    size_t len = 0;
    int status;

    if (!outcome)
        outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(outcome, MAP_FAILED);
    *outcome = (struct outcome){0};
    assert_int_equal(pipe(out), 0);
    (void)fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        (void)dup2(out[1], STDOUT_FILENO);
        (void)dup2(out[1], STDERR_FILENO);
        (void)close(out[0]);
        test();
        (void)fflush(stdout);
        _exit(0);
    }
    (void)close(out[1]);
    for (ssize_t n; len < TEXT_MAX - 1 && (n = read(out[0], text + len, TEXT_MAX - 1 - len)) > 0;)
        len += (size_t)n;
    text[len] = '\0';
    (void)close(out[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

void trio_passes(trio_test *test)
{
    char text[TEXT_MAX];

    if (run(test, text) != 0)
        fail_msg("%s %s\n%s", outcome->invariant, outcome->text, text);
}

void trio_finds(const char *invariant, trio_test *test)
{
    char text[TEXT_MAX];
    int status = run(test, text);

    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1 || !str_eq(outcome->invariant, invariant))
        fail_msg("not found: %s, but: %s %s\n%s", invariant, outcome->invariant, outcome->text, text);
}

void trio_expect(bool holds, const char *condition, const char *file, int line)
{
    if (holds)
        return;
    (void)printf("%s:%d: at %.6f: not so: %s\n", file, line, (double)world.now / 1e6, condition);
    (void)fflush(stdout);
    _exit(UNMET);
}

/* ---- the three ---- */

static void died(struct pg *p, void *arg)
{
    (void)p;
    (void)arg;
}

void trio_names(int node, const char *names)
{
    AUTO(cstr) char *path = pg_path(&trio[node], "pgkeep.sync.conf");
    AUTO(cstr) char *text = str_fmt("synchronous_standby_names = '%s'\n", names ? names : "");

    if (!names)
        disk_remove(disk_of(trio[node].host), path);
    else
        EXPECT(disk_replace(disk_of(trio[node].host), path, text));
}

void trio_upstream(int node, int upstream)
{
    const char *name = trio[node].host->name;
    AUTO(cstr)
    char *conninfo =
        upstream == NOBODY ? str_dup("") : str_fmt("host=10.0.0.%d application_name=%s", upstream + 1, name);
    AUTO(cstr)
    char *text = str_fmt("synchronous_standby_names = '__fence__'\n"
                         "primary_conninfo = '%s'\n"
                         "primary_slot_name = '%s'\n"
                         "include_if_exists 'pgkeep.sync.conf'\n",
                         conninfo, upstream == NOBODY ? "" : name);

    EXPECT(pg_conf_write(&trio[node], "postgresql.conf", text));
}

void trio_reload(int node)
{
    pg_reload(&trio[node]);
}

static void slots(struct pg *p)
{
    for (int i = 0; i < 3; i++)
        if (&trio[i] != p)
            str_copy(p->disk.slots[p->disk.slot_count++].name, SLOT_NAME_MAX, trio[i].host->name);
}

void trio_start(const char *names)
{
    static const char *const hosts[] = {"n1", "n2", "n3", "operator"};

    world_init(SEED, getenv("STORY") != NULL);
    net_init(100, 2000);
    for (int i = 0; i < 4; i++)
        (void)world_add_host(hosts[i]);
    for (int i = 0; i < 3; i++)
        pg_init(&trio[i], &world.hosts[i], died, NULL);
    pg_initdb(&trio[N1], "7001");
    for (int i = 0; i < 3; i++) {
        if (i != N1)
            pg_copy(&trio[i], &trio[N1]);
        trio[i].disk.standby_signal = i != N1;
        slots(&trio[i]);
        trio_upstream(i, i == N1 ? NOBODY : N1);
        trio_names(i, i == N1 ? names : NULL);
    }
    pg_start(&trio[N1]);
    trio_run_ms(SETTLE_MS);
    pg_start(&trio[N2]);
    pg_start(&trio[N3]);
    for (int i = 0; i < 10 && !(trio_streams(N2) && trio_streams(N3)); i++)
        trio_run_ms(SETTLE_MS);
    EXPECT(trio_streams(N2) && trio_streams(N3));
}

void trio_run_ms(msec ms)
{
    world_run(world.now + ms * 1000);
}

bool trio_streams(int node)
{
    return trio[node].receiver.state == RECEIVER_STREAMING;
}

/* ---- statements ---- */

static void told(struct pg *p, struct rec *commit, enum pg_outcome how, void *arg)
{
    struct wish *w = arg;

    (void)p;
    EXPECT(w->commit == commit && !w->told);
    w->told = true;
    w->cancelled = how == PG_CANCELLED;
}

struct wish *trio_write_as(int node, int client)
{
    struct wish *w = mem_zero(1, sizeof(*w));

    EXPECT(trio[node].accepting && !trio[node].in_recovery);
    pg_commit(&trio[node], COMMIT_ON, client, 1, told, w);
    w->commit = trio[node].disk.written;
    return w;
}

struct wish *trio_write(int node)
{
    return trio_write_as(node, node);
}

/* ---- what an agent does ---- */

void trio_freeze(int node)
{
    trio_upstream(node, NOBODY);
    trio_reload(node);
    (void)walstream_end_receiver(&trio[node]);
    for (int i = 0; i < 100 && trio[node].receiver.state != RECEIVER_NONE; i++) {
        trio_run_ms(100);
        (void)walstream_end_receiver(&trio[node]);
    }
    EXPECT(trio[node].receiver.state == RECEIVER_NONE);
}

void trio_promote(int node)
{
    trio[node].disk.promote_file = true;
    pg_promote_signal(&trio[node]);
    for (int i = 0; i < 700 && trio[node].in_recovery; i++)
        trio_run_ms(100);
    EXPECT(pg_is_open(&trio[node]));
}
