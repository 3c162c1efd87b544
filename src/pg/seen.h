/*
 * The newest record of the store that this node has seen, on its disk beside the promise (pg/promise.h).
 *
 * A store may be put back to an earlier state, or be another one: by this it shows. Written before anything is decided
 * by a record; a later look at an older one, or at the same one in another store, is then no news but a store of the
 * past. The text is kept whole, so that it can be put into the store again.
 */
#pragma once

#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "wire/record.h"

/* All that it points at is its own. All zero: none was seen. */
struct seen {
    uint64_t store;           /* the store's own id; 0: it told none */
    struct record_key record; /* its mod_revision is of that store */
};

void seen_deinit(struct seen *s);
static inline UNUSED void seen_freep(struct seen *s)
{
    seen_deinit(s);
}

/* *ret_seen is all zero if there is none (true), or none that can be read (false). */
MUST_USE bool seen_read(const char *state_dir, struct seen *ret_seen, struct err *err);

/* On disk, whole, when it returns true. Of a record that is present and not opaque. */
MUST_USE bool seen_write(const char *state_dir, const struct seen *s, struct err *err);
