#include "pg/promise.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "pg/file.h"

enum { FILE_MAX = 4096 };

static const char first_line[] = "pgkeep promise 1";

static char *path_of(const char *state_dir)
{
    return str_fmt("%s/promise", state_dir);
}

/* FNV-1a: tells damage, not malice. */
static uint64_t sum_of(const char *text)
{
    uint64_t sum = 14695981039346656037U;

    for (const char *c = text; *c; c++)
        sum = (sum ^ (unsigned char)*c) * 1099511628211U;
    return sum;
}

static char *text_of(const struct promise *p)
{
    AUTO(buf) struct buf text = BUF_EMPTY;

    buf_printf(&text, "%s\n", first_line);
    buf_printf(&text, "term %" PRIu64 "\n", p->term);
    buf_printf(&text, "coordinator %s\n", p->coordinator);
    buf_printf(&text, "settled %" PRIu64 "\n", p->settled);
    buf_printf(&text, "by_quorum %d\n", p->by_quorum);
    buf_printf(&text, "incarnation %016" PRIx64 "\n", p->incarnation);
    buf_printf(&text, "record_term %" PRIu64 "\n", p->record_term);
    buf_printf(&text, "record_revision %" PRId64 "\n", p->record_revision);
    buf_printf(&text, "store_cluster %s\n", p->store_cluster);
    buf_printf(&text, "position_timeline %" PRIu32 "\n", p->position_timeline);
    buf_printf(&text, "sum %016" PRIx64 "\n", sum_of(buf_cstr(&text)));
    return buf_take(&text);
}

/* The value of the next line, if that is of this name; *at moves behind it. NULL otherwise. free() it. */
static char *take_line(const char **at, const char *name)
{
    size_t name_len = strlen(name);
    size_t len = strcspn(*at, "\n");

    if (len <= name_len || strncmp(*at, name, name_len) != 0 || (*at)[name_len] != ' ' || (*at)[len] != '\n')
        return NULL;
    char *value = str_fmt("%.*s", (int)(len - name_len - 1), *at + name_len + 1);
    *at += len + 1;
    return value;
}

static void take_text(const char **at, const char *name, char *to, size_t cap)
{
    AUTO(cstr) char *value = take_line(at, name);

    str_copy(to, cap, value ? value : "");
}

static uint64_t take_number(const char **at, const char *name, int base)
{
    AUTO(cstr) char *value = take_line(at, name);

    return value ? strtoull(value, NULL, base) : 0;
}

/* Read loosely, then written again: the file is good exactly if that gives the same bytes. */
static bool parse(const char *text, struct promise *ret_promise)
{
    struct promise p = {0};
    const char *at = text + strcspn(text, "\n");

    at += *at == '\n';
    p.term = take_number(&at, "term", 10);
    take_text(&at, "coordinator", p.coordinator, sizeof(p.coordinator));
    p.settled = take_number(&at, "settled", 10);
    p.by_quorum = take_number(&at, "by_quorum", 10) == 1;
    p.incarnation = take_number(&at, "incarnation", 16);
    p.record_term = take_number(&at, "record_term", 10);
    p.record_revision = (int64_t)take_number(&at, "record_revision", 10);
    take_text(&at, "store_cluster", p.store_cluster, sizeof(p.store_cluster));
    p.position_timeline = (uint32_t)take_number(&at, "position_timeline", 10);

    AUTO(cstr) char *again = text_of(&p);
    if (!str_eq(again, text))
        return false;
    *ret_promise = p;
    return true;
}

enum promise_outcome promise_read(const char *state_dir, struct promise *ret_promise, struct err *err)
{
    AUTO(cstr) char *path = path_of(state_dir);
    AUTO(cstr) char *text = NULL;
    struct err failed = {0};
    size_t len = 0;

    *ret_promise = (struct promise){0};
    if (!file_read(path, FILE_MAX, &text, &len, &failed)) {
        if (failed.code == ERR_NOT_FOUND)
            return PROMISE_ABSENT;
        (void)err_set(err, failed.code, "what this node has promised is not known, it votes for nobody: %s",
                      failed.text);
        return PROMISE_UNUSABLE;
    }
    if (strlen(text) == len && parse(text, ret_promise))
        return PROMISE_READ;
    (void)err_set(
        err, ERR_INPUT,
        "what this node has promised is not known, it votes for nobody: %s is %s; if it is removed, this "
        "node counts again once the cluster has taken it in anew",
        path, str_starts(text, "pgkeep promise ") && !str_starts(text, first_line) ? "of another version" : "damaged");
    return PROMISE_UNUSABLE;
}

static bool is_plain(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (iscntrl((unsigned char)*c))
            return false;
    }
    return true;
}

static bool is_older_record(const struct promise *p, const struct promise *seen)
{
    bool same_store = str_eq(p->store_cluster, seen->store_cluster);

    return p->record_term < seen->record_term ||
           (p->record_term == seen->record_term && same_store && p->record_revision < seen->record_revision);
}

static bool begin(const char *state_dir, struct promise *ret_now, struct err *err)
{
    return promise_read(state_dir, ret_now, err) != PROMISE_UNUSABLE || err_wrap(err, "promise");
}

static bool write_whole(const char *state_dir, const struct promise *p, struct err *err)
{
    AUTO(cstr) char *path = path_of(state_dir);
    AUTO(cstr) char *text = text_of(p);

    if (!is_plain(p->coordinator) || !is_plain(p->store_cluster))
        return err_set(err, ERR_INPUT, "promise: a name with control characters");
    return file_replace(path, text, strlen(text), 0600, err) || err_wrap(err, "promise");
}

bool promise_give(const char *state_dir, term t, const char *coordinator, term settled, struct err *err)
{
    struct promise p;

    CHECK(t > 0 && !str_empty(coordinator) && strlen(coordinator) < PROMISE_COORDINATOR_MAX);
    if (!begin(state_dir, &p, err))
        return false;
    if (t < p.term || (t == p.term && MUTANT(RETRY_REFUSED)))
        return err_set(err, ERR_CONFLICT, "term %" PRIu64 " is promised already, not %" PRIu64, p.term, t);
    if (t == p.term && !str_eq(coordinator, p.coordinator))
        return err_set(err, ERR_CONFLICT, "term %" PRIu64 " is promised to %s, not to %s", t, p.coordinator,
                       coordinator);
    p.term = t;
    str_copy(p.coordinator, sizeof(p.coordinator), coordinator);
    if (settled > p.settled)
        p.settled = settled;
    return write_whole(state_dir, &p, err);
}

bool promise_note_record(const char *state_dir, term record_term, int64_t revision, const char *store_cluster,
                         struct err *err)
{
    struct promise seen;

    CHECK(revision >= 0 && strlen(store_cluster) < PROMISE_STORE_MAX);
    if (!begin(state_dir, &seen, err))
        return false;
    struct promise p = seen;
    p.record_term = record_term;
    p.record_revision = revision;
    str_copy(p.store_cluster, sizeof(p.store_cluster), store_cluster);
    if (is_older_record(&p, &seen))
        return err_set(err, ERR_CONFLICT,
                       "the store's record was seen at term %" PRIu64 ", revision %" PRId64
                       ", and is now at term %" PRIu64 ", revision %" PRId64,
                       seen.record_term, seen.record_revision, record_term, revision);
    return write_whole(state_dir, &p, err);
}

bool promise_note_mode(const char *state_dir, bool by_quorum, struct err *err)
{
    struct promise p;

    if (!begin(state_dir, &p, err))
        return false;
    p.by_quorum = by_quorum;
    return write_whole(state_dir, &p, err);
}

bool promise_note_timeline(const char *state_dir, uint32_t timeline, struct err *err)
{
    struct promise p;

    if (!begin(state_dir, &p, err))
        return false;
    p.position_timeline = timeline;
    return write_whole(state_dir, &p, err);
}

bool promise_note_incarnation(const char *state_dir, uint64_t incarnation, struct err *err)
{
    struct promise p;

    if (!begin(state_dir, &p, err))
        return false;
    p.incarnation = incarnation;
    p.position_timeline = 0;
    return write_whole(state_dir, &p, err);
}
