#include "app/guard/envblock.h"

#include <string.h>

#include "base/auto.h"
#include "base/check.h"
#include "base/str.h"

static const char *const hidden_always[] = {
    "WATCHDOG_USEC=", "WATCHDOG_PID=", "LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=", "PGKEEP_GUARD_"};
static const char *const hidden_from_postgres[] = {"NOTIFY_SOCKET=", "PGKEEP_", "PATRONI_", "KUBERNETES_"};

static bool starts_with_any(const char *variable, const char *const *prefixes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_starts(variable, prefixes[i]))
            return true;
    return false;
}

static bool hidden(const char *variable, enum envblock_for whom)
{
    return starts_with_any(variable, hidden_always, ARRAY_LEN(hidden_always)) ||
           (whom == ENVBLOCK_POSTMASTER &&
            starts_with_any(variable, hidden_from_postgres, ARRAY_LEN(hidden_from_postgres)));
}

bool envblock_init(struct envblock *e, char *const *from, enum envblock_for whom)
{
    e->count = 0;
    for (; *from; from++) {
        if (hidden(*from, whom))
            continue;
        if (e->count == ENVBLOCK_MAX)
            return false;
        e->at[e->count++] = *from;
    }
    e->at[e->count] = NULL;
    return true;
}

bool envblock_set(struct envblock *e, char *assignment)
{
    const char *equals = strchr(assignment, '=');
    size_t key_len = equals ? (size_t)(equals - assignment) : strlen(assignment);
    size_t kept = 0;

    for (size_t i = 0; i < e->count; i++)
        if (strncmp(e->at[i], assignment, key_len) != 0 || e->at[i][key_len] != '=')
            e->at[kept++] = e->at[i];
    e->count = kept;
    e->at[kept] = NULL;

    if (!equals)
        return true;
    if (e->count == ENVBLOCK_MAX)
        return false;
    e->at[e->count++] = assignment;
    e->at[e->count] = NULL;
    CHECK(e->count <= ENVBLOCK_MAX);
    return true;
}
