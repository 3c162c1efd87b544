/* The control file of a data directory: by pg_controldata, and at a glance. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"
#include "io/child.h"
#include "io/loop.h"
#include "pg/bin.h"
#include "pg/control.h"

struct pg_control_job {
    struct child *child;
    pg_control_fn *done;
    void *arg;
};

static void job_done(const struct child_result *result, void *arg)
{
    struct pg_control_job *j = arg;
    struct pg_control control;
    struct err err = {0};

    j->child = NULL;
    bool good = child_succeeded(result, "pg_controldata", &err) && pg_control_parse(result->out, &control, &err);
    j->done(good ? &control : NULL, good ? NULL : &err, j->arg);
    free(j);
}

bool pg_control_read(struct loop *l, const struct pg_bin *bin, const char *data_dir, msec budget_ms,
                     pg_control_fn *done, void *arg, struct pg_control_job **ret_job, struct err *err)
{
    static const char *const env[] = {"LC_ALL=C", "LANG=C", "LANGUAGE=C", NULL};
    const char *program;

    if (!pg_bin_need(bin, PG_CONTROLDATA, &program, err))
        return false;

    const char *argv[] = {program, "-D", data_dir, NULL};
    struct child_spec spec = {.argv = argv, .env = env, .budget_ms = budget_ms};
    struct pg_control_job *j = mem_zero(1, sizeof(*j));
    j->done = done;
    j->arg = arg;
    if (!child_start(l, &spec, job_done, j, &j->child, err)) {
        free(j);
        return false;
    }
    *ret_job = j;
    return true;
}

void pg_control_cancel(struct pg_control_job *j)
{
    if (!j)
        return;
    if (j->child) {
        child_abandon(j->child);
        free(j);
    }
}

enum pg_control_state pg_control_glance(const char *data_dir, lsn *ret_checkpoint)
{
    enum { DB_STARTUP = 0, DB_IN_PRODUCTION = 6 }; /* our names are in DBState's order */
    struct {                                       /* the beginning of ControlFileData */
        uint64_t system_identifier;
        uint32_t pg_control_version, catalog_version_no;
        int32_t state;
        int64_t time;
        uint64_t checkpoint;
    } begin;
    AUTO(cstr) char *path = str_fmt("%s/global/pg_control", data_dir);
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || pread(fd, &begin, sizeof(begin), 0) != sizeof(begin) || begin.state < DB_STARTUP ||
        begin.state > DB_IN_PRODUCTION)
        return PG_CONTROL_UNKNOWN;
    *ret_checkpoint = begin.checkpoint;
    return (enum pg_control_state)(PG_CONTROL_STARTING_UP + begin.state);
}
