/*
 * The parameters of PostgreSQL that pgkeep controls as Patroni does: equal on all nodes, set by the
 * dynamic configuration alone, given on the command line.
 *
 * A standby does not start with less than its primary had (max_connections and its kin), so one
 * node's file must not change them.
 */
#pragma once

#include <jansson.h>

#include "wire/conf/settings.h"

/* Any case. wal_keep_segments, the old form of wal_keep_size, is one too. */
bool parameter_is_shared(const char *name);

/*
 * Put every shared parameter into `parameters` with its effective value, as text: that of `asked`
 * (the dynamic configuration's own parameters; NULL: none) where it is allowed, else the default,
 * with a finding. Listen address, port and cluster name come from `local` (NULL: left out).
 */
void parameters_add_shared(json_t *parameters, const json_t *asked, const struct settings *local,
                           struct findings *findings);

/* Set without regard to case: a spelling that is already there is replaced. */
void parameters_set(json_t *parameters, const char *name, json_t *value);
const char *parameters_spelling(const json_t *parameters, const char *name);
