#include "test/sim/store_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "base/str.h"
#include "io/loop.h"
#include "store/store.h"
#include "test/lib/mem_kv.h"
#include "test/sim/ledger.h"
#include "test/sim/net.h"
#include "wire/report.h"

enum {
    AGAIN = 1000000, /* an idempotent request without an answer goes to the next member */
    LOOK = 500000,   /* a watch sees to it that it is alive */
    STALE = 3000000,
    LATE_MAX = 20000000,
    ANSWER_LATE_MAX = 4000000,
    SPLIT_TTL_MS = 20000,
    WATCHES_MAX = 32,
};

static struct {
    struct host *host;
    char *prefix;
    struct mem_kv *kv;
    struct mem_kv *stale, *backup; /* NULL: none */
    uint64_t cluster_id;
    bool refuse, answers_late;
    const struct host *split; /* asks a member that lost the others; NULL: nobody does */
    usec commit_max, watch_lag_max;
    int late_permille;
    struct store_watch *watches[WATCHES_MAX];
    size_t watch_count;
    usec expiry_at;
    int64_t record_seen; /* revision */
    term forgotten;      /* records of quorum mode up to this term were lost: what is there of them is of the past */
} server;

void (*store_sim_record_changed)(const struct record_key *r);

struct store {
    struct proc *proc;
};

enum request_kind { REQUEST_TXN, REQUEST_GRANT, REQUEST_KEEPALIVE, REQUEST_REVOKE };

struct request {
    struct store *store;
    uint64_t generation; /* of the asker */
    enum request_kind kind;
    bool repeats;
    struct store_txn txn;
    int64_t lease;
    msec ttl_ms;
    store_done_fn *done;
    void *arg;
    msec sent_at_ms;
    bool over;
    int tries;
};

/* One sending of a request, and its answer. */
struct sending {
    struct request *request;
    msec sent_at_ms;
    struct store_result result;
    struct mem_kv_answer answer;
    struct err err;
};

struct store_watch {
    struct store *store;
    uint64_t generation;
    char *prefix;
    int64_t next_revision;
    uint64_t cluster_id;
    usec last_push;    /* order of the stream */
    bool pushing;      /* events are under way */
    usec silent_since; /* 0: it is alive */
    bool lost, stopped, over;
    store_watch_fn *fn;
    void *arg;
};

static msec server_ms(void)
{
    return world.now / 1000;
}

/* ---- watches ---- */

struct push {
    struct store_watch *watch;
    int64_t upto;
};

static bool asker_lives(const struct store *s, uint64_t generation)
{
    return s->proc->alive && s->proc->generation == generation;
}

static void tell(struct store_watch *w, enum store_watch_kind kind, int64_t revision)
{
    w->fn(&(struct store_event){.kind = kind, .revision = revision}, w->arg);
}

static void tell_change(struct store_watch *w, const struct mem_event *event, bool more)
{
    w->fn(&(struct store_event){.kind = event->is_delete ? STORE_WATCH_DELETE : STORE_WATCH_PUT,
                                .kv = &event->kv,
                                .revision = event->kv.mod_revision,
                                .more = more},
          w->arg);
}

/* What a watch of this prefix is shown next; `*skip` stands behind it then. NULL: nothing up to there. */
static const struct mem_event *next_event(const struct store_watch *w, int64_t from, int64_t upto, size_t *skip)
{
    const struct mem_event *event;

    while ((event = mem_kv_event(server.kv, from, (*skip)++)) && event->kv.mod_revision <= upto)
        if (str_starts(event->kv.key, w->prefix))
            return event;
    return NULL;
}

static void push_seen(void *arg)
{
    struct push *p = arg;
    struct store_watch *w = p->watch;
    int64_t from = w->next_revision;
    size_t skip = 0;

    w->pushing = false;
    if (w->stopped || w->over)
        return;
    if (w->cluster_id != server.cluster_id || w->next_revision < mem_kv_compact_revision(server.kv)) {
        w->over = true;
        tell(w, STORE_WATCH_RESYNC, w->next_revision - 1);
        return;
    }
    if (p->upto >= from)
        w->next_revision = p->upto + 1;
    const struct mem_event *event = next_event(w, from, p->upto, &skip);
    while (event && !w->stopped) {
        const struct mem_event *after = next_event(w, from, p->upto, &skip);
        tell_change(w, event, after != NULL);
        event = after;
    }
    free(p);
}

static void push_at_host(void *arg)
{
    struct push *p = arg;

    if (asker_lives(p->watch->store, p->watch->generation))
        event_in(0, p->watch->store->proc, push_seen, p);
}

static void push(struct store_watch *w)
{
    struct push *p = mem_zero(1, sizeof(*p));
    if (w->store->proc->host == server.split)
        return;
    usec lag = server.watch_lag_max ? chance(server.watch_lag_max) : 0;

    *p = (struct push){.watch = w, .upto = mem_kv_revision(server.kv)};
    if (w->last_push < world.now + lag)
        w->last_push = world.now + lag;
    w->pushing = net_reaches(server.host, w->store->proc->host);
    net_send_in_order(server.host, w->store->proc->host, &w->last_push, push_at_host, p);
}

static void look(void *arg)
{
    struct store_watch *w = arg;
    struct host *here = w->store->proc->host;

    if (w->stopped || w->over)
        return;
    event_in(LOOK, w->store->proc, look, w);
    bool alive =
        here != server.split && net_reaches(here, server.host) && net_reaches(server.host, here) && !server.host->stops;
    if (!alive) {
        w->pushing = false;
        if (!w->silent_since)
            w->silent_since = world.now;
        if (!w->lost && world.now - w->silent_since > STALE) {
            w->lost = true;
            tell(w, STORE_WATCH_LOST, w->next_revision - 1);
        }
        return;
    }
    w->silent_since = 0;
    if (w->lost) {
        w->lost = false;
        tell(w, STORE_WATCH_BACK, w->next_revision - 1);
    }
    bool news = w->next_revision <= mem_kv_revision(server.kv) || w->cluster_id != server.cluster_id;
    if (!w->stopped && !w->pushing && news)
        push(w);
}

struct store_watch *store_watch_start(struct store *s, const char *prefix, int64_t revision, store_watch_fn *fn,
                                      void *arg)
{
    struct store_watch *w = mem_zero(1, sizeof(*w));

    CHECK(server.watch_count < WATCHES_MAX);
    *w = (struct store_watch){.store = s,
                              .generation = s->proc->generation,
                              .prefix = str_dup(prefix),
                              .next_revision = revision,
                              .cluster_id = server.cluster_id,
                              .fn = fn,
                              .arg = arg};
    server.watches[server.watch_count++] = w;
    event_in(0, s->proc, look, w);
    return w;
}

void store_watch_stop(struct store_watch *w)
{
    w->stopped = true;
}

/* ---- the server ---- */

static void changed(void);

static void expire(void *arg)
{
    server.expiry_at = 0;
    mem_kv_expire(server.kv, server_ms());
    changed();
}

static int64_t record_revision(void)
{
    AUTO(cstr) char *key = str_fmt("%spgkeep", server.prefix);
    struct store_op get = {.kind = STORE_GET, .key = key};
    struct store_txn txn = {.then = &get, .then_count = 1};
    struct mem_kv_answer answer = {0};

    (void)mem_kv_txn(server.kv, &txn, &answer);
    int64_t revision = answer.kv_count ? answer.kvs[0].mod_revision : 0;
    mem_kv_answer_deinit(&answer);
    return revision;
}

static void look_at_record(void)
{
    struct cluster *c;

    if (!store_sim_record_changed || record_revision() == server.record_seen)
        return;
    server.record_seen = record_revision();
    c = store_sim_cluster();
    if (!server.forgotten || c->record.term > server.forgotten)
        store_sim_record_changed(&c->record);
    cluster_unref(c);
}

static void forget_record(void)
{
    struct cluster *c = store_sim_cluster();

    if (c->record.present && c->record.mode == RECORD_QUORUM && c->record.term > server.forgotten)
        server.forgotten = c->record.term;
    cluster_unref(c);
}

static void changed(void)
{
    size_t kept = 0;
    msec next_ms = mem_kv_next_expiry(server.kv);

    look_at_record();
    for (size_t i = 0; i < server.watch_count; i++) {
        struct store_watch *w = server.watches[i];
        if (w->stopped || w->over || !asker_lives(w->store, w->generation))
            continue;
        server.watches[kept++] = w;
        if (w->next_revision <= mem_kv_revision(server.kv))
            push(w);
    }
    server.watch_count = kept;
    if (next_ms != MSEC_NEVER && (!server.expiry_at || next_ms * 1000 < server.expiry_at)) {
        server.expiry_at = next_ms * 1000;
        event_at(server.expiry_at, &server.host->kernel, expire, NULL);
    }
}

static void answered(void *arg)
{
    struct sending *s = arg;
    struct request *r = s->request;

    if (r->over)
        return;
    r->over = true;
    s->result.kvs = s->answer.kvs;
    s->result.kv_count = s->answer.kv_count;
    s->result.sent_at_ms = s->sent_at_ms;
    s->result.err = s->result.status == STORE_DONE ? NULL : &s->err;
    r->done(&s->result, r->arg);
}

static void answer_at_host(void *arg)
{
    struct sending *s = arg;

    if (asker_lives(s->request->store, s->request->generation))
        event_in(0, s->request->store->proc, answered, s);
}

static void carry_out(struct sending *s)
{
    struct request *r = s->request;
    struct store_result *result = &s->result;
    int64_t before = mem_kv_revision(server.kv);

    mem_kv_expire(server.kv, server_ms());
    result->status = STORE_DONE;
    result->raft_term = 1;
    result->cluster_id = server.cluster_id;
    if (server.stale && r->kind == REQUEST_TXN && r->repeats && chance_one_in(2)) {
        (void)mem_kv_txn(server.stale, &r->txn, &s->answer);
        result->succeeded = s->answer.succeeded;
        result->revision = mem_kv_revision(server.stale);
        return;
    }
    switch (r->kind) {
    case REQUEST_TXN:
        if (mem_kv_txn(server.kv, &r->txn, &s->answer) != MEM_KV_OK) {
            result->status = STORE_REFUSED;
            (void)err_set(&s->err, ERR_NOT_FOUND, "requested lease not found");
        }
        result->succeeded = s->answer.succeeded;
        break;
    case REQUEST_GRANT:
        result->lease = mem_kv_grant(server.kv, r->ttl_ms, server_ms());
        result->ttl_ms = r->ttl_ms;
        break;
    case REQUEST_KEEPALIVE:
        result->lease = r->lease;
        result->ttl_ms = mem_kv_keepalive(server.kv, r->lease, server_ms());
        break;
    case REQUEST_REVOKE:
        mem_kv_revoke(server.kv, r->lease);
        break;
    }
    result->revision = mem_kv_revision(server.kv);
    if (result->revision != before || r->kind == REQUEST_GRANT)
        changed();
}

static void answer(void *arg)
{
    struct sending *s = arg;

    net_send(server.host, s->request->store->proc->host, answer_at_host, s);
}

static void committed(void *arg)
{
    struct sending *s = arg;

    if (server.refuse) {
        s->result.status = STORE_REFUSED;
        (void)err_set(&s->err, ERR_SYS, "etcdserver: no leader");
    } else {
        carry_out(s);
    }
    if (server.answers_late && chance_one_in(2))
        event_in(chance(ANSWER_LATE_MAX), &server.host->kernel, answer, s);
    else
        answer(s);
}

/*
 * A leader of the store that the other members have left lets leases live until it notices, but commits nothing: what
 * it says of a lease is not so where the others are.
 */
static void asked_the_wrong_one(struct sending *s)
{
    const struct request *r = s->request;

    if (r->kind != REQUEST_KEEPALIVE)
        return; /* no answer */
    s->result.status = STORE_DONE;
    s->result.raft_term = 1;
    s->result.cluster_id = server.cluster_id;
    s->result.lease = r->lease;
    s->result.ttl_ms = SPLIT_TTL_MS;
    s->result.revision = mem_kv_revision(server.kv);
    answer(s);
}

static void arrived(void *arg)
{
    struct sending *s = arg;

    if (s->request->store->proc->host == server.split) {
        asked_the_wrong_one(s);
        return;
    }
    usec takes = chance_between(500, server.commit_max);

    if (server.late_permille && chance(1000) < server.late_permille)
        takes = chance(LATE_MAX);
    event_in(takes, &server.host->kernel, committed, arg);
}

/* ---- clients ---- */

static void send_it(void *arg)
{
    struct request *r = arg;

    if (r->over)
        return;
    struct sending *s = mem_zero(1, sizeof(*s));
    s->request = r;
    s->sent_at_ms = host_clock_ms(r->store->proc->host);
    net_send(r->store->proc->host, server.host, arrived, s);
    if (r->repeats)
        event_in(AGAIN, r->store->proc, send_it, r);
}

static void out_of_time(void *arg)
{
    struct request *r = arg;
    struct err err = {0};

    if (r->over)
        return;
    r->over = true;
    (void)err_set(&err, ERR_TIMEOUT, "no answer of the store in time");
    struct store_result result = {.status = r->repeats ? STORE_AWAY : STORE_UNKNOWN, .err = &err};
    r->done(&result, r->arg);
}

static struct request *ask(struct store *s, enum request_kind kind, bool repeats, msec budget_ms, store_done_fn *done,
                           void *arg)
{
    struct request *r = mem_zero(1, sizeof(*r));

    *r = (struct request){
        .store = s, .generation = s->proc->generation, .kind = kind, .repeats = repeats, .done = done, .arg = arg};
    event_in(0, s->proc, send_it, r);
    event_in(budget_ms * 1000, s->proc, out_of_time, r);
    return r;
}

static struct store_op *copy_ops(const struct store_op *ops, size_t count)
{
    struct store_op *copy = mem_zero(count + 1, sizeof(*copy));

    for (size_t i = 0; i < count; i++) {
        copy[i] = ops[i];
        copy[i].key = str_dup(ops[i].key);
        copy[i].value = str_dup(ops[i].value);
    }
    return copy;
}

static struct store_txn copy_txn(const struct store_txn *txn)
{
    struct store_compare *compares = mem_zero(txn->compare_count + 1, sizeof(*compares));
    struct store_txn copy = *txn;

    for (size_t i = 0; i < txn->compare_count; i++) {
        compares[i] = txn->compares[i];
        compares[i].key = str_dup(txn->compares[i].key);
        compares[i].value = str_dup(txn->compares[i].value);
    }
    copy.compares = compares;
    copy.then = copy_ops(txn->then, txn->then_count);
    copy.otherwise = copy_ops(txn->otherwise, txn->otherwise_count);
    return copy;
}

void store_txn(struct store *s, const struct store_txn *txn, msec budget_ms, store_done_fn *done, void *arg)
{
    ask(s, REQUEST_TXN, false, budget_ms, done, arg)->txn = copy_txn(txn);
}

void store_get_prefix(struct store *s, const char *prefix, msec budget_ms, store_done_fn *done, void *arg)
{
    struct store_op get = {.kind = STORE_GET_PREFIX, .key = prefix};
    struct store_txn txn = {.then = &get, .then_count = 1};

    ask(s, REQUEST_TXN, true, budget_ms, done, arg)->txn = copy_txn(&txn);
}

void store_lease_grant(struct store *s, msec ttl_ms, msec budget_ms, store_done_fn *done, void *arg)
{
    ask(s, REQUEST_GRANT, true, budget_ms, done, arg)->ttl_ms = ttl_ms;
}

void store_lease_keepalive(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg)
{
    ask(s, REQUEST_KEEPALIVE, true, budget_ms, done, arg)->lease = lease;
}

void store_lease_revoke(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg)
{
    ask(s, REQUEST_REVOKE, true, budget_ms, done, arg)->lease = lease;
}

bool store_new(struct loop *loop, const struct settings *settings, struct store **ret_store, struct err *err)
{
    struct store *s = mem_zero(1, sizeof(*s));

    s->proc = world.current;
    *ret_store = s;
    return true;
}

void store_free(struct store *s)
{
    /* The process ends, and with it every event of its own; the world keeps what is under way. */
}

bool store_reconfigure(struct store *s, const struct settings *settings, struct err *err)
{
    return true;
}

const char *store_describe(const struct store *s)
{
    return "the simulated store";
}

/* ---- faults and looks ---- */

void store_sim_init(struct host *host, const char *prefix)
{
    server.host = host;
    server.prefix = str_dup(prefix);
    server.kv = mem_kv_new();
    server.cluster_id = 1;
    server.commit_max = 8000;
}

void store_sim_refuse(bool refuse)
{
    server.refuse = refuse;
}

void store_sim_slow(usec commit_max)
{
    server.commit_max = commit_max;
}

void store_sim_late(int permille)
{
    server.late_permille = permille;
}

void store_sim_watch_lag(usec lag_max)
{
    server.watch_lag_max = lag_max;
}

void store_sim_compact(void)
{
    mem_kv_compact(server.kv, mem_kv_revision(server.kv));
}

void store_sim_expire_early(void)
{
    mem_kv_expire(server.kv, MSEC_NEVER - 1);
    changed();
}

void store_sim_answers_late(bool late)
{
    server.answers_late = late;
}

void store_sim_split(const struct host *from)
{
    server.split = from;
}

void store_sim_stale(bool stale)
{
    if (stale == (server.stale != NULL))
        return;
    if (!stale)
        mem_kv_free(server.stale);
    server.stale = stale ? mem_kv_copy(server.kv) : NULL;
}

void store_sim_back_up(void)
{
    mem_kv_free(server.backup);
    server.backup = mem_kv_copy(server.kv);
}

void store_sim_restore(void)
{
    if (!server.backup)
        return;
    forget_record();
    mem_kv_free(server.kv);
    server.kv = server.backup;
    server.backup = NULL;
    server.cluster_id++;
    forget_record();
    store_sim_stale(false);
    if (!ledger_is_quorum())
        world_excuse("the store was put back");
    mem_kv_extend(server.kv, server_ms());
    changed();
}

void store_sim_wipe(void)
{
    mem_kv_free(server.backup);
    server.backup = mem_kv_new();
    store_sim_restore();
}

void store_sim_put(const char *name, const char *value)
{
    AUTO(cstr) char *key = str_fmt("%s%s", server.prefix, name);
    struct store_op op = {.kind = value ? STORE_PUT : STORE_DELETE, .key = key, .value = value};
    struct store_txn txn = {.then = &op, .then_count = 1};
    struct mem_kv_answer answer = {0};

    (void)mem_kv_txn(server.kv, &txn, &answer);
    mem_kv_answer_deinit(&answer);
    changed();
}

/* As it was read last, if nothing has changed since. The reports, most of its bytes, are left out. */
struct cluster *store_sim_cluster(void)
{
    static struct cluster *last;
    static int64_t last_revision;
    static uint64_t last_id;
    struct store_op get = {.kind = STORE_GET_PREFIX, .key = server.prefix};
    struct store_txn txn = {.then = &get, .then_count = 1};
    struct mem_kv_answer answer = {0};

    if (last && last_id == server.cluster_id && last_revision == mem_kv_revision(server.kv))
        return cluster_ref(last);
    (void)mem_kv_txn(server.kv, &txn, &answer);
    struct cluster_key *keys = mem_zero(answer.kv_count + 1, sizeof(*keys));
    size_t count = 0;
    for (size_t i = 0; i < answer.kv_count; i++) {
        const char *name = answer.kvs[i].key + strlen(server.prefix);
        if (!str_starts(name, REPORTS_PREFIX))
            keys[count++] = (struct cluster_key){.name = name,
                                                 .value = answer.kvs[i].value,
                                                 .value_len = answer.kvs[i].value_len,
                                                 .mod_revision = answer.kvs[i].mod_revision,
                                                 .lease = answer.kvs[i].lease};
    }
    cluster_unref(last);
    last_id = server.cluster_id;
    last_revision = mem_kv_revision(server.kv);
    last = cluster_read(keys, count, last_revision);
    free(keys);
    mem_kv_answer_deinit(&answer);
    return cluster_ref(last);
}
