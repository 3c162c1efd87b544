/*
 * recover-record: a store that lost the newest record of quorum mode gets it again from a member that has seen it.
 */
#include <stdio.h>

#include "app/ctl/ctl.h"
#include "app/ctl/members.h"
#include "app/ctl/targets.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "base/str.h"

int verb_recover_record(struct ctl *ctl, int argc, char **argv)
{
    AUTO(targets) struct targets t = {0};
    AUTO(rest_reply) struct rest_reply reply = {0};
    bool force = false;
    struct err err;
    int status;
    const struct opt opts[] = {
        {0, "force", NULL, "Do not ask, and take it that nobody who is not heard has seen a later record",
         .flag = &force},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) || !targets_read(ctl, &argc, &argv, &t, &status))
        return status;
    if (argc != 1)
        return ctl_refuse("Name the one member whose record is to be written into the store");
    if (!targets_pick(ctl, &t, argc, argv, "any", force, "recover the record of", &status) ||
        !targets_confirm(&t, force, "recover the record of", &status))
        return status;

    json_t *body = json_object();
    json_object_set_new(body, "force", json_boolean(force));
    bool answered = wait_rest(ctl, t.at[0], "POST", "recover_record", body, WAIT_REST_MS, &reply, &err);
    json_decref(body);
    if (!answered)
        return ctl_fail(&err);
    (void)printf("%s: %s\n", reply.status < 400 ? "Success" : "Failed", reply.body);
    return reply.status < 400 ? CTL_OK : CTL_FAILED;
}
