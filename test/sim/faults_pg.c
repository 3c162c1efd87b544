#include "test/sim/faults_pg.h"

#include "base/check.h"
#include "base/str.h"
#include "test/sim/disk.h"
#include "test/sim/session.h"

enum { CLIENTS_MAX = 8 };

/* ---- what is in the way of replay ---- */

static enum recovery_block block_of(enum fault_kind kind)
{
    return kind == FAULT_PG_CONFLICT ? RECOVERY_CONFLICT : kind == FAULT_PG_PAUSED ? RECOVERY_PAUSED : RECOVERY_HANGS;
}

static void unblock(enum fault_kind kind, struct pg *p)
{
    if (p->recovery.blocked == block_of(kind))
        recovery_unblock(p);
}

/* ---- walsenders ---- */

static void hold_sender(struct pg *p, uint64_t luck)
{
    for (int i = 0; i < SENDERS_MAX; i++) {
        struct pg_sender *s = &p->senders[(luck + (uint64_t)i) % SENDERS_MAX];
        if (!s->active)
            continue;
        s->stuck = true;
        return;
    }
}

static void let_senders_go(struct pg *p)
{
    for (int i = 0; i < SENDERS_MAX; i++)
        p->senders[i].stuck = false;
}

/* A pg_receivewal --synchronous with the name of somebody who streams, or of nobody, from the last host there is. */
static void run_tool(struct pg *p, uint64_t luck)
{
    const struct pg_sender *like = NULL;

    for (size_t i = 0; i < SENDERS_MAX && luck % 4; i++)
        if (p->senders[(luck + i) % SENDERS_MAX].active)
            like = &p->senders[(luck + i) % SENDERS_MAX];
    walstream_tool(p, &world.hosts[world.host_count - 1], like ? like->name : "backup", NULL);
}

/* ---- sessions ---- */

/* Impatient clients. */
static void cancel_waits(struct pg *p)
{
    for (int client = 0; client < CLIENTS_MAX; client++)
        (void)pg_cancel_waits(p, client);
}

/* ---- configuration ---- */

/* By an operator's editor, into the file that is read last. */
static void write_wrong(struct pg *p, uint64_t luck)
{
    static const char *const wrong[] = {
        "work_men = '8MB'\n",                         /* an unknown parameter */
        "primary_conninfo = 'host=10.0.0.1\n",        /* a quote too few */
        "include 'absent.conf'\n",                    /* a file that is not there */
        "synchronous_standby_names = 'ANY 0 (n1)'\n", /* a wrong value */
        "synchronous_standby_names = 'ANY 1 (n9)'\n", /* right, and of nobody */
        "primary_conninfo = ''\n",                    /* somebody else's freeze */
        "wal_retrieve_retry_interval = '100ms'\n",    /* nothing is wrong with it */
        "include 'other.conf'\n",                     /* a wrong value, where nobody looks for it */
        "include 'other.conf'\n",
    };

    if (p->disk.kind != DATADIR_VALID || !pg_conf_write(p, "other.conf", "synchronous_standby_names = 'ANY 0 (n1)'\n"))
        return;
    if (pg_conf_write(p, "postgresql.auto.conf", wrong[luck % ARRAY_LEN(wrong)]))
        pg_reload(p);
}

/* And wherever a clone or a rewind has brought it meanwhile; a disk that does not take it is tried again. */
static void write_right(void *arg)
{
    bool left = false;

    (void)arg;
    for (int i = 0; i < world.host_count; i++) {
        struct pg *p = pg_of(i);
        if (!p || p->disk.kind != DATADIR_VALID)
            continue;
        if (pg_conf_write(p, "postgresql.auto.conf", ""))
            pg_reload(p);
        else
            left = true;
    }
    if (left)
        event_in(1000000, NULL, write_right, NULL);
}

/* ---- kinds ---- */

void pg_fault_begin(enum fault_kind kind, struct pg *p, uint64_t luck)
{
    if (kind == FAULT_PG_CONFLICT || kind == FAULT_PG_PAUSED || kind == FAULT_PG_HANGS)
        recovery_block(p, block_of(kind));
    else if (kind == FAULT_PG_SENDER_STUCK)
        hold_sender(p, luck);
    else if (kind == FAULT_PG_SLOT_LOST && p->disk.slot_count)
        pg_lose_slot(p, p->disk.slots[luck % p->disk.slot_count].name);
    else if (kind == FAULT_PG_CRASH)
        pg_crash_backend(p);
    else if (kind == FAULT_PG_TOOL)
        run_tool(p, luck);
    else if (kind == FAULT_PG_CANCEL)
        cancel_waits(p);
    else if (kind == FAULT_PG_CONF_WRONG)
        write_wrong(p, luck);
    else if (kind == FAULT_PG_ALTER_SYSTEM && p->disk.kind == DATADIR_VALID)
        pg_alter_system(p, PG_RETRIEVE_RETRY, luck % 2 ? "100ms" : NULL, (usec)(luck % 1000000));
    else if (kind == FAULT_DISK_FULL)
        disk_fill(disk_of(p->host), true);
    else if (kind == FAULT_DISK_FAILS)
        disk_fail(disk_of(p->host), true);
}

void pg_fault_end(enum fault_kind kind, struct pg *p)
{
    if (kind == FAULT_PG_CONFLICT || kind == FAULT_PG_PAUSED || kind == FAULT_PG_HANGS)
        unblock(kind, p);
    else if (kind == FAULT_PG_SENDER_STUCK)
        let_senders_go(p);
    else if (kind == FAULT_PG_CONF_WRONG)
        write_right(NULL);
    else if (kind == FAULT_DISK_FULL)
        disk_fill(disk_of(p->host), false);
    else if (kind == FAULT_DISK_FAILS)
        disk_fail(disk_of(p->host), false);
}
