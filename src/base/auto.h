/*
 * Scope-bound ownership: AUTO(x) frees at the end of the scope, TAKE(p) hands over.
 *
 * A type takes part by providing x_freep() through AUTO_DEFINE, or, for descriptors, fd_freep().
 * Built on the cleanup attribute of GCC and Clang.
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt_i, first_i) __attribute__((format(printf, fmt_i, first_i), nonnull(fmt_i)))
#define UNUSED __attribute__((unused))

#define AUTO(x) __attribute__((cleanup(x##_freep)))

/* Defines the cleanup for pointers to struct `x`, released by `free_fn`. */
#define AUTO_DEFINE(x, type, free_fn)             \
    static inline UNUSED void x##_freep(type **p) \
    {                                             \
        if (*p)                                   \
            free_fn(*p);                          \
    }

/* Hand over a pointer: the variable forgets it, its AUTO does nothing. */
#define TAKE(p)                        \
    ({                                 \
        __typeof__(p) take_tmp_ = (p); \
        (p) = NULL;                    \
        take_tmp_;                     \
    })

/* Hand over a descriptor. */
static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

static inline UNUSED void fd_freep(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* nothing to do about a failed close of a descriptor we give up */
}

static inline UNUSED void cstr_freep(char **p)
{
    free(*p);
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
