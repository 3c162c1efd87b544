/*
 * pgkeep-guard: the process that everything of a node hangs on.
 *
 *   pgkeep-guard --data-dir D --state-dir S -- /usr/bin/pgkeep agent node.yml
 *       keeps the agent running and PostgreSQL under its fence; ends on SIGTERM
 *   pgkeep-guard --clear D
 *       SIGKILLs every process of the instance in D, until none is left (for an agent without guard)
 *
 * Exit: 0 ended in good order; 1 not so, or could not start; 2 usage; 78 the agent says its configuration is wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "app/guard/carry.h"
#include "app/guard/clock.h"
#include "app/guard/guard.h"
#include "app/guard/lock.h"
#include "app/guard/notify.h"
#include "app/guard/say.h"
#include "base/str.h"

enum {
    EXIT_USAGE = 2,
    HELLO_MS = 10000,      /* an agent reads its configuration first, perhaps from a busy disk */
    CLEAR_WAIT_MS = 10000, /* SIGKILL works in milliseconds, or the kernel holds the process */
    CLEAR_STEP_MS = 5,
};

struct options {
    const char *data_dir;
    const char *state_dir;
    const char *clear_dir;
    msec silence_ms;
    msec hello_ms;
    char **agent_argv;
};

static const char usage[] =
    "Usage: pgkeep-guard --data-dir DIR --state-dir DIR [options] -- AGENT [ARGUMENT...]\n"
    "       pgkeep-guard --clear DIR\n"
    "\n"
    "Keeps a pgkeep agent and its PostgreSQL; started by \"pgkeep run\".\n"
    "\n"
    "  --data-dir DIR            the data directory, absolute\n"
    "  --state-dir DIR           where guard.lock is kept, absolute, outside the data directory\n"
    "  --agent-silence-ms MS     an agent silent for so long is replaced (default 900, 0: never)\n"
    "  --agent-hello-ms MS       and one that does not speak up after its start (default 10000)\n"
    "  --clear DIR               kill every process of the instance in DIR with SIGKILL, wait until none is left\n"
    "  --version, --help\n"
    "AGENT is an absolute path.\n";

static bool parse_ms(const char *text, msec *ret_ms)
{
    int64_t value;

    if (!str_to_int(text, 0, INT32_MAX, &value))
        return false;
    *ret_ms = value ? value : MSEC_NEVER;
    return true;
}

static bool absolute(const char *path)
{
    return path && path[0] == '/' && strlen(path) < GUARD_PATH_MAX;
}

/* Exits by itself for --help, --version and anything that is wrong. */
static struct options parse(int argc, char **argv)
{
    enum { DATA_DIR = 1, STATE_DIR, SILENCE, HELLO, CLEAR, VERSION, HELP };
    static const struct option longs[] = {
        {"data-dir", required_argument, NULL, DATA_DIR},
        {"state-dir", required_argument, NULL, STATE_DIR},
        {"agent-silence-ms", required_argument, NULL, SILENCE},
        {"agent-hello-ms", required_argument, NULL, HELLO},
        {"clear", required_argument, NULL, CLEAR},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, HELP},
        {0},
    };
    struct options o = {.silence_ms = GUARD_SILENCE_MS, .hello_ms = HELLO_MS};
    bool good = true;
    int option;

    while ((option = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
        if (option == DATA_DIR)
            good &= absolute(o.data_dir = optarg);
        else if (option == STATE_DIR)
            good &= absolute(o.state_dir = optarg);
        else if (option == SILENCE)
            good &= parse_ms(optarg, &o.silence_ms);
        else if (option == HELLO)
            good &= parse_ms(optarg, &o.hello_ms);
        else if (option == CLEAR)
            good &= absolute(o.clear_dir = optarg);
        else if (option == VERSION || option == HELP) {
            (void)fputs(option == HELP ? usage : "pgkeep-guard " PGKEEP_VERSION "\n", stdout);
            exit(0);
        } else
            good = false;
    }
    o.agent_argv = argv + optind;
    bool guard = o.data_dir && o.state_dir && o.agent_argv[0] && absolute(o.agent_argv[0]);
    if (!good || (!guard && !o.clear_dir)) {
        (void)fputs(usage, stderr);
        exit(EXIT_USAGE);
    }
    return o;
}

static int check_carry(const char *data_dir)
{
    struct err err;
    int64_t fd;

    if (!str_to_int(getenv(CARRY_ENV_FD), 0, INT_MAX, &fd))
        return EXIT_USAGE;
    if (carry_check(data_dir, (int)fd, &err))
        return CARRY_EXIT_GOOD;
    say_error("guard.upgrade", "%s", err.text);
    return 1;
}

static int clear_instance(const char *data_dir)
{
    static struct instance pg;
    const struct timespec step = {.tv_nsec = CLEAR_STEP_MS * 1000000L};
    msec deadline_ms = clock_now_ms() + CLEAR_WAIT_MS;

    instance_init(&pg, data_dir);
    for (;;) {
        msec now_ms = clock_now_ms();
        instance_halt(&pg, HALT_KILL, now_ms);
        if (pg.state == GUARD_PG_NONE)
            return 0;
        if (now_ms >= deadline_ms)
            break;
        (void)nanosleep(&step, NULL);
    }
    say_error("guard.clear", "%d processes of %s are left", pg.orphan_count, data_dir);
    return 1;
}

/* Descriptors 0 to 2 exist; others that we were started with are nobody's business but an upgrade's. */
static void tidy_descriptors(bool upgraded)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        (void)close(fd);
    if (!upgraded)
        (void)syscall(SYS_close_range, STDERR_FILENO + 1, UINT_MAX, 0); /* before Linux 5.9 they stay open */
}

static void protect(struct guard *g, bool upgraded)
{
    if (!upgraded)
        spawn_protect(&g->origin); /* both last over exec */
    if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        say_info("guard.memory", "memory is not locked (%s): under memory pressure a fence may fire late",
                 strerror(errno));
}

static void take_signals(struct guard *g)
{
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD};
    static const int ignored[] = {SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR2, SIGALRM};
    sigset_t set;

    (void)sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        (void)sigaddset(&set, ours[i]);
    (void)sigprocmask(SIG_SETMASK, &set, NULL);
    (void)signal(SIGCHLD, SIG_DFL); /* ignored, which may be inherited, would reap behind our back */
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    g->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* What we cannot do without, found out now and not at the first fence. */
static bool kernel_suits(struct err *err)
{
    struct proc_stat stat;
    struct file_id exe;

    AUTO(fd) int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (pidfd < 0)
        return err_sys(err, errno, "pidfd_open (Linux 5.3 or newer is needed)");
    if (!proc_stat_read(getpid(), &stat) || !file_id_of("/proc/self/exe", &exe))
        return err_set(err, ERR_SYS, "/proc is not mounted or cannot be read");
    return true;
}

static const char *self_path(void)
{
    static char path[PATH_MAX];

    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[len > 0 ? len : 0] = '\0';
    if (str_ends(path, " (deleted)"))
        path[strlen(path) - strlen(" (deleted)")] = '\0';
    return path;
}

static bool prepare(struct guard *g, const struct options *o, char **argv, struct err *err)
{
    int64_t carry_fd = -1;
    bool upgraded = str_to_int(getenv(CARRY_ENV_FD), 0, INT_MAX, &carry_fd);

    tidy_descriptors(upgraded);
    say_init();
    notify_init();
    if (!kernel_suits(err))
        return false;

    g->argv = argv;
    g->env = environ;
    g->self_path = self_path();
    size_t last = 0;
    while (argv[last + 1])
        last++;
    g->title = argv[0];
    g->title_cap = (size_t)(argv[last] - argv[0]) + strlen(argv[last]) + 1;
    g->exit_code = -1;
    channel_init(&g->channel);
    instance_init(&g->pg, o->data_dir);
    g->agent = (struct agent){.argv = o->agent_argv,
                              .env = environ,
                              .silence_ms = o->silence_ms,
                              .hello_ms = o->hello_ms,
                              .origin = &g->origin};

    take_signals(g);
    g->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (g->timer_fd < 0 || g->signal_fd < 0)
        return err_sys(err, errno, "timerfd or signalfd");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return err_sys(err, errno, "becoming a subreaper");

    if (upgraded ? !carry_take(g, (int)carry_fd, err) : !lock_take(o->state_dir, &g->lock_fd, err))
        return false;
    g->agent.lock_fd = g->lock_fd;
    protect(g, upgraded);
    if (upgraded)
        agent_kill(&g->agent, "belongs to the version before");
    return true;
}

int main(int argc, char **argv)
{
    static struct guard guard;
    struct err err;

    struct options o = parse(argc, argv);
    if (o.clear_dir)
        return clear_instance(o.clear_dir);
    if (getenv(CARRY_ENV_CHECK))
        return check_carry(o.data_dir);

    if (!prepare(&guard, &o, argv, &err)) {
        say_error("guard.start", "%s", err.text);
        return 1;
    }
    if (guard.agent.state == AGENT_NONE)
        say_info("guard.start", "version %s, pid %d, for %s", PGKEEP_VERSION, (int)getpid(), o.data_dir);
    return guard_run(&guard);
}
