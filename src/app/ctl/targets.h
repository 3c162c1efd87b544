/*
 * Which members a verb is about: "[CLUSTER_NAME] [MEMBER_NAMES]..." and --role.
 *
 * patronictl's first argument is always a cluster. pgkeep lets it out where the configuration names
 * one: a first word that is neither the configured cluster nor one of its members is another cluster.
 */
#pragma once

#include "app/ctl/ctl.h"

#define TARGET_ROLES "leader|primary|standby-leader|replica|standby|any|master"
#define TARGET_ROLES_META "[leader|primary|standby-leader|replica|standby|any]"

struct targets {
    const char *cluster_name;
    struct cluster *cluster;
    const struct member **at;
    size_t count;
};

void targets_deinit(struct targets *t);
static inline UNUSED void targets_freep(struct targets *t)
{
    targets_deinit(t);
}

/* Reads the cluster and takes its name off the arguments; at[] is still empty. False: the verb ends with *ret_exit. */
MUST_USE bool targets_read(struct ctl *ctl, int *argc, char ***argv, struct targets *ret, int *ret_exit);

/*
 * Fills at[] with the members of the role, narrowed to the names given; shows the cluster first. `reinitialize`
 * asks for a name where none is given rather than taking all. Standbys come before the leader; a witness is taken if it
 * is named, or for a reload.
 */
MUST_USE bool targets_pick(struct ctl *ctl, struct targets *t, int argc, char **argv, const char *role, bool force,
                           const char *action, int *ret_exit);

/* "Are you sure you want to restart members n1, n2?" unless forced. */
MUST_USE bool targets_confirm(const struct targets *t, bool force, const char *action, int *ret_exit);

/* "n1, n2"; free() it. */
char *targets_names(const struct targets *t);

/*
 * The first member with PostgreSQL of a role (leader if role and name are NULL), or the one of a name. NULL: there is
 * none.
 */
const struct member *targets_any(const struct cluster *c, const char *role, const char *name);
bool targets_have_role(const struct cluster *c, const struct member *m, const char *role);
