/*
 * A primary n1 and its standby n2, as in a quorum cluster: both have the write fence as the floor of the names. For
 * tests of what goes on between the two; fails the test on anything unexpected.
 */
#pragma once

#include "live.h"
#include "pg/conffile.h"
#include "pg/reload.h"

enum { BUDGET_MS = 3000, SHORT_MS = 400, HOLD_MS = 300 };

extern struct loop *l;
extern struct live n1, n2;
extern const struct conf_freeze floor_only, under_promise;

int start_pair(void **state);
int stop_pair(void **state);

/* Its files, and a reload if it runs. */
void write_files(struct live *n, enum conf_role role, const struct live *upstream, const struct conf_freeze *freeze);
/* n2 streams from n1 (again) and has all of it. */
void thaw(void);
void level(void);

/* The list of n1. */
struct reload_result load_names(const char *list);
struct reload_result drop_names(msec budget_ms);
void must_load(const char *list);
void must_drop(void);

struct client {
    struct sql *sql;
    bool done;
    enum sql_status status;
};

void client_start(struct client *c, struct live *n, const char *text);
void client_end(struct client *c);
bool is_acknowledged_within(struct client *c, msec ms);
void nothing_is_acknowledged(void); /* a commit on n1 waits, and is given up */
void a_commit_is_acknowledged(void);

void spend(msec ms);
int number(struct live *n, const char *sql);
char *data_file(const struct live *n, const char *name);
