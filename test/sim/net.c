#include "test/sim/net.h"

#include "base/check.h"

static int cuts[HOSTS_MAX][HOSTS_MAX], wal_cuts[HOSTS_MAX][HOSTS_MAX];
static usec late[HOSTS_MAX][HOSTS_MAX]; /* what is sent there arrives so much later */
static usec delay_min, delay_max;
static int loss_permille;

enum { RETRANSMISSION = 200000, RETRANSMISSIONS_MAX = 6 };

void net_init(usec min, usec max)
{
    delay_min = min;
    delay_max = max;
}

void net_slow(usec max, int loss)
{
    delay_max = max;
    loss_permille = loss;
}

static usec delay(void)
{
    usec wait = chance_between(delay_min, delay_max);
    usec again = RETRANSMISSION;

    for (int i = 0; i < RETRANSMISSIONS_MAX && loss_permille && chance(1000) < loss_permille; i++, again *= 2)
        wait += again;
    return wait;
}

bool net_reaches(const struct host *from, const struct host *to)
{
    return from == to || !cuts[from->id][to->id];
}

void net_send(struct host *from, struct host *to, event_fn *arrive, void *arg)
{
    usec last = 0;

    net_send_in_order(from, to, &last, arrive, arg);
}

void net_send_in_order(struct host *from, struct host *to, usec *last, event_fn *arrive, void *arg)
{
    if (!net_reaches(from, to) || !to->up)
        return;
    usec at = world.now + (from == to ? 20 : delay() + late[from->id][to->id]);
    if (at < *last)
        at = *last;
    *last = at;
    event_at(at, &to->kernel, arrive, arg);
}

void net_cut(struct host *from, struct host *to)
{
    cuts[from->id][to->id]++;
}

void net_mend(struct host *from, struct host *to)
{
    CHECK(cuts[from->id][to->id] > 0);
    cuts[from->id][to->id]--;
}

bool net_reaches_wal(const struct host *from, const struct host *to)
{
    return net_reaches(from, to) && !wal_cuts[from->id][to->id];
}

void net_send_wal(struct host *from, struct host *to, usec *last, event_fn *arrive, void *arg)
{
    if (net_reaches_wal(from, to))
        net_send_in_order(from, to, last, arrive, arg);
}

void net_send_wal_once(struct host *from, struct host *to, event_fn *arrive, void *arg)
{
    usec last = 0;

    net_send_wal(from, to, &last, arrive, arg);
}

void net_cut_wal(struct host *from, struct host *to)
{
    wal_cuts[from->id][to->id]++;
}

void net_mend_wal(struct host *from, struct host *to)
{
    CHECK(wal_cuts[from->id][to->id] > 0);
    wal_cuts[from->id][to->id]--;
}

void net_late(struct host *from, struct host *to, usec by)
{
    late[from->id][to->id] = by;
}

void net_isolate(struct host *h)
{
    for (int i = 0; i < world.host_count; i++) {
        net_cut(h, &world.hosts[i]);
        net_cut(&world.hosts[i], h);
    }
}

void net_rejoin(struct host *h)
{
    for (int i = 0; i < world.host_count; i++) {
        net_mend(h, &world.hosts[i]);
        net_mend(&world.hosts[i], h);
    }
}
