/*
 * The parts of `pgkeep check`: each looks at one kind of thing and notes all it finds.
 */
#pragma once

#include <sys/types.h>

#include "app/conf_files.h"
#include "wire/conf/settings.h"

struct dynamic;
struct loop;

struct check {
    struct conf_files files;
    struct conf_node *tree;    /* the files merged, for lines; NULL: unreadable */
    struct settings *settings; /* NULL: too broken to look further */
    struct dynamic *dynamic;   /* bootstrap.dcs under the local values: what a new cluster has; NULL as settings is */
    struct dynamic *in_force;  /* the store's config key under the local values; NULL: not read, or there is none */
    struct findings findings;
    struct loop *loop;
    bool ignore_listen;      /* -i */
    int data_major;          /* of the data directory; 0: none yet */
    int version;             /* of the programs, 150013; 0: unknown */
    char *system_identifier; /* of the data directory; NULL: none yet or unknown */
    char **passed;           /* what was looked at and found right */
    size_t passed_count;
};

/*
 * "n1.yml:12: postgresql.data_dir": where a key stands, or its name alone; free() it. A key of postgresql may stand in
 * bootstrap.dcs.
 */
char *check_place(const struct check *c, const char *key);

void check_error(struct check *c, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);
void check_warn(struct check *c, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);
void check_passed(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Strict mode, and programs that do not keep it; free() it. NULL: no, or not known. */
char *check_why_not_strict(const struct check *c, const struct dynamic *d);

/* The section in which the store is configured. */
const char *check_store_section(const struct check *c);

void check_files(struct check *c); /* modes, certificates and keys, folders */
void check_postgresql(
    struct check *c); /* programs, versions, the data directory; fills data_major and system_identifier */
void check_commands(struct check *c); /* the programs of commands; after check_postgresql() */
void check_listen(struct check *c);   /* ports free, addresses ours */
void check_store(struct check *c);    /* reachable; does it hold another cluster under our name? fills in_force */
void check_promise(struct check *c);  /* what breaks a synchronous mode's promise; last */

/* The postmaster that runs in our data directory: it would be adopted; 0: none. */
pid_t check_postmaster(const struct check *c);
