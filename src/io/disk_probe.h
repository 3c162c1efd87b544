/*
 * Does a file system still take a write? One small file, written and synced again and again by a process of its own.
 *
 * A write to a disk that hangs ends when the disk answers and not before: no signal interrupts it. A thread in it would
 * keep our whole process from ending, with all its sockets, and so keep out our successor (seen with fsfreeze: after a
 * SIGKILL a zombie that nobody can reap until the thaw). So the writer is a child that holds nothing of ours, in a
 * session of its own; it is told what to do and tells what it finds in a page of shared memory. It ends with the
 * thread that started it, at the latest when the disk lets go of it. Nothing here waits for it, but for 20 ms at the
 * end.
 *
 * The file's prefix is PostgreSQL's for temporary files, which pg_basebackup, pg_rewind and pg_checksums leave out
 * wherever they lie; PostgreSQL itself looks at names of WAL files only in pg_wal. The file stays there, so that its
 * block is overwritten in place.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/time.h"

#define DISK_PROBE_FILE "pgsql_tmp_pgkeep_disk"

struct disk_probe;
struct loop;

struct disk_probe_view {
    bool known;           /* it has written, or tries to; else nothing below says anything */
    int64_t took_us;      /* the last write that ended, with its fdatasync(); 0: none yet */
    msec under_way_ms;    /* for so long the one under way has been waiting; 0: none is */
    int error;            /* errno of the last one that ended; 0: it was written */
    uint64_t free_bytes;  /* to us, after the last one that was written */
    uint64_t total_bytes; /* 0: not known */
};

struct disk_probe *disk_probe_new(struct loop *l);
void disk_probe_free(struct disk_probe *p);
AUTO_DEFINE(disk_probe, struct disk_probe, disk_probe_free)

/*
 * Write into this folder from now on, with every_ms between two writes; NULL: nowhere. A folder that is not there is an
 * ENOENT, and tried again. After a change of the folder nothing is known until the first write there begins.
 */
void disk_probe_watch(struct disk_probe *p, const char *folder, msec every_ms);

void disk_probe_view(const struct disk_probe *p, struct disk_probe_view *ret_view);
