/*
 * Changes of the dynamic configuration as `edit-config` takes them. Pure: values in, a changed value out.
 */
#pragma once

#include <jansson.h>

#include "base/auto.h"
#include "base/err.h"

/*
 * "ttl=40", "postgresql.parameters.max_connections=200": the value is YAML, null deletes, sections left
 * empty go. Below postgresql.parameters the rest is one name, because names of settings have dots.
 */
MUST_USE bool config_change_set(json_t *config, const char *pair, struct err *err);

/* A YAML text as a JSON value (new reference). `name` is what errors call it. NULL: *err says why. */
json_t *config_change_yaml(const char *name, const char *text, struct err *err);

/* As above; the document must be a mapping (or nothing, which is an empty one). */
json_t *config_change_document(const char *name, const char *text, struct err *err);
