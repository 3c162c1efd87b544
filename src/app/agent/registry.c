#include "app/agent/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "io/log.h"
#include "io/loop.h"
#include "store/store.h"

enum {
    RETRY_MS = 1000, /* a store that is away is asked once a second */
    TELL_AGAIN_MS = 30000,
};

struct entry {
    char *name; /* relative to the prefix */
    char *value;
    size_t value_len;
    int64_t mod_revision;
    int64_t lease;
    json_t *parsed; /* NULL: not yet, or it is no JSON */
    bool seen;      /* by the reading that is being taken */
};

struct registry {
    struct loop *loop;
    struct store *store;
    struct store_watch *watch;
    char *prefix;
    registry_changed_fn *fn;
    void *arg;

    struct entry *entries;
    size_t count;
    bool stale; /* what has come is not in `cluster` yet */
    bool news;  /* events that more follow have brought something */
    struct cluster *cluster;
    struct cluster *past; /* what the store says now, where that is older than what was seen; `cluster` stays then */
    uint64_t store_id;    /* of the newest reading */
    registry_judge_fn *judge;
    void *judge_arg;
    msec read_ms;

    struct loop_timer timer;
    msec period_ms, budget_ms;
    unsigned int setbacks;
    bool reading, again, answers;
    uint64_t begun, taken;      /* readings, and the newest of them that was answered */
    bool distrust;              /* the store may have gone back in time: the next reading replaces whatever we have */
    char trouble[ERR_TEXT_MAX]; /* as logged; "": none */
    msec told_ms;
};

static void entry_clear(struct entry *e)
{
    free(e->name);
    free(e->value);
    json_decref(e->parsed);
    *e = (struct entry){0};
}

static void entries_clear(struct registry *r)
{
    for (size_t i = 0; i < r->count; i++)
        entry_clear(&r->entries[i]);
    r->count = 0;
}

static struct entry *entry_find(struct registry *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (str_eq(r->entries[i].name, name))
            return &r->entries[i];
    return NULL;
}

static bool entry_holds(const struct entry *e, const struct store_kv *kv)
{
    return e->value && e->value_len == kv->value_len && (!e->value_len || !memcmp(e->value, kv->value, e->value_len));
}

static void entry_put(struct registry *r, const struct store_kv *kv)
{
    const char *name = kv->key + strlen(r->prefix);
    struct entry *e = entry_find(r, name);

    if (!e) {
        r->entries = mem_grow(r->entries, r->count + 1, sizeof(*r->entries));
        e = &r->entries[r->count++];
        *e = (struct entry){.name = str_dup(name)};
    }
    e->seen = true;
    if (e->mod_revision == kv->mod_revision && e->lease == kv->lease && entry_holds(e, kv))
        return;
    r->stale = true;
    e->mod_revision = kv->mod_revision;
    e->lease = kv->lease;
    if (entry_holds(e, kv))
        return;
    json_decref(e->parsed);
    e->parsed = NULL;
    free(e->value);
    e->value = mem_zero(kv->value_len + 1, 1);
    if (kv->value_len)
        memcpy(e->value, kv->value, kv->value_len);
    e->value_len = kv->value_len;
}

static void entry_drop(struct registry *r, struct entry *e)
{
    entry_clear(e);
    *e = r->entries[--r->count];
    r->stale = true;
}

static void entry_remove(struct registry *r, const char *name)
{
    struct entry *e = entry_find(r, name);

    if (e)
        entry_drop(r, e);
}

/* Of what has come from the store, believed or not. */
static const struct cluster *latest(const struct registry *r)
{
    return r->past ? r->past : r->cluster;
}

static void take_picture(struct registry *r, struct cluster *take_fresh)
{
    bool believed = !r->judge || r->judge(take_fresh, r->store_id, r->judge_arg);

    cluster_unref(r->past);
    r->past = believed ? NULL : take_fresh;
    if (!believed)
        return;
    cluster_unref(r->cluster);
    r->cluster = take_fresh;
}

static void rebuild(struct registry *r, int64_t revision)
{
    struct cluster_key *keys = mem_zero(r->count, sizeof(*keys));

    for (size_t i = 0; i < r->count; i++)
        keys[i] = (struct cluster_key){
            .name = r->entries[i].name,
            .value = r->entries[i].value,
            .value_len = r->entries[i].value_len,
            .mod_revision = r->entries[i].mod_revision,
            .lease = r->entries[i].lease,
            .parsed = &r->entries[i].parsed,
        };
    take_picture(r, cluster_read(keys, r->count, revision));
    r->stale = false;
    free(keys);
}

static void watch_change(struct registry *r, const struct store_event *event)
{
    const struct cluster *now = latest(r);
    bool known = now && event->revision >= now->revision && str_starts(event->kv->key, r->prefix);

    if (known && event->kind == STORE_WATCH_PUT)
        entry_put(r, event->kv);
    else if (known)
        entry_remove(r, event->kv->key + strlen(r->prefix));
    r->news |= known;
    if (event->more || !r->news)
        return;
    r->news = false;
    rebuild(r, event->revision);
    r->read_ms = loop_clock_ms();
    r->fn(r->arg);
}

static void watch_event(const struct store_event *event, void *arg)
{
    struct registry *r = arg;

    switch (event->kind) {
    case STORE_WATCH_PUT:
    case STORE_WATCH_DELETE:
        watch_change(r, event);
        break;
    case STORE_WATCH_RESYNC:
        store_watch_stop(r->watch);
        r->watch = NULL;
        r->distrust = true;
        registry_refresh(r);
        break;
    case STORE_WATCH_LOST:
    case STORE_WATCH_BACK:
        registry_refresh(r);
        break;
    }
}

/* A picture that is older than what the watch has shown already changes nothing. */
static bool take_reading(struct registry *r, const struct store_result *result)
{
    const struct cluster *now = latest(r);
    bool earlier = now && result->revision < now->revision;
    if (earlier && !r->distrust)
        return false;

    if (earlier) {
        log_warning(
            "store.went_back",
            "the store went back from revision %lld to %lld; a leader key of an earlier term is left to its end",
            (long long)now->revision, (long long)result->revision);
        r->setbacks++;
    }
    r->distrust = false;
    for (size_t i = 0; i < r->count; i++)
        r->entries[i].seen = false;
    for (size_t i = 0; i < result->kv_count; i++)
        if (str_starts(result->kvs[i].key, r->prefix))
            entry_put(r, &result->kvs[i]);
    for (size_t i = r->count; i-- > 0;)
        if (!r->entries[i].seen)
            entry_drop(r, &r->entries[i]);
    bool other_store = r->store_id != result->cluster_id;
    r->store_id = result->cluster_id;
    if (r->stale || !now || now->revision != result->revision || other_store)
        rebuild(r, result->revision);
    return true;
}

static void read_done(const struct store_result *result, void *arg)
{
    struct registry *r = arg;

    r->reading = false;
    if (result->status == STORE_DONE) {
        registry_heard(r);
        r->taken = r->begun;
        if (take_reading(r, result)) {
            r->read_ms = loop_clock_ms();
            if (!r->watch)
                r->watch = store_watch_start(r->store, r->prefix, result->revision + 1, watch_event, r);
        }
        loop_timer_set_about(&r->timer, loop_clock_ms() + r->period_ms);
    } else {
        registry_unheard(r, result->err ? result->err->text : "no answer");
        loop_timer_set(&r->timer, loop_clock_ms() + RETRY_MS);
    }
    if (r->again)
        registry_refresh(r);
    r->fn(r->arg);
}

void registry_refresh(struct registry *r)
{
    if (r->reading) {
        r->again = true;
        return;
    }
    r->again = false;
    r->reading = true;
    r->begun++;
    store_get_prefix(r->store, r->prefix, r->budget_ms, read_done, r);
}

uint64_t registry_read_anew(struct registry *r)
{
    uint64_t ticket = r->begun + 1;

    registry_refresh(r);
    return ticket;
}

bool registry_has_read(const struct registry *r, uint64_t ticket)
{
    return r->taken >= ticket;
}

static void timer_due(void *arg)
{
    struct registry *r = arg;

    if (!r->reading)
        registry_refresh(r);
}

struct registry *registry_new(struct loop *l, struct store *store, const char *prefix, registry_changed_fn *fn,
                              void *arg)
{
    struct registry *r = mem_zero(1, sizeof(*r));

    r->loop = l;
    r->store = store;
    r->prefix = str_dup(prefix);
    r->fn = fn;
    r->arg = arg;
    loop_timer_init(&r->timer, l, timer_due, r);
    return r;
}

void registry_free(struct registry *r)
{
    if (!r)
        return;
    loop_timer_clear(&r->timer);
    entries_clear(r);
    free(r->entries);
    cluster_unref(r->cluster);
    cluster_unref(r->past);
    free(r->prefix);
    free(r);
}

void registry_start(struct registry *r, msec period_ms, msec budget_ms)
{
    registry_timing(r, period_ms, budget_ms);
    registry_refresh(r);
}

void registry_timing(struct registry *r, msec period_ms, msec budget_ms)
{
    r->period_ms = period_ms;
    r->budget_ms = budget_ms;
}

struct cluster *registry_cluster(const struct registry *r)
{
    return r->cluster;
}

struct cluster *registry_past(const struct registry *r)
{
    return r->past;
}

struct cluster *registry_members(const struct registry *r)
{
    return r->cluster ? r->cluster : r->past;
}

void registry_judge(struct registry *r, registry_judge_fn *judge, void *arg)
{
    r->judge = judge;
    r->judge_arg = arg;
}

unsigned int registry_setbacks(const struct registry *r)
{
    return r->setbacks;
}

msec registry_read_ms(const struct registry *r)
{
    return r->read_ms;
}

bool registry_answers(const struct registry *r)
{
    return r->answers && !r->past;
}

void registry_heard(struct registry *r)
{
    if (!r->answers && r->trouble[0])
        log_info("store.back", "the store at %s answers again", store_describe(r->store));
    r->answers = true;
    r->trouble[0] = '\0';
}

void registry_unheard(struct registry *r, const char *why)
{
    bool news = r->answers || !r->trouble[0];

    r->answers = false;
    /* Each endpoint in turn has a text of its own: an outage is told when it begins, then now and then. */
    if (!news && loop_clock_ms() - r->told_ms < TELL_AGAIN_MS)
        return;
    r->told_ms = loop_clock_ms();
    str_copy(r->trouble, sizeof(r->trouble), why);
    log_warning("store.away", "the store does not answer: %s", why);
}
