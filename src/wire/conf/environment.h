/*
 * PATRONI_* variables → tree, by the tables of keys.
 *
 * Texts stay texts (the readers of values take "30" and "true"); lists and mappings are read as YAML,
 * with or without their brackets, as Patroni does.
 */
#pragma once

#include "wire/conf/node.h"
#include "wire/conf/settings.h"

/* `environment` is "KEY=VALUE", NULL-terminated; NULL is empty. A mapping, perhaps empty. */
struct conf_node *environment_read(const char *const *environment, struct findings *findings);

/* The value of a variable; NULL if it is not set or empty. */
const char *environment_get(const char *const *environment, const char *name);
