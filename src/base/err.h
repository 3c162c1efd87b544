/*
 * An error: what kind, and one line of text that reads from outer to inner.
 *
 *   reading /etc/pgkeep/n1.yml: line 12: unknown key "por"
 *
 * err_* functions fill *err and return false, so that failing is one line. `err` may be NULL when the
 * caller has no use for the text. Text that does not fit is cut, never lost as a whole.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"

/* The project's own kinds; exit status and REST status are derived from them, never from text. */
enum err_code {
    ERR_NONE,
    ERR_SYS,       /* a system call; err->sys_errno says which errno */
    ERR_INPUT,     /* bytes, a file, an operator: what came in is wrong */
    ERR_STORE,     /* the store refused or could not be reached */
    ERR_PG,        /* PostgreSQL or one of its programs refused */
    ERR_TIMEOUT,   /* a deadline passed */
    ERR_CONFLICT,  /* somebody else changed it first */
    ERR_NOT_FOUND, /* what was asked for does not exist */
    ERR_DENIED,    /* not allowed */
};

enum { ERR_TEXT_MAX = 1024 };

struct err {
    enum err_code code;
    int sys_errno; /* 0 unless code is ERR_SYS */
    char text[ERR_TEXT_MAX];
};

/* Replace *err. Always false. */
bool err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Replace *err by "fmt…: strerror(sys_errno)". Always false. */
bool err_sys(struct err *err, int sys_errno, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Put "fmt…: " in front of what *err says; the code stays. Always false. */
bool err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
