/*
 * pgkeep run: from a configuration to a guard.
 *
 * Everything that makes a start pointless is said here, before anything runs: an unsound configuration,
 * root (PostgreSQL refuses it), folders that cannot be made. Then this process becomes the guard.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/agent/agent.h"
#include "app/agent/config.h"
#include "base/str.h"
#include "io/log.h"
#include "wire/conf/settings.h"
#include "wire/guard.h"

static const char usage[] = "Usage: pgkeep run FILE\n"
                            "Keeps the PostgreSQL node that FILE (Patroni's YAML, or a folder of it) describes.\n"
                            "Without FILE the PATRONI_* environment alone is read.\n";

/* Next to us (a build tree, a copied pair), else where it is installed. */
static bool guard_path(char path[PATH_MAX], char self[PATH_MAX], struct err *err)
{
    ssize_t len = readlink("/proc/self/exe", self, PATH_MAX - 1);

    if (len < 0)
        return err_sys(err, errno, "finding our own program");
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    static const char *const places[] = {"", "guard/", "app/guard/", "../libexec/pgkeep/", "../lib/pgkeep/"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        int n = snprintf(path, PATH_MAX, "%.*s/%spgkeep-guard", (int)(slash - self), self, places[i]);
        if (n > 0 && n < PATH_MAX && access(path, X_OK) == 0)
            return true;
    }
    return err_set(err, ERR_NOT_FOUND, "pgkeep-guard is neither beside %s nor in ../libexec/pgkeep", self);
}

static bool make_state_dir(const struct settings *s, struct err *err)
{
    AUTO(cstr) char *dir = str_dup(s->pgkeep.state_dir);

    for (char *at = dir + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (mkdir(dir, 0700) < 0 && errno != EEXIST)
            return err_sys(err, errno, "making %s (for pgkeep.state_dir)", dir);
        *at = '/';
    }
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_sys(err, errno, "making %s (pgkeep.state_dir)", dir);
    if (access(dir, R_OK | W_OK | X_OK) < 0)
        return err_sys(err, errno, "using %s (pgkeep.state_dir)", dir);
    return true;
}

static int become_guard(const char *config, const struct settings *s)
{
    char guard[PATH_MAX];
    char self[PATH_MAX];
    struct err err = {0};

    if (!guard_path(guard, self, &err) || !make_state_dir(s, &err)) {
        log_critical("run.impossible", "%s", err.text);
        return 1;
    }
    const char *argv[] = {
        guard,  "--data-dir", s->postgresql.data_dir, "--state-dir", s->pgkeep.state_dir, "--", self, "agent",
        config, NULL};
    (void)execv(guard, (char *const *)argv); /* execv changes none of them; its type is older than const */
    log_critical("run.impossible", "executing %s: %s", guard, strerror(errno));
    return 1;
}

void run_guard_clear(const char *data_dir)
{
    char guard[PATH_MAX];
    char self[PATH_MAX];
    struct err err = {0};

    if (!guard_path(guard, self, &err)) {
        log_critical("guard.clear_failed", "%s", err.text);
        return;
    }
    const char *argv[] = {guard, "--clear", data_dir, NULL};
    (void)execv(guard, (char *const *)argv);
    log_critical("guard.clear_failed", "executing %s: %s", guard, strerror(errno));
}

int run_main(int argc, char **argv)
{
    const char *config = argc > 1 ? argv[1] : NULL;

    if (argc > 2 || (config && config[0] == '-')) {
        (void)fputs(usage, config && str_eq(config, "--help") ? stdout : stderr);
        return config && str_eq(config, "--help") ? 0 : 2;
    }
    AUTO(cstr) char *whole = config ? realpath(config, NULL) : NULL;
    if (config && !whole) {
        log_critical("run.impossible", "%s: %s", config, strerror(errno));
        return GUARD_EXIT_CONFIG;
    }
    AUTO(settings) struct settings *settings = config_read_local(whole);
    if (!settings) {
        log_critical("run.impossible", "the configuration has errors; nothing was started");
        return GUARD_EXIT_CONFIG;
    }
    if (geteuid() == 0) {
        log_critical("run.root",
                     "PostgreSQL refuses to run as root: run pgkeep as the user that owns its data (postgres)");
        return GUARD_EXIT_CONFIG;
    }
    return become_guard(whole, settings);
}
