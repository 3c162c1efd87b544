/*
 * The parts of settings_read(), section by section. Only settings.c calls these.
 *
 * A value that does not fit its key is absent here: the audit has complained about it, and the
 * settings are thrown away in the end.
 */
#pragma once

#include "wire/conf/settings.h"
#include "wire/conf/typed.h"

/* Which store, and where; findings for stores that are not built. */
void settings_read_store(const struct typed *t, struct settings *s, struct findings *findings);

void settings_read_rest(const struct typed *t, struct settings *s);
/* After settings_read_rest(): what is absent is taken from there. */
void settings_read_ctl_section(const struct typed *t, struct settings *s);
void settings_read_bootstrap(const struct typed *t, struct settings *s, struct findings *findings);
void settings_read_postgresql(const struct typed *t, struct settings *s);
/* Tags, watchdog, log, pgkeep's own; after settings_read_postgresql(). */
void settings_read_others(const struct typed *t, struct settings *s);

/* Fill connect addresses that are not given; a wildcard is nothing others can connect to. */
void settings_check_addresses(const struct typed *t, struct settings *s, struct findings *findings);
void settings_check_tags(const struct typed *t, struct findings *findings);
