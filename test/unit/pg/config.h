/*
 * An instance out of a few words of configuration, for the tests of pg/.
 */
#pragma once

#include "pg/instance.h"

struct config {
    struct settings *settings;
    struct dynamic *dynamic;
    struct pg_instance *instance;
};

/*
 * yaml: a node's whole configuration; dynamic: the store's config key as JSON ("{}"). Fails the test on any
 * error finding. The programs are those of the newest installed version.
 */
struct config config_make(const char *yaml, const char *dynamic);
void config_free(struct config *c);

/*
 * The usual YAML of a node in `folder` (data in folder/data), with `more` under postgresql (lines with two
 * blanks). free() it.
 */
char *config_yaml(const char *name, const char *folder, int port, const char *more);

/* A new folder under /tmp; removed with config_remove_folder. */
char *config_folder(void);
void config_remove_folder(char *take_folder);

/* As root: become the user `postgres`, for good. PostgreSQL refuses root, and so do permissions nothing to it. */
void config_leave_root(void);

/* Reading and writing small files in tests. */
char *config_slurp(const char *path);
void config_spill(const char *path, const char *text);
