#include "pg/wal_page.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <unistd.h>

#include "base/str.h"
#include "pg/history.h"

struct page_head { /* the beginning of XLogPageHeaderData */
    uint16_t magic, info;
    uint32_t tli;
    uint64_t address;
};

_Static_assert(sizeof(struct page_head) == 16 && offsetof(struct page_head, address) == 8, "as PostgreSQL lays it out");

/* Which timeline this byte is on, by the history of tli. */
static uint32_t timeline_at(const struct history *h, lsn at)
{
    for (size_t i = 0; i < h->count; i++) { /* oldest first */
        if (at < h->at[i].switch_at)
            return h->at[i].tli;
    }
    return h->tli;
}

/* PostgreSQL: xlog_internal.h, XLogFileName. free() it. */
static char *segment_path(const char *data_dir, uint64_t segment_size, uint32_t tli, lsn at)
{
    uint64_t per_id = UINT64_C(0x100000000) / segment_size;
    uint64_t segment = at / segment_size;

    return str_fmt("%s/pg_wal/%08" PRIX32 "%08" PRIX32 "%08" PRIX32, data_dir, tli, (uint32_t)(segment / per_id),
                   (uint32_t)(segment % per_id));
}

static bool read_head(const char *path, off_t offset, struct page_head *ret_head, struct err *err)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", path);

    ssize_t got = pread(fd, ret_head, sizeof(*ret_head), offset);
    if (got < 0)
        return err_sys(err, errno, "reading %s", path);
    if (got != (ssize_t)sizeof(*ret_head))
        return err_set(err, ERR_INPUT, "%s is too short", path);
    return true;
}

bool wal_page_is_of(const char *data_dir, uint64_t segment_size, uint32_t page_size, uint32_t tli, lsn end,
                    struct err *err)
{
    AUTO(history) struct history *history = NULL;
    char text[LSN_TEXT_MAX];

    if (!tli || !end || !page_size || segment_size < page_size || segment_size % page_size)
        return err_set(err, ERR_INPUT, "no position in WAL");
    if (!history_load(data_dir, tli, &history, err))
        return false;

    lsn begin = (end - 1) / page_size * page_size;
    uint32_t expected = timeline_at(history, begin);
    /* Before the fork's segment there is only the parent's file. */
    AUTO(cstr) char *own = segment_path(data_dir, segment_size, tli, begin);
    AUTO(cstr) char *parents = segment_path(data_dir, segment_size, expected, begin);
    struct page_head head = {0};
    if (!read_head(access(own, R_OK) == 0 ? own : parents, (off_t)(begin % segment_size), &head, err))
        return false;
    if (head.address != begin)
        return err_set(err, ERR_INPUT, "the WAL page at %s is not there", lsn_text(begin, text));
    if (head.tli != expected)
        return err_set(err, ERR_CONFLICT,
                       "the WAL page at %s is of timeline %" PRIu32 ", by the history of %" PRIu32 " it is of %" PRIu32,
                       lsn_text(begin, text), head.tli, tli, expected);
    return true;
}
