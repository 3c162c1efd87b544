/*
 * A tree held against the tables of keys: what is unknown, of the wrong type, out of range, not built
 * yet, or refused.
 */
#pragma once

#include "wire/conf/keys.h"
#include "wire/conf/settings.h"

/* The local file (environment merged in). bootstrap.dcs is checked as dynamic configuration. */
void audit_local(const struct conf_node *root, struct findings *findings);

/* The dynamic configuration as the store holds it. Findings say what is used in the place of a bad value. */
void audit_dynamic(const struct conf_node *root, struct findings *findings);

/* One value against its row; true if it is of the right type and in range. Absent values fit. */
bool audit_fits(const struct key *key, const struct conf_node *n);

/*
 * Move values from old names to today's, in place. Where both are given the old one is dropped with a
 * warning. The local file's bootstrap.dcs counts as dynamic configuration.
 */
void audit_rename_old(struct conf_node *root, enum key_scope scope, struct findings *findings);
