/*
 * WAL that a crashed primary had not archived yet, given to archive_command before a standby is made of it.
 *
 * Its successor takes what it received as archived (archive_mode=on: walreceiver.c, XLogWalRcvClose) and a standby
 * archives nothing, so a segment that waits here would be a hole in the archive. As Patroni does. Nothing that goes
 * wrong here stops the rejoin: the archive may be what is broken.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "io/child.h"
#include "io/log.h"
#include "pg/argv.h"
#include "pg/file.h"
#include "pg/instance.h"
#include "pg/rewind_job.h"
#include "pg/tool.h"
#include "wire/conf/dynamic.h"

enum {
    COMMAND_MS = 60000, /* one segment */
    SEGMENT_NAME_LEN = 24,
};

/* NULL: this cluster archives nothing by a command. */
static const char *command_of(const struct pg_instance *i)
{
    const json_t *mode = json_object_get(i->dynamic->parameters, "archive_mode");
    const char *mode_text = json_is_true(mode) ? "on" : json_string_value(mode);
    const char *command = json_string_value(json_object_get(i->dynamic->parameters, "archive_command"));

    if (!str_eq(mode_text, "on") && !str_eq(mode_text, "always"))
        return NULL;
    return str_empty(command) ? NULL : command;
}

/* PostgreSQL: pgarch_archiveXlog(); %p is relative to the data directory, where the command runs. */
static char *filled(const char *command, const char *name)
{
    struct buf text = BUF_EMPTY;

    for (const char *at = command; *at; at++) {
        if (at[0] == '%' && at[1] == 'p')
            buf_printf(&text, "pg_wal/%s", name), at++;
        else if (at[0] == '%' && at[1] == 'f')
            buf_add_str(&text, name), at++;
        else if (at[0] == '%' && at[1] == '%')
            buf_add_char(&text, '%'), at++;
        else
            buf_add_char(&text, *at);
    }
    char *result = str_dup(buf_cstr(&text));
    buf_deinit(&text);
    return result;
}

static bool is_ready_segment(const char *name)
{
    size_t hex = strspn(name, "0123456789ABCDEF");

    return hex == SEGMENT_NAME_LEN && (str_eq(name + hex, ".ready") || str_eq(name + hex, ".partial.ready"));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of segments, oldest first; NULL: none. */
static char **list_ready(const struct pg_instance *i)
{
    AUTO(cstr) char *status = str_fmt("%s/pg_wal/archive_status", i->data_dir);
    char **names = NULL;
    DIR *d = opendir(status);

    if (!d)
        return NULL;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (!is_ready_segment(e->d_name))
            continue;
        AUTO(cstr) char *name = str_fmt("%.*s", (int)(strlen(e->d_name) - strlen(".ready")), e->d_name);
        AUTO(cstr) char *segment = str_fmt("%s/pg_wal/%s", i->data_dir, name);
        if (file_exists(segment))
            argv_add(&names, name);
    }
    (void)closedir(d);
    if (names)
        qsort(names, (size_t)argv_len(names), sizeof(*names), by_name);
    return names;
}

static void archive_next(struct rewind_job *j);

static void archived(const struct child_result *result, void *arg)
{
    struct rewind_job *j = arg;
    const char *name = j->ready[j->ready_at];
    struct err err = {0};

    j->child = NULL;
    if (!child_succeeded(result, "archive_command", &err)) {
        log_warning("archive.failed", "archiving %s: %s; it and what follows it is not in the archive", name, err.text);
        j->archived(j, NULL);
        return;
    }
    AUTO(cstr) char *ready = str_fmt("%s/pg_wal/archive_status/%s.ready", j->instance->data_dir, name);
    AUTO(cstr) char *done = str_fmt("%s/pg_wal/archive_status/%s.done", j->instance->data_dir, name);
    if (rename(ready, done) < 0)
        log_warning("archive.failed", "renaming %s: %s", ready, strerror(errno));
    log_info("archive.done", "archived %s, which was still waiting for it", name);
    j->ready_at++;
    archive_next(j);
}

static void archive_next(struct rewind_job *j)
{
    const char *name = j->ready ? j->ready[j->ready_at] : NULL;
    struct err err = {0};

    if (!name) {
        j->archived(j, NULL);
        return;
    }
    AUTO(cstr) char *command = filled(command_of(j->instance), name);
    const char *argv[] = {"/bin/sh", "-c", command, NULL};
    struct child_spec spec = {.argv = argv, .cwd = j->instance->data_dir, .own_session = true, .budget_ms = COMMAND_MS};
    if (child_start(j->loop, &spec, archived, j, &j->child, &err))
        return;
    log_warning("archive.failed", "archiving %s: %s", name, err.text);
    j->archived(j, NULL);
}

void rewind_archive_ready(struct rewind_job *j, rewind_kept_fn *then)
{
    j->archived = then;
    j->ready_at = 0;
    argv_free(j->ready);
    j->ready = command_of(j->instance) ? list_ready(j->instance) : NULL;
    archive_next(j);
}
