/*
 * dsn: where a member's PostgreSQL listens.
 */
#include <stdio.h>
#include <stdlib.h>

#include "app/ctl/ctl.h"
#include "app/ctl/targets.h"
#include "app/ctl/verbs.h"
#include "base/str.h"

int verb_dsn(struct ctl *ctl, int argc, char **argv)
{
    AUTO(cluster) struct cluster *c = NULL;
    const char *role = NULL, *member = NULL, *name;
    char *host = NULL;
    int port = 0;
    struct err err;
    int status;
    const struct opt opts[] = {
        {'r', "role", TARGET_ROLES_META, "Give a dsn of any member with this role", .text = &role,
         .choices = TARGET_ROLES},
        {'m', "member", "TEXT", "Generate a dsn for this member", .text = &member},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) || !ctl_cluster_argument(ctl, argc, argv, &name, &status))
        return status;
    if (role && member)
        return ctl_refuse("--role and --member are mutually exclusive options");
    if (!ctl_read(ctl, name, &c, &err))
        return ctl_fail(&err);

    const struct member *m = targets_any(c, role, member);
    if (!m)
        return ctl_refuse("Can not find a suitable member");
    if (!m->conn_url || !url_host_port(m->conn_url, &host, &port))
        return ctl_refuse("Member %s publishes no address of PostgreSQL", m->name);
    (void)printf("host=%s port=%d\n", host, port ? port : 5432);
    free(host);
    return CTL_OK;
}
