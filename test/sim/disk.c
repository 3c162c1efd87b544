#include "test/sim/disk.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

enum { FILES_MAX = 64, PATH_MAX_HERE = 128 };

struct file {
    char path[PATH_MAX_HERE];
    char *text;   /* NULL: absent */
    char *synced; /* what a power cut leaves; NULL: absent */
    bool dirty;   /* text is not synced */
};

struct disk {
    struct file files[FILES_MAX];
    size_t count;
    uint64_t changes;
    bool full, failing;
    struct file kept[FILES_MAX];
    size_t kept_count;
};

static struct disk *disks[HOSTS_MAX];

struct disk *disk_of(const struct host *h)
{
    if (!disks[h->id])
        disks[h->id] = mem_zero(1, sizeof(*disks[h->id]));
    return disks[h->id];
}

static struct file *file_at(const struct disk *d, const char *path)
{
    for (size_t i = 0; i < d->count; i++)
        if (str_eq(d->files[i].path, path))
            return (struct file *)&d->files[i];
    return NULL;
}

static struct file *file_made(struct disk *d, const char *path)
{
    struct file *f = file_at(d, path);

    if (f)
        return f;
    CHECK(d->count < FILES_MAX);
    CHECK(strlen(path) < PATH_MAX_HERE);
    f = &d->files[d->count++];
    *f = (struct file){0};
    str_copy(f->path, sizeof(f->path), path);
    return f;
}

const char *disk_read(const struct disk *d, const char *path)
{
    const struct file *f = file_at(d, path);

    return f ? f->text : NULL;
}

bool disk_has(const struct disk *d, const char *path)
{
    return disk_read(d, path) != NULL;
}

static bool writable(const struct disk *d)
{
    return !d->full && !d->failing;
}

bool disk_replace(struct disk *d, const char *path, const char *text)
{
    if (!writable(d))
        return false;
    struct file *f = file_made(d, path);
    str_set(&f->text, text);
    str_set(&f->synced, text);
    f->dirty = false;
    d->changes++;
    return true;
}

bool disk_write(struct disk *d, const char *path, const char *text)
{
    if (!writable(d))
        return false;
    struct file *f = file_made(d, path);
    str_set(&f->text, text);
    f->dirty = true;
    d->changes++;
    return true;
}

static void forget(struct disk *d, struct file *f)
{
    str_set(&f->text, NULL);
    str_set(&f->synced, NULL);
    f->dirty = false;
    d->changes++;
}

void disk_remove(struct disk *d, const char *path)
{
    struct file *f = file_at(d, path);

    if (f && !d->failing)
        forget(d, f);
}

void disk_remove_below(struct disk *d, const char *folder)
{
    size_t len = strlen(folder);

    for (size_t i = 0; i < d->count; i++)
        if (str_starts(d->files[i].path, folder) && d->files[i].path[len] == '/')
            forget(d, &d->files[i]);
}

void disk_copy(struct disk *to, const char *path, const struct disk *from, const char *from_path)
{
    const char *text = disk_read(from, from_path);

    if (!text || !disk_replace(to, path, text))
        disk_remove(to, path);
}

uint64_t disk_changes(const struct disk *d)
{
    return d->changes;
}

/* ---- faults ---- */

void disk_power_cut(struct disk *d)
{
    for (size_t i = 0; i < d->count; i++) {
        struct file *f = &d->files[i];
        if (!f->dirty)
            continue;
        int64_t luck = chance(3); /* the old content, nothing in it, or all of it */
        if (luck == 0)
            str_set(&f->text, f->synced);
        else if (luck == 1)
            str_set(&f->text, "");
        str_set(&f->synced, f->text);
        f->dirty = false;
        d->changes++;
    }
}

void disk_lose(struct disk *d)
{
    for (size_t i = 0; i < d->count; i++)
        forget(d, &d->files[i]);
    d->full = d->failing = false;
}

void disk_fill(struct disk *d, bool full)
{
    d->full = full;
}

bool disk_is_full(const struct disk *d)
{
    return d->full;
}

void disk_fail(struct disk *d, bool failing)
{
    d->failing = failing;
}

bool disk_fails(const struct disk *d)
{
    return d->failing;
}

static size_t files_copy(struct file *to, size_t to_count, const struct file *from, size_t from_count)
{
    for (size_t i = 0; i < to_count; i++) {
        free(to[i].text);
        free(to[i].synced);
    }
    for (size_t i = 0; i < from_count; i++) {
        to[i] = from[i];
        to[i].text = str_dup(from[i].synced);
        to[i].synced = str_dup(from[i].synced);
        to[i].dirty = false;
    }
    return from_count;
}

void disk_keep(struct disk *d)
{
    d->kept_count = files_copy(d->kept, d->kept_count, d->files, d->count);
}

void disk_roll_back(struct disk *d)
{
    d->count = files_copy(d->files, d->count, d->kept, d->kept_count);
    d->changes++;
}
