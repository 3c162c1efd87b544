/*
 * Three servers of the model on a world of their own: n1 is the primary, n2 and n3 stream from it by their slots.
 *
 * Every test runs in a process of its own, because there is one world in a process, and says with EXPECT what it
 * expects: cmocka's own assertions would jump back into the parent's tests.
 */
#pragma once

#include <stdbool.h>

#include "test/sim/pg.h"
#include "test/sim/session.h"

enum { N1, N2, N3, OPERATOR };

extern struct pg trio[3];

/* The world is made, the three run and stream; postgresql.conf has the fence, pgkeep.sync.conf that list. */
void trio_start(const char *names);
void trio_run_ms(msec ms);

#define EXPECT(c) trio_expect(c, #c, __FILE__, __LINE__)
void trio_expect(bool holds, const char *condition, const char *file, int line);

/* A statement, and what its client hears of it. */
struct wish {
    struct rec *commit;
    bool told, cancelled;
};
struct wish *trio_write(int node);
/* … by a client of that number, to be cancelled by it. */
struct wish *trio_write_as(int node, int client);

/* pgkeep.sync.conf; NULL: it is gone. The reload is another thing. */
void trio_names(int node, const char *names);
/* postgresql.conf as the agents write it; upstream NOBODY: ''. */
void trio_upstream(int node, int upstream);
void trio_reload(int node);
/* Cleared, reloaded, SIGTERM, and seen gone. */
void trio_freeze(int node);
void trio_promote(int node);
bool trio_streams(int node);

typedef void trio_test(void);
/* It comes to its end. */
void trio_passes(trio_test *test);
/* It ends with that finding. */
void trio_finds(const char *invariant, trio_test *test);

/* A cmocka test of that name whose body runs in a world of its own. */
#define TRIO_TEST(name)            \
    static void name##_body(void); \
    static void name(void **state) \
    {                              \
        (void)state;               \
        trio_passes(name##_body);  \
    }                              \
    static void name##_body(void)
#define TRIO_FINDS(name, invariant)         \
    static void name##_body(void);          \
    static void name(void **state)          \
    {                                       \
        (void)state;                        \
        trio_finds(invariant, name##_body); \
    }                                       \
    static void name##_body(void)
