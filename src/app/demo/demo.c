#include "app/demo/demo.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/demo/cluster.h"
#include "app/demo/trial.h"
#include "base/str.h"
#include "io/loop.h"

enum {
    DEMO_OK = 0,
    DEMO_FAILED = 1,
    DEMO_USAGE = 2,
    LOOK_MS = 1000,
    LOG_LINES = 24,
};

struct options {
    bool check, keep, help;
    const char *dir;
    int nodes;
};

static const char usage[] =
    "Usage: pgkeep demo [--check] [--dir DIR] [--nodes N] [--keep]\n\n"
    "  Three nodes and their store on this machine, to look at and to break. Ctrl-C ends all of it.\n\n"
    "  --check      No terminal needed: start, write, kill the primary, wait for the next one and for the\n"
    "               old one's return, verify every acknowledged row, stop; exit 0 or say what failed\n"
    "  --dir DIR    Where to put everything (a new or empty folder; default: a new one below $TMPDIR or /tmp)\n"
    "  --nodes N    2 to 9 nodes (default 3)\n"
    "  --keep       Leave the folder there at the end\n";

static bool parse_option(struct options *o, const char *word, const char *next, int *ret_used)
{
    int64_t nodes;

    *ret_used = 1;
    if (str_eq(word, "--check")) {
        o->check = true;
    } else if (str_eq(word, "--keep")) {
        o->keep = true;
    } else if (str_eq(word, "--help")) {
        o->help = true;
    } else if (str_eq(word, "--dir") && next) {
        o->dir = next;
        *ret_used = 2;
    } else if (str_eq(word, "--nodes") && next && str_to_int(next, 2, DEMO_NODES_MAX, &nodes)) {
        o->nodes = (int)nodes;
        *ret_used = 2;
    } else {
        return false;
    }
    return true;
}

static void on_signal(int signo, void *arg)
{
    struct demo *d = arg;

    (void)signo;
    d->asked_to_stop = true;
}

static void take_signals(struct demo *d)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        d->signals[i] = loop_signal_add(d->loop, signals[i], on_signal, d);
}

static bool start_all(struct demo *d, int nodes, struct err *err)
{
    if (!demo_prepare(d, nodes, err) || !demo_start_etcd(d, err))
        return false;
    for (int i = 0; i < d->node_count; i++)
        if (!demo_start_node(d, &d->nodes[i], err))
            return false;
    return true;
}

/* What an operator types to act as the demo's user: with sudo if that is how we were started. */
static char *as_user(const struct demo *d)
{
    if (!d->place.user)
        return str_dup("");
    return str_fmt(str_empty(getenv("SUDO_USER")) ? "runuser -u %s -- " : "sudo -u %s ", d->place.user);
}

static void print_next_steps(struct demo *d, const struct demo_node *leader)
{
    AUTO(cstr) char *conninfo = demo_conninfo(d, "read-write");
    AUTO(cstr) char *user = as_user(d);

    (void)printf("\nConnect to the primary, wherever it is:\n"
                 "  %senv PGPASSFILE=%s psql '%s'\n"
                 "Kill the primary and see who takes over:\n"
                 "  %ssh -c 'kill -9 $(head -1 %s/postmaster.pid)'\n"
                 "Switch over, in good order:\n"
                 "  %s%s -c %s switchover --force\n"
                 "Logs: %s/n*.log, %s\n"
                 "Stop: Ctrl-C\n",
                 user, d->pgpass, conninfo, user, leader ? leader->data_dir : d->nodes[0].data_dir, user,
                 d->place.program, d->nodes[0].yaml, d->place.dir, d->etcd_log);
}

/* What was shown last, where there is no screen to draw anew. */
struct shown {
    char *table;
    bool next_steps;
};

static void draw_screen(struct demo *d, const char *table, const struct demo_node *leader)
{
    (void)printf("\033[H\033[Jpgkeep demo: %d nodes and etcd (127.0.0.1:%d) in %s\n\n%s", d->node_count, d->etcd_port,
                 d->place.dir, table);
    print_next_steps(d, leader);
}

/* Elsewhere the table appears when it has changed, and what to do next when there is something to do it with. */
static void print_changes(struct demo *d, const char *table, const struct demo_node *leader, struct shown *shown)
{
    if (str_eq(table, shown->table))
        return;
    (void)printf("\n%s", table);
    if (leader && !shown->next_steps)
        print_next_steps(d, leader);
    shown->next_steps |= leader != NULL;
    str_set(&shown->table, table);
}

static void draw(struct demo *d, struct shown *shown)
{
    bool screen = isatty(STDOUT_FILENO);
    struct err err;
    AUTO(cstr) char *table = demo_list_text(d, screen && str_empty(getenv("NO_COLOR")), &err);
    json_t *list = table ? demo_list(d, NULL) : NULL;
    const struct demo_node *leader = list ? demo_leader(d, list) : NULL;

    if (!table)
        table = str_fmt("%s\n", err.text);
    if (screen)
        draw_screen(d, table, leader);
    else
        print_changes(d, table, leader, shown);
    (void)fflush(stdout);
    json_decref(list);
}

static void live(struct demo *d)
{
    struct shown shown = {0};

    do {
        demo_tend(d, !isatty(STDOUT_FILENO));
        if (!proc_running(&d->etcd)) {
            (void)printf("etcd has ended; without it there is no demo\n");
            demo_show_log(d->etcd_log, LOG_LINES);
            break;
        }
        draw(d, &shown);
    } while (demo_pause(d, LOOK_MS));
    free(shown.table);
}

/* At the end of a demo that somebody watched. Nobody answers: the folder stays. */
static bool wants_removal(const struct demo *d)
{
    char answer[16] = "";

    if (!isatty(STDIN_FILENO))
        return false;
    (void)printf("Remove %s? [Y/n] ", d->place.dir);
    (void)fflush(stdout);
    if (!fgets(answer, sizeof(answer), stdin))
        return false;
    return *answer == '\n' || *answer == 'y' || *answer == 'Y';
}

static void settle_folder(const struct demo *d, bool remove)
{
    struct err err;

    if (!remove)
        (void)printf("Everything is in %s\n", d->place.dir);
    else if (!place_remove(&d->place, &err))
        (void)printf("%s\n", err.text);
}

static int run_demo(struct demo *d, const struct options *o)
{
    struct err err;
    bool ok = true, started = start_all(d, o->nodes, &err);

    if (!started)
        (void)printf("%s\n", err.text);
    else if (o->check)
        ok = trial_run(d, &err);
    else
        live(d);

    (void)printf("%sstopping …\n", o->check ? "" : "\n");
    (void)fflush(stdout);
    demo_stop(d);
    ok = ok && started;
    if (o->check)
        settle_folder(d, ok && !o->keep); /* what failed is worth looking at */
    else
        settle_folder(d, !o->keep && (!started || wants_removal(d)));
    return ok ? DEMO_OK : DEMO_FAILED;
}

int demo_main(int argc, char **argv)
{
    struct options o = {.nodes = 3};
    struct demo d = {0};
    struct err err;

    for (int i = 1, used; i < argc; i += used)
        if (!parse_option(&o, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &used)) {
            (void)fprintf(stderr, "%s\nError: not understood: %s\n", usage, argv[i]);
            return DEMO_USAGE;
        }
    if (o.help)
        return fputs(usage, stdout) < 0 ? DEMO_FAILED : DEMO_OK;

    if (!place_make(o.dir, &d.place, &err)) {
        (void)fprintf(stderr, "Error: %s\n", err.text);
        return DEMO_FAILED;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    d.loop = loop_new();
    take_signals(&d);
    (void)printf("pgkeep demo in %s%s%s\n", d.place.dir, d.place.user ? ", as user " : "",
                 d.place.user ? d.place.user : "");
    (void)fflush(stdout);
    int status = run_demo(&d, &o);
    demo_deinit(&d);
    return status;
}
