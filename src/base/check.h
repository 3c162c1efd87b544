/*
 * CHECK: what the program itself needs to be true. On in every build.
 *
 * A failed CHECK prints the condition, the place and the last trace events of this thread, then
 * aborts: the guard starts a successor that adopts the running PostgreSQL. Never CHECK bytes, files,
 * peers or operators; those are outcomes or errors.
 */
#pragma once

#define CHECK(c)                                  \
    do {                                          \
        if (__builtin_expect(!(c), 0))            \
            check_failed(#c, __FILE__, __LINE__); \
    } while (0)

/* A place that no execution may reach. */
#define UNREACHABLE() check_failed("unreachable", __FILE__, __LINE__)

_Noreturn void check_failed(const char *condition, const char *file, int line);
