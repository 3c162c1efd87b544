/*
 * The disk of a host, as far as small files go: ours and PostgreSQL's configuration.
 *
 * A file has what everybody reads and what a power cut leaves of it. Replaced in our way (temporary name, fsync,
 * rename, fsync of the folder) it is both at once; merely written it may be whole, empty or absent afterwards. WAL and
 * pg_control are the model's own (pg.h), which asks here only whether the disk is full or fails.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "test/sim/world.h"

struct disk;

struct disk *disk_of(const struct host *h);

/* NULL: absent. Valid until the file changes. */
const char *disk_read(const struct disk *d, const char *path);
bool disk_has(const struct disk *d, const char *path);
/* Whole and synced. false: no space left, or an I/O error; the old content stays. */
MUST_USE bool disk_replace(struct disk *d, const char *path, const char *text);
/* Written and not synced. */
MUST_USE bool disk_write(struct disk *d, const char *path, const char *text);
/* Unlinked, and the folder synced. Absent is fine. */
void disk_remove(struct disk *d, const char *path);
void disk_remove_below(struct disk *d, const char *folder);
/* What `from` has at its path comes here, whole and synced; absent there is absent here. */
void disk_copy(struct disk *to, const char *path, const struct disk *from, const char *from_path);
/* Moves with every change: who has read a file may remember that it has. */
uint64_t disk_changes(const struct disk *d);

/* ---- faults ---- */

void disk_power_cut(struct disk *d);
/* Another one in its place: empty, and well. */
void disk_lose(struct disk *d);
/* Nothing can be made longer. */
void disk_fill(struct disk *d, bool full);
bool disk_is_full(const struct disk *d);
/* Every write and fsync fails (EIO, or remounted read-only). */
void disk_fail(struct disk *d, bool failing);
bool disk_fails(const struct disk *d);
/* A snapshot of the volume, and its restore. */
void disk_keep(struct disk *d);
void disk_roll_back(struct disk *d);
