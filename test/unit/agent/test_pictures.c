/*
 * Ownership of the leader key against pictures of the store that come in another order than its answers. The registry
 * is the test's: it shows what it is told to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/agent/leadership.h"
#include "app/agent/registry.h"
#include "base/str.h"
#include "io/loop.h"
#include "test/lib/mem_store.h"
#include "test/unit/store/ask.h"

#define PREFIX "/service/demo/"

enum { TTL_MS = 30000, BUDGET_MS = 300, PATIENCE_MS = 10000 };

static struct loop *loop;
static struct mem_server *server;
static struct store *store, *other;
static struct leadership *leadership;
static struct cluster *picture;

/* ---- the registry ---- */

struct cluster *registry_cluster(const struct registry *r)
{
    return picture;
}

struct cluster *registry_past(const struct registry *r)
{
    (void)r;
    return NULL;
}

unsigned int registry_setbacks(const struct registry *r)
{
    return 0;
}

void registry_refresh(struct registry *r)
{
}

uint64_t registry_read_anew(struct registry *r)
{
    return 1;
}

bool registry_has_read(const struct registry *r, uint64_t ticket)
{
    return false;
}

void registry_heard(struct registry *r)
{
}

void registry_unheard(struct registry *r, const char *why)
{
}

/* ---- helpers ---- */

static void texts(struct keys_texts *ret_texts, void *arg)
{
    *ret_texts = (struct keys_texts){.member = "{}", .status = "{\"optime\":1}"};
}

static void changed(void *arg)
{
}

static int setup(void **state)
{
    loop = loop_new();
    server = mem_server_new(loop);
    store = mem_store_new(server);
    other = mem_store_new(server);
    leadership = leadership_new(store, NULL, PREFIX, "n1", texts, changed, NULL);
    leadership_timing(leadership, TTL_MS, BUDGET_MS);
    return 0;
}

static int teardown(void **state)
{
    store_free(store);
    store_free(other);
    leadership_free(leadership);
    cluster_free(TAKE(picture));
    mem_server_free(server);
    loop_free(loop);
    return 0;
}

static struct ha_lease lease(void)
{
    struct ha_lease now;

    leadership_view(leadership, &now);
    return now;
}

static void until(bool (*is_so)(void), const char *what)
{
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    while (!is_so()) {
        if (loop_clock_ms() > end_ms)
            fail_msg("%s: not within %d ms", what, PATIENCE_MS);
        loop_turn(loop, 20);
    }
}

static bool has_lease(void)
{
    return lease().exists && !lease().renewing;
}

static bool owns(void)
{
    return lease().owner;
}

static bool owns_not(void)
{
    return !lease().owner;
}

static void ignore(enum leadership_result result, const char *why, void *arg)
{
}

/* The store as it is now becomes what the registry shows; leadership is not told yet. */
static void take_picture(void)
{
    AUTO(answer) struct answer a = ask_get_prefix(loop, other, PREFIX, PATIENCE_MS);
    struct cluster_key keys[8];

    assert_true(a.kv_count <= ARRAY_LEN(keys));
    for (size_t i = 0; i < a.kv_count; i++)
        keys[i] = (struct cluster_key){
            .name = a.kvs[i].key + strlen(PREFIX),
            .value = a.kvs[i].value,
            .value_len = a.kvs[i].value_len,
            .mod_revision = a.kvs[i].mod_revision,
            .lease = a.kvs[i].lease,
        };
    cluster_free(TAKE(picture));
    picture = cluster_read(keys, a.kv_count, a.revision);
}

/* ---- tests ---- */

static void test_a_picture_from_before_a_refused_renewal_gives_no_ownership_back(void **state)
{
    take_picture();
    leadership_renew(leadership);
    until(has_lease, "a lease");
    leadership_acquire(leadership, 2, 0, ignore, NULL);
    until(owns, "ownership");
    take_picture();

    (void)ask_delete(loop, other, PREFIX "leader");
    leadership_renew(leadership);
    until(owns_not, "the refusal");
    assert_string_equal(picture->leader, "n1");
    leadership_observe(leadership);
    assert_false(lease().owner);

    take_picture();
    leadership_observe(leadership);
    assert_false(lease().owner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_picture_from_before_a_refused_renewal_gives_no_ownership_back, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
