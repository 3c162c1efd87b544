#include "app/ctl/ctl.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/ctl/config.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/loop.h"

struct verb {
    const char *name;
    const char *usage;
    const char *help;
    int (*run)(struct ctl *ctl, int argc, char **argv);
};

static const struct verb verbs[] = {
    {"detach", "", "Remove from this node's files what quorum mode left, before Patroni takes it over", verb_detach},
    {"dsn", "[CLUSTER_NAME]", "Generate a dsn for the provided member, defaults to a dsn of the leader", verb_dsn},
    {"edit-config", "[CLUSTER_NAME]", "Edit cluster configuration", verb_edit_config},
    {"explain", "[CLUSTER_NAME] [NUMBER]", "Tell a failover or switchover as a story, or who could be promoted now",
     verb_explain},
    {"failover", "[CLUSTER_NAME]", "Failover to a replica", verb_failover},
    {"flush", "[CLUSTER_NAME] [MEMBER_NAMES]... {restart|switchover}", "Discard scheduled events", verb_flush},
    {"history", "[CLUSTER_NAME]", "Show the history of failovers/switchovers", verb_history},
    {"list", "[CLUSTER_NAMES]...", "List the members of a cluster", verb_list},
    {"pause", "[CLUSTER_NAME]", "Disable auto failover", verb_pause},
    {"plan", "[CLUSTER_NAME]", "Tell what would happen if a node were lost", verb_plan},
    {"query", "[CLUSTER_NAME]", "Query a member's PostgreSQL", verb_query},
    {"recover-record", "[CLUSTER_NAME] MEMBER_NAME", "Write the newest record into a store that has lost it",
     verb_recover_record},
    {"reinit", "[CLUSTER_NAME] [MEMBER_NAMES]...", "Reinitialize cluster member", verb_reinit},
    {"reload", "[CLUSTER_NAME] [MEMBER_NAMES]...", "Reload cluster member configuration", verb_reload},
    {"remove", "[CLUSTER_NAME]", "Remove cluster from DCS", verb_remove},
    {"restart", "[CLUSTER_NAME] [MEMBER_NAMES]...", "Restart cluster member", verb_restart},
    {"resume", "[CLUSTER_NAME]", "Resume auto failover", verb_resume},
    {"show-config", "[CLUSTER_NAME]", "Show cluster configuration", verb_show_config},
    {"switchover", "[CLUSTER_NAME]", "Switchover to a replica", verb_switchover},
    {"topology", "[CLUSTER_NAMES]...", "Prints ASCII topology for given cluster", verb_topology},
    {"version", "[CLUSTER_NAME] [MEMBER_NAMES]...", "Output version of this program and of the running members",
     verb_version},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (str_eq(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

void ctl_describe(struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        buf_printf(out, "  %-12s  %s\n", verbs[i].name, verbs[i].help);
}

int ctl_refuse(const char *fmt, ...)
{
    va_list args;

    (void)fflush(stdout);
    (void)fputs("Error: ", stderr);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return CTL_FAILED;
}

int ctl_fail(const struct err *err)
{
    return ctl_refuse("%s", err->text);
}

int ctl_abort(void)
{
    (void)fflush(stdout);
    (void)fputs("Aborted!\n", stderr);
    return CTL_FAILED;
}

static void print_usage_line(FILE *to, const struct ctl *ctl)
{
    if (ctl->verb)
        (void)fprintf(to, "Usage: %s %s [OPTIONS] %s\n", ctl->program, ctl->verb, ctl->usage);
    else
        (void)fprintf(to, "Usage: %s [OPTIONS] COMMAND [ARGS]...\n", ctl->program);
}

int ctl_misuse(const struct ctl *ctl, const char *fmt, ...)
{
    va_list args;

    (void)fflush(stdout);
    print_usage_line(stderr, ctl);
    (void)fprintf(stderr, "Try '%s%s%s --help' for help.\n\nError: ", ctl->program, ctl->verb ? " " : "",
                  ctl->verb ? ctl->verb : "");
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return CTL_USAGE;
}

void ctl_note(const char *fmt, ...)
{
    va_list args;

    (void)fflush(stdout);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

int ctl_help(const struct ctl *ctl, const struct opt *opts)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    print_usage_line(stdout, ctl);
    buf_printf(&out, "\n  %s\n\n", ctl->help);
    opts_describe(opts, &out);
    (void)fputs(buf_cstr(&out), stdout);
    return CTL_OK;
}

static bool read_options(const struct ctl *ctl, const struct opt *opts, int *argc, char **argv, int *ret_exit)
{
    bool help = false;
    struct err err;

    if (!opts_parse(opts, argc, argv, &help, &err)) {
        *ret_exit = ctl_misuse(ctl, "%s", err.text);
        return false;
    }
    if (help)
        *ret_exit = ctl_help(ctl, opts);
    return !help;
}

static bool one_at_most(const struct ctl *ctl, int argc, char **argv, int *ret_exit)
{
    if (argc > 1)
        *ret_exit = ctl_misuse(ctl, "Got unexpected extra argument (%s)", argv[1]);
    return argc <= 1;
}

bool ctl_file_argument(const struct ctl *ctl, const struct opt *opts, int argc, char **argv, const char **ret_file,
                       int *ret_exit)
{
    argc--;
    argv++;
    if (!read_options(ctl, opts, &argc, argv, ret_exit) || !one_at_most(ctl, argc, argv, ret_exit))
        return false;
    *ret_file = argc ? argv[0] : NULL;
    return true;
}

bool ctl_options(struct ctl *ctl, const struct opt *opts, int *argc, char **argv, int *ret_exit)
{
    struct err err;

    if (!read_options(ctl, opts, argc, argv, ret_exit))
        return false;
    if (!config_load(ctl->config_path, ctl->dcs_url, &ctl->settings, &err)) {
        *ret_exit = ctl_fail(&err);
        return false;
    }
    ctl->settings->ctl.insecure |= ctl->insecure;
    return true;
}

bool ctl_cluster_argument(struct ctl *ctl, int argc, char **argv, const char **ret_name, int *ret_exit)
{
    if (!one_at_most(ctl, argc, argv, ret_exit))
        return false;
    const char *name = argc == 1 ? argv[0] : ctl->settings->scope;
    if (str_empty(name)) {
        *ret_exit = ctl_misuse(ctl, "Missing argument 'CLUSTER_NAME': no `scope` in the configuration either.");
        return false;
    }
    *ret_name = name;
    return true;
}

bool ctl_read(struct ctl *ctl, const char *name, struct cluster **ret_cluster, struct err *err)
{
    AUTO(cstr) char *prefix = str_fmt("/%s/%s/", ctl->settings->namespace_, name);

    return wait_prefix(ctl, prefix, ret_cluster, err);
}

/* Colours for people at a terminal; NO_COLOR and CLICOLOR_FORCE as usual. */
static bool wants_colour(void)
{
    const char *terminal = getenv("TERM");
    const char *force = getenv("CLICOLOR_FORCE");

    if (!str_empty(getenv("NO_COLOR")))
        return false;
    if (!str_empty(force) && !str_eq(force, "0"))
        return true;
    return isatty(STDOUT_FILENO) && !str_eq(terminal, "dumb");
}

static void print_help(const struct ctl *ctl, const struct opt *opts)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    print_usage_line(stdout, ctl);
    buf_add_char(&out, '\n');
    opts_describe(opts, &out);
    buf_add_str(&out, "\nCommands:\n");
    ctl_describe(&out);
    buf_printf(&out, "\n'%s COMMAND --help' shows what a command takes.\n", ctl->program);
    (void)fputs(buf_cstr(&out), stdout);
}

static int run_verb(struct ctl *ctl, const struct verb *verb, int argc, char **argv)
{
    ctl->verb = verb->name;
    ctl->usage = verb->usage;
    ctl->help = verb->help;
    ctl->loop = loop_new();
    int status = verb->run(ctl, argc, argv);

    http_client_free(ctl->rest);
    store_free(ctl->store);
    loop_free(ctl->loop);
    settings_unref(ctl->settings);
    return fflush(stdout) == 0 ? status : CTL_FAILED;
}

static const char *environment_text(const char *name)
{
    const char *text = getenv(name);

    return str_empty(text) ? NULL : text;
}

int ctl_main(int argc, char **argv, const char *program)
{
    struct ctl ctl = {.program = program,
                      .colour = wants_colour(),
                      .config_path = environment_text("PATRONICTL_CONFIG_FILE"),
                      .dcs_url = environment_text("DCS_URL")};
    bool help = false;
    int used = 0;
    struct err err;
    const struct opt opts[] = {
        {'c', "config-file", "TEXT", "Configuration file", .text = &ctl.config_path},
        {'d', "dcs-url dcs", "TEXT", "The DCS connect url: etcd3://HOST:PORT/NAMESPACE", .text = &ctl.dcs_url},
        {'k', "insecure", NULL, "Allow connections to SSL sites without certs", .flag = &ctl.insecure},
        OPT_END,
    };

    (void)signal(SIGPIPE, SIG_IGN); /* a pager that went away shows as an error of the write */
    argc--;
    argv++;
    if (!opts_parse_leading(opts, argc, argv, &used, &help, &err))
        return ctl_misuse(&ctl, "%s", err.text);
    if (help || used == argc) {
        print_help(&ctl, opts);
        return help ? CTL_OK : CTL_USAGE;
    }

    const struct verb *verb = find_verb(argv[used]);
    if (!verb)
        return ctl_misuse(&ctl, "No such command '%s'.", argv[used]);
    return run_verb(&ctl, verb, argc - used - 1, argv + used + 1);
}
