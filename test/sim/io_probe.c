/*
 * io/disk_probe.h, io/pressure.h and io/behind.h over the simulated world: disks that answer, processors for everybody,
 * and what is done behind the loop's back is done at once.
 */
#include <stdlib.h>

#include "base/str.h"
#include "io/behind.h"
#include "io/disk_probe.h"
#include "io/pressure.h"

enum { WRITE_US = 1000 };

struct disk_probe {
    bool watches;
};

struct disk_probe *disk_probe_new(struct loop *l)
{
    return mem_zero(1, sizeof(struct disk_probe));
}

void disk_probe_free(struct disk_probe *p)
{
    free(p);
}

void disk_probe_watch(struct disk_probe *p, const char *folder, msec every_ms)
{
    p->watches = folder != NULL;
}

void disk_probe_view(const struct disk_probe *p, struct disk_probe_view *ret_view)
{
    *ret_view = (struct disk_probe_view){.known = p->watches, .took_us = p->watches ? WRITE_US : 0};
}

int pressure_cpu_percent(void)
{
    return -1;
}

/* ---- behind.h ---- */

struct behind {
    behind_fn *fn;
};

struct behind *behind_new(behind_fn *fn, size_t size)
{
    struct behind *b = mem_zero(1, sizeof(*b));

    (void)size;
    b->fn = fn;
    return b;
}

void behind_free(struct behind *b)
{
    free(b);
}

bool behind_is_busy(const struct behind *b)
{
    (void)b;
    return false;
}

bool behind_run(struct behind *b, const void *what)
{
    b->fn(what);
    return true;
}
