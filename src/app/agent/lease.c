#include "app/agent/lease.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/fault.h"
#include "base/mutant.h"
#include "base/str.h"
#include "io/loop.h"
#include "store/store.h"

struct lease {
    struct store *store;
    lease_fn *fn;
    lease_revoked_fn *revoked;
    void *arg;
    msec ttl_ms, budget_ms; /* for the next one */

    int64_t id;           /* 0: none */
    msec granted_ttl_ms;  /* it was granted with this; another ttl needs another lease */
    msec sent_for_ttl_ms; /* the grant under way */
    msec renewed_ms, tried_ms, deadline_ms;
    bool renewing;
};

static void granted(const struct store_result *r, void *arg)
{
    struct lease *l = arg;
    enum lease_event event = LEASE_SILENT;

    FAULT_POINT("lease.granted");
    l->renewing = false;
    if (r->status == STORE_DONE && r->lease) {
        l->id = r->lease;
        l->granted_ttl_ms = l->sent_for_ttl_ms;
        l->renewed_ms = r->sent_at_ms;
        event = LEASE_GRANTED;
    }
    l->fn(event, r, l->arg);
}

static void kept_alive(const struct store_result *r, void *arg)
{
    struct lease *l = arg;
    enum lease_event event = LEASE_SILENT;

    FAULT_POINT("lease.kept_alive");
    l->renewing = false;
    if (r->status == STORE_DONE && r->ttl_ms <= 0) {
        l->id = 0;
        event = LEASE_LOST;
    } else if (r->status == STORE_DONE) {
        l->renewed_ms = r->sent_at_ms;
        event = LEASE_KEPT;
    }
    l->fn(event, r, l->arg);
}

void lease_renew(struct lease *l)
{
    if (l->renewing)
        return;
    l->renewing = true;
    l->tried_ms = loop_clock_ms();
    if (l->id && l->granted_ttl_ms == l->ttl_ms) {
        store_lease_keepalive(l->store, l->id, l->budget_ms, kept_alive, l);
        return;
    }
    l->sent_for_ttl_ms = l->ttl_ms;
    store_lease_grant(l->store, l->ttl_ms, l->budget_ms, granted, l);
}

void lease_forget(struct lease *l)
{
    l->id = 0;
}

static void revoke_done(const struct store_result *r, void *arg)
{
    struct lease *l = arg;

    FAULT_POINT("lease.revoked");
    l->id = 0;
    l->revoked(r, l->arg);
}

void lease_revoke(struct lease *l, msec budget_ms, lease_revoked_fn *done)
{
    CHECK(l->id);
    l->revoked = done;
    store_lease_revoke(l->store, l->id, budget_ms, revoke_done, l);
}

void lease_hold(struct lease *l)
{
    l->deadline_ms = l->renewed_ms + l->granted_ttl_ms;
}

void lease_prove(struct lease *l, msec renewed_ms)
{
    msec from_ms = MUTANT(LEASE_FROM_REPLY) ? loop_clock_ms() : renewed_ms;
    l->deadline_ms = msec_max(l->deadline_ms, from_ms + l->granted_ttl_ms);
}

int64_t lease_id(const struct lease *l)
{
    return l->id;
}

msec lease_ttl_ms(const struct lease *l)
{
    return l->granted_ttl_ms;
}

msec lease_renewed_ms(const struct lease *l)
{
    return l->renewed_ms;
}

msec lease_tried_ms(const struct lease *l)
{
    return l->tried_ms;
}

msec lease_deadline_ms(const struct lease *l)
{
    return l->deadline_ms;
}

bool lease_is_renewing(const struct lease *l)
{
    return l->renewing;
}

void lease_timing(struct lease *l, msec ttl_ms, msec budget_ms)
{
    l->ttl_ms = ttl_ms;
    l->budget_ms = budget_ms;
}

struct lease *lease_new(struct store *store, lease_fn *fn, void *arg)
{
    struct lease *l = mem_zero(1, sizeof(*l));

    l->store = store;
    l->fn = fn;
    l->arg = arg;
    return l;
}

void lease_free(struct lease *l)
{
    free(l);
}
