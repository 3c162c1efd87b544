#include "config.h"

#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "pg/bin.h"
#include "pg/file.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

static void no_errors(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        if (findings->at[i].level == FINDING_ERROR)
            fail_msg("%s", findings->at[i].text);
    }
    findings_deinit(findings);
}

struct config config_make(const char *yaml, const char *dynamic)
{
    static const char *const environment[] = {NULL};
    struct conf_source source = {.path = "node.yml", .text = yaml, .len = strlen(yaml)};
    struct findings findings = {0};
    struct config c = {0};
    struct pg_bin *bin = NULL;
    struct err err = {0};

    c.settings = settings_read(&source, 1, environment, &findings);
    no_errors(&findings);
    assert_non_null(c.settings);
    json_t *json = json_loads(dynamic, 0, NULL);
    assert_non_null(json);
    c.dynamic = dynamic_read(json, c.settings, &findings);
    json_decref(json);
    no_errors(&findings);

    struct pg_bin_spec spec = {.path_env = getenv("PATH")};
    if (!pg_bin_find(&spec, &bin, &err) || !pg_instance_new(c.settings, c.dynamic, bin, &c.instance, &err))
        fail_msg("%s", err.text);
    return c;
}

void config_free(struct config *c)
{
    pg_instance_unref(c->instance);
    dynamic_unref(c->dynamic);
    settings_unref(c->settings);
    *c = (struct config){0};
}

char *config_yaml(const char *name, const char *folder, int port, const char *more)
{
    return str_fmt("scope: test\n"
                   "name: %s\n"
                   "restapi: {listen: '127.0.0.1:8008', connect_address: '127.0.0.1:8008'}\n"
                   "etcd3: {hosts: '127.0.0.1:2379'}\n"
                   "postgresql:\n"
                   "  listen: 127.0.0.1:%d\n"
                   "  connect_address: 127.0.0.1:%d\n"
                   "  data_dir: %s/data\n"
                   "  authentication:\n"
                   "    superuser: {username: postgres, password: \"su:per's\\\\secret\"}\n"
                   "    replication: {username: replicator, password: repl-secret}\n"
                   "    rewind: {username: rewinder, password: rewind-secret}\n"
                   "%s",
                   name, port, port, folder, more ? more : "");
}

char *config_folder(void)
{
    char template[] = "/tmp/pgkeep-test-XXXXXX";

    assert_non_null(mkdtemp(template));
    return str_dup(template);
}

void config_remove_folder(char *take_folder)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", "--", take_folder, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    free(take_folder);
}

void config_leave_root(void)
{
    if (geteuid() != 0)
        return;

    struct passwd *user = getpwnam("postgres");
    if (!user || initgroups(user->pw_name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
        setuid(user->pw_uid) != 0 || chdir("/") != 0) {
        (void)fprintf(stderr, "cannot become the user postgres\n");
        exit(1);
    }
    (void)setenv("HOME", "/tmp", 1); /* no passfile or certificates of anybody */
}

char *config_slurp(const char *path)
{
    char *text = NULL;

    return file_read(path, 1 << 20, &text, NULL, NULL) ? text : NULL;
}

void config_spill(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}
