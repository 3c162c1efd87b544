/*
 * Names and their addresses, looked up in the background for those who may not wait.
 *
 * A thread of its own (started with the first name) asks the system's resolver, again every refresh_ms;
 * everybody else only compares. What was found last stays valid while a later look-up fails.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/time.h"

enum {
    RESOLVER_NAMES_MAX = 256, /* watched at a time; the rest is left out */
    RESOLVER_ADDRESS_MAX = 64,
};

struct resolver;

struct resolver *resolver_new(msec refresh_ms);
/* Never waits for a look-up that is under way. */
void resolver_free(struct resolver *r);
AUTO_DEFINE(resolver, struct resolver, resolver_free)

/* Watch these names from now on, and no others; new ones are looked up at once. From any thread. */
void resolver_watch(struct resolver *r, const char *const *names, size_t count);

/* True if the numeric address (as getnameinfo() writes it) was found for this name. From any thread. */
bool resolver_has(struct resolver *r, const char *name, const char *address);

/* The addresses found for this name, at most `max` of them, as text; of an address itself. From any thread. */
size_t resolver_addresses(struct resolver *r, const char *name, char (*ret_addresses)[RESOLVER_ADDRESS_MAX],
                          size_t max);

/* Numeric: there is nothing to look up. */
bool resolver_is_address(const char *name);
