/*
 * version: ours, and what the members run.
 */
#include <jansson.h>
#include <stdio.h>

#include "app/ctl/ctl.h"
#include "app/ctl/targets.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "base/str.h"

/* 150018 → "15.18", 90624 → "9.6.24" */
static char *pg_version_text(json_int_t version)
{
    int v = (int)version;

    if (v < 100000)
        return str_fmt("%d.%d.%d", v / 10000, v / 100 % 100, v % 100);
    return str_fmt("%d.%d", v / 10000, v % 100);
}

static bool show_member_version(struct ctl *ctl, const struct member *m)
{
    AUTO(rest_reply) struct rest_reply reply = {0};
    struct err err;

    if (!wait_rest(ctl, m, "GET", "patroni", NULL, WAIT_REST_MS, &reply, &err)) {
        (void)printf("%s: failed to get version: %s\n", m->name, err.text);
        return false;
    }
    json_t *status = json_loads(reply.body, 0, NULL);
    const char *patroni = json_string_value(json_object_get(json_object_get(status, "patroni"), "version"));
    const char *pgkeep = json_string_value(json_object_get(json_object_get(status, "pgkeep"), "version"));
    json_t *server = json_object_get(status, "server_version");
    AUTO(cstr) char *pg = json_is_integer(server) ? pg_version_text(json_integer_value(server)) : NULL;

    if (patroni)
        (void)printf("%s: Patroni %s%s%s%s%s\n", m->name, patroni, pg ? " PostgreSQL " : "", pg ? pg : "",
                     pgkeep ? " pgkeep " : "", pgkeep ? pgkeep : "");
    else
        (void)printf("%s: failed to get version: no such field in the answer\n", m->name);
    json_decref(status);
    return patroni != NULL;
}

static bool wanted(const struct member *m, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (str_eq(argv[i], m->name))
            return true;
    return argc == 0;
}

int verb_version(struct ctl *ctl, int argc, char **argv)
{
    AUTO(targets) struct targets t = {0};
    bool ok = true;
    int status;
    const struct opt opts[] = {OPT_END};

    /* Ours can be told without a configuration. */
    if (argc > 0 && !ctl_options(ctl, opts, &argc, argv, &status))
        return status;
    if (str_eq(ctl->program, "patronictl"))
        (void)printf("patronictl version %s (pgkeep %s)\n", CLUSTER_VERSION_TOLD, PGKEEP_VERSION);
    else
        (void)printf("%s version %s\n", ctl->program, PGKEEP_VERSION);
    if (argc == 0)
        return CTL_OK;

    if (!targets_read(ctl, &argc, &argv, &t, &status))
        return status;
    (void)printf("\n");
    for (size_t i = 0; i < t.cluster->member_count; i++)
        if (t.cluster->members[i].api_url && wanted(&t.cluster->members[i], argc, argv))
            ok &= show_member_version(ctl, &t.cluster->members[i]);
    return ok ? CTL_OK : CTL_FAILED;
}
