#include "pg/incarnation.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/str.h"
#include "pg/file.h"
#include "pg/promise.h"

enum { FILE_MAX = 64, DIGITS = 16 };

static char *path_of(const char *data_dir)
{
    return str_fmt("%s/%s", data_dir, INCARNATION_FILE);
}

/* Sixteen digits and a line break; 0 for anything else. */
static uint64_t read_file(const char *data_dir)
{
    AUTO(cstr) char *path = path_of(data_dir);
    AUTO(cstr) char *text = NULL;

    if (!file_read(path, FILE_MAX, &text, NULL, NULL) || strspn(text, "0123456789abcdef") != DIGITS ||
        !str_eq(text + DIGITS, "\n"))
        return 0;
    return strtoull(text, NULL, 16);
}

uint64_t incarnation_look(const char *data_dir, const char *state_dir)
{
    struct promise promise;
    uint64_t here = read_file(data_dir);

    if (!here || promise_read(state_dir, &promise, NULL) != PROMISE_READ)
        return 0;
    return promise.incarnation == here ? here : 0;
}

static bool note(const char *state_dir, uint64_t incarnation, struct err *err)
{
    struct promise promise;

    return promise_read(state_dir, &promise, NULL) == PROMISE_UNUSABLE ||
           promise_note_incarnation(state_dir, incarnation, err);
}

bool incarnation_renew(const char *data_dir, const char *state_dir, uint64_t *ret_incarnation, struct err *err)
{
    uint64_t fresh = 0;

    while (!fresh) {
        if (getrandom(&fresh, sizeof(fresh), 0) != (ssize_t)sizeof(fresh))
            return err_sys(err, errno, "a new incarnation of the data directory");
    }
    AUTO(cstr) char *path = path_of(data_dir);
    AUTO(cstr) char *text = str_fmt("%016" PRIx64 "\n", fresh);
    /* A crash between the two leaves two that differ: none. */
    if (!note(state_dir, fresh, err) || !file_replace(path, text, strlen(text), 0600, err))
        return err_wrap(err, "a new incarnation of the data directory");
    if (ret_incarnation)
        *ret_incarnation = fresh;
    return true;
}

bool incarnation_settle(const char *data_dir, const char *state_dir, bool *ret_renewed, struct err *err)
{
    bool known = incarnation_look(data_dir, state_dir) != 0;

    if (!known && !incarnation_renew(data_dir, state_dir, NULL, err))
        return false;
    if (ret_renewed)
        *ret_renewed = !known;
    return true;
}
