#include "pg/wal_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "pg/history.h"

enum { TLI_DIGITS = 8, NAME_DIGITS = 24 };

struct page_head { /* the beginning of XLogPageHeaderData (xlog_internal.h) */
    uint16_t magic, info;
    uint32_t tli;
    uint64_t address;
};

_Static_assert(sizeof(struct page_head) == 16 && offsetof(struct page_head, address) == 8, "as PostgreSQL lays it out");

/* Which timeline this byte is on, by the history of h->tli. */
static uint32_t timeline_at(const struct history *h, lsn at)
{
    for (size_t i = 0; i < h->count; i++) { /* oldest first */
        if (at < h->at[i].switch_at)
            return h->at[i].tli;
    }
    return h->tli;
}

/* The name of the segment file with this byte, without the timeline (xlog_internal.h, XLogFileName). free() it. */
static char *segment_name(const struct wal_place *at, lsn byte)
{
    uint64_t per_id = UINT64_C(0x100000000) / at->segment_size;
    uint64_t segment = byte / at->segment_size;

    return str_fmt("%08" PRIX32 "%08" PRIX32, (uint32_t)(segment / per_id), (uint32_t)(segment % per_id));
}

/* The newest timeline below `below` and above the replayed one that has a file for the segment; 0: none. */
static bool newest_file(const struct wal_place *at, const char *segment, uint32_t below, uint32_t *ret_tli)
{
    AUTO(cstr) char *folder = str_fmt("%s/pg_wal", at->data_dir);
    uint32_t newest = 0;

    DIR *dir = opendir(folder);
    if (!dir)
        return false;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (strspn(e->d_name, "0123456789ABCDEF") != NAME_DIGITS || !str_eq(e->d_name + TLI_DIGITS, segment))
            continue;
        AUTO(cstr) char *digits = str_fmt("%.*s", TLI_DIGITS, e->d_name);
        uint32_t tli = (uint32_t)strtoul(digits, NULL, 16);
        if (tli > at->replayed_tli && tli < below && tli > newest)
            newest = tli;
    }
    (void)closedir(dir); /* it was only read */
    *ret_tli = newest;
    return true;
}

/* The header of the last page that has one, up to the page with this byte. */
static bool headers_fit(const struct wal_place *at, const char *segment, const struct history *h, lsn byte)
{
    AUTO(cstr) char *path = str_fmt("%s/pg_wal/%08" PRIX32 "%s", at->data_dir, h->tli, segment);
    lsn begin = byte / at->segment_size * at->segment_size;
    struct page_head head = {0};

    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    lsn page = byte / at->page_size * at->page_size;
    for (;;) {
        if (pread(fd, &head, sizeof(head), (off_t)(page - begin)) != (ssize_t)sizeof(head))
            return false;
        if (head.magic || page == begin)
            break;
        page -= at->page_size; /* behind a switch of the segment all is zero */
    }
    return head.address == page && head.tli == timeline_at(h, page);
}

enum wal_held wal_held_above(const struct wal_place *at, lsn end, uint32_t *ret_tli)
{
    uint32_t tli = UINT32_MAX;
    bool unsure = false;

    CHECK(at->replayed_tli && end > at->replayed);
    if (!at->page_size || at->segment_size < at->page_size || at->segment_size % at->page_size)
        return WAL_HELD_UNSURE;
    AUTO(cstr) char *segment = segment_name(at, end - 1);
    for (;;) {
        AUTO(history) struct history *h = NULL;
        lsn left_at = 0;

        if (!newest_file(at, segment, tli, &tli))
            return WAL_HELD_UNSURE;
        if (!tli)
            return unsure ? WAL_HELD_UNSURE : WAL_HELD_NOT;
        if (!history_load(at->data_dir, tli, &h, NULL)) {
            unsure = true;
            continue;
        }
        if (!history_switch_point(h, at->replayed_tli, &left_at) || left_at < at->replayed)
            continue; /* a stranger's: the startup process asks for descendants only */
        if (headers_fit(at, segment, h, end - 1) && !unsure) {
            *ret_tli = timeline_at(h, end - 1);
            return WAL_HELD;
        }
        unsure = true;
    }
}
