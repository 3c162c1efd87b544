/*
 * pgkeep: which program is meant.
 *
 * The name we were called by decides (patroni, patronictl: a drop-in), else the first word.
 */
#include <stdio.h>
#include <string.h>

#include "app/agent/agent.h"
#include "app/ctl/check.h"
#include "app/ctl/ctl.h"
#include "app/ctl/init.h"
#include "app/demo/demo.h"
#include "base/buf.h"
#include "base/str.h"
#include "wire/cluster.h"

struct program {
    const char *name; /* a word, or an option that asks for the same */
    const char *help; /* NULL: an alias, or started by pgkeep itself */
    int (*run)(int argc, char **argv);
};

/* argv[0] is the word itself. */
static const struct program programs[] = {
    {"run", "Keep the node that a configuration describes: run FILE", run_main},
    {"agent", NULL, agent_main},
    {"check", "Say everything about a configuration that can be said without starting: check FILE", check_main},
    {"--validate-config", NULL, check_main},
    {"init", "Write a first configuration for a node", init_main},
    {"--generate-config", NULL, generate_config_main},
    {"--generate-sample-config", NULL, generate_sample_config_main},
    {"demo", "A whole cluster on this machine, to look at and to break", demo_main},
};

static const struct program *find_program(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(programs); i++)
        if (str_eq(programs[i].name, name))
            return &programs[i];
    return NULL;
}

static int print_help(void)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    buf_add_str(&out, "pgkeep keeps PostgreSQL available.\n\nUsage: pgkeep COMMAND [ARGS]...\n\nA node:\n");
    for (size_t i = 0; i < ARRAY_LEN(programs); i++)
        if (programs[i].help)
            buf_printf(&out, "  %-12s  %s\n", programs[i].name, programs[i].help);
    buf_add_str(&out, "\nA cluster ([-c FILE] [-d DCS_URL] [-k] before the command):\n");
    ctl_describe(&out);
    buf_add_str(&out, "\n'pgkeep COMMAND --help' shows what a command takes. Called as patroni or patronictl it "
                      "behaves like them.\n");
    (void)fputs(buf_cstr(&out), stdout);
    return 0;
}

static int patroni_help(void)
{
    (void)fputs("Usage: patroni [OPTIONS] [CONFIG_FILE]\n\n"
                "Options:\n"
                "  --validate-config              Check the configuration and exit; -i: do not test listen addresses, "
                "-p: print it\n"
                "  --generate-config [--dsn DSN]  Write a configuration for a running PostgreSQL\n"
                "  --generate-sample-config       Write a sample configuration\n"
                "  --version                      Show the version and exit\n"
                "  --help                         Show this message and exit\n",
                stdout);
    return 0;
}

/* `patroni [--option]... FILE`: the first option that names another program decides, wherever it stands. */
static int patroni_main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct program *p = str_starts(argv[i], "--") ? find_program(argv[i]) : NULL;
        if (str_eq(argv[i], "--version"))
            return printf("patroni %s (pgkeep %s)\n", CLUSTER_VERSION_TOLD, PGKEEP_VERSION) < 0;
        if (str_eq(argv[i], "--help") || str_eq(argv[i], "-h"))
            return patroni_help();
        if (p) {
            char *name = argv[i];
            memmove(argv + 1, argv, (size_t)i * sizeof(*argv)); /* the option becomes argv[0] of what it asks for */
            argv[1] = name;
            return p->run(argc - 1, argv + 1);
        }
    }
    return run_main(argc, argv);
}

static int pgkeep_main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "--help";
    const struct program *p = find_program(word);

    if (p)
        return p->run(argc - 1, argv + 1);
    if (str_eq(word, "--version"))
        return printf("pgkeep %s\n", PGKEEP_VERSION) < 0;
    if (str_eq(word, "--help") || str_eq(word, "-h") || str_eq(word, "help"))
        return print_help();
    return ctl_main(argc, argv, "pgkeep");
}

int main(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "";

    if (str_eq(name, "patronictl"))
        return ctl_main(argc, argv, "patronictl");
    if (str_eq(name, "patroni"))
        return patroni_main(argc, argv);
    return pgkeep_main(argc, argv);
}
