/*
 * A request that any member may answer: the leader is asked first, then the others.
 */
#pragma once

#include "app/ctl/wait.h"

/*
 * `doing` ("Cluster c: pausing") is said with each member that is asked. False if none gave an HTTP answer; each that
 * did not is named on stderr.
 */
MUST_USE bool rest_any(struct ctl *ctl, const struct cluster *c, const char *doing, const char *method,
                       const char *path, const json_t *body, const struct member **ret_member,
                       struct rest_reply *ret_reply);
