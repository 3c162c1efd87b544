/* Which slots a node makes, moves and drops for the other members. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/str.h"
#include "core/ha/slots.h"

struct fixture {
    struct cluster *cluster;
    struct ha_slots_memory memory;
    struct ha_slots_view view;
    struct ha_slots_plan plan;
};

static struct cluster *cluster_of(const char *status)
{
    struct cluster_key keys[] = {
        {.name = "members/n1", .value = "{\"state\":\"running\"}"},
        {.name = "members/db-02.site", .value = "{\"state\":\"running\"}"},
        {.name = "members/n3", .value = "{\"state\":\"running\",\"tags\":{\"nostream\":true}}"},
        {.name = "status", .value = status},
    };
    for (size_t i = 0; i < 4; i++)
        keys[i].value_len = strlen(keys[i].value);
    return cluster_read(keys, 4, 1);
}

static int setup(void **state)
{
    struct fixture *f = mem_zero(1, sizeof(*f));

    f->cluster = cluster_of("{\"optime\":900,\"slots\":{\"db_02_site\":500},\"retain_slots\":[\"old\"]}");
    f->view = (struct ha_slots_view){.now_ms = 1000,
                                     .name = "n1",
                                     .primary = true,
                                     .use_slots = true,
                                     .member_slots_ttl_ms = 60000,
                                     .position = 900,
                                     .cluster = f->cluster};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    cluster_free(f->cluster);
    free(f);
    return 0;
}

static void decide(struct fixture *f, const struct ha_slot *slots, size_t count)
{
    f->view.slots = slots;
    f->view.slot_count = count;
    ha_slots_decide(&f->memory, &f->view, &f->plan);
}

static void test_slot_is_created_for_each_other_streaming_member(void **state)
{
    struct fixture *f = *state;

    decide(f, NULL, 0);
    assert_int_equal(f->plan.count, 1);
    assert_int_equal(f->plan.acts[0].kind, HA_SLOT_CREATE);
    assert_string_equal(f->plan.acts[0].slot, "db_02_site");
}

static void test_unknown_slot_is_left_alone(void **state)
{
    struct fixture *f = *state;
    const struct ha_slot slots[] = {{.name = "db_02_site", .physical = true, .restart_lsn = 5},
                                    {.name = "backup_tool", .physical = true}};

    f->view.now_ms += 10000000;
    decide(f, slots, 2);
    assert_int_equal(f->plan.count, 0);
    assert_int_equal(f->plan.retain_count, 0);
}

static void test_slot_of_a_member_that_left_is_kept_for_its_ttl_and_then_dropped(void **state)
{
    struct fixture *f = *state;
    const struct ha_slot slots[] = {{.name = "db_02_site", .physical = true, .restart_lsn = 5},
                                    {.name = "old", .physical = true, .restart_lsn = 5}};

    decide(f, slots, 2);
    assert_int_equal(f->plan.count, 0);
    assert_int_equal(f->plan.retain_count, 1);
    assert_string_equal(f->plan.retain[0], "old");
    assert_int_equal(f->plan.wake_ms, 61000);

    f->view.now_ms = 61000;
    decide(f, slots, 2);
    assert_int_equal(f->plan.count, 1);
    assert_int_equal(f->plan.acts[0].kind, HA_SLOT_DROP);
    assert_string_equal(f->plan.acts[0].slot, "old");
}

static void test_slot_in_use_or_in_pause_is_not_dropped(void **state)
{
    struct fixture *f = *state;
    struct ha_slot slots[] = {{.name = "db_02_site", .physical = true, .restart_lsn = 5},
                              {.name = "old", .physical = true, .active = true}};

    decide(f, slots, 2);
    f->view.now_ms = 100000;
    decide(f, slots, 2);
    assert_int_equal(f->plan.count, 0);

    slots[1].active = false;
    f->view.pause = true;
    decide(f, slots, 2);
    assert_int_equal(f->plan.count, 0);
}

static void test_standby_moves_its_copy_to_the_published_position_but_not_beyond_its_own(void **state)
{
    struct fixture *f = *state;
    const struct ha_slot slots[] = {{.name = "db_02_site", .physical = true, .restart_lsn = 100}};

    f->view.primary = false;
    decide(f, slots, 1);
    assert_int_equal(f->plan.count, 1);
    assert_int_equal(f->plan.acts[0].kind, HA_SLOT_ADVANCE);
    assert_int_equal(f->plan.acts[0].to, 500);

    f->view.position = 300;
    decide(f, slots, 1);
    assert_int_equal(f->plan.acts[0].to, 300);

    f->view.position = 100;
    decide(f, slots, 1);
    assert_int_equal(f->plan.count, 0);
}

static void test_lost_slot_is_dropped_to_be_made_anew(void **state)
{
    struct fixture *f = *state;
    const struct ha_slot slots[] = {{.name = "db_02_site", .physical = true, .lost = true}};

    decide(f, slots, 1);
    assert_int_equal(f->plan.count, 1);
    assert_int_equal(f->plan.acts[0].kind, HA_SLOT_DROP);
}

static void test_permanent_slot_is_created_and_never_retired(void **state)
{
    struct fixture *f = *state;
    json_t *permanent =
        json_pack("{s:{s:s}, s:i, s:{s:s}}", "keep", "type", "physical", "old", 0, "logic", "type", "logical");
    const struct ha_slot slots[] = {{.name = "db_02_site", .physical = true, .restart_lsn = 5},
                                    {.name = "old", .physical = true}};

    f->view.permanent = permanent;
    f->view.now_ms = 1000;
    decide(f, slots, 2);
    f->view.now_ms = 1000000;
    decide(f, slots, 2);
    assert_int_equal(f->plan.count, 1);
    assert_int_equal(f->plan.acts[0].kind, HA_SLOT_CREATE);
    assert_string_equal(f->plan.acts[0].slot, "keep");
    json_decref(permanent);
}

/* It never leads, so it moves no copies; but members may stream from it. */
static void test_node_that_never_leads_has_slots_for_those_that_name_it_only(void **state)
{
    struct fixture *f = *state;
    struct cluster_key keys[] = {
        {.name = "members/n2", .value = "{\"state\":\"running\",\"tags\":{\"replicatefrom\":\"n1\"}}"},
        {.name = "members/n3", .value = "{\"state\":\"running\"}"},
        {.name = "members/n4", .value = "{\"state\":\"running\"}"},
    };
    const struct ha_slot slots[] = {{.name = "n3", .physical = true, .restart_lsn = 5},
                                    {.name = "n4", .physical = true, .restart_lsn = 5, .active = true}};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        keys[i].value_len = strlen(keys[i].value);
    cluster_free(f->cluster);
    f->view.cluster = f->cluster = cluster_read(keys, ARRAY_LEN(keys), 1);
    f->view.primary = false;
    f->view.nofailover = true;
    decide(f, slots, ARRAY_LEN(slots));
    assert_int_equal(f->plan.count, 2);
    assert_int_equal(f->plan.acts[0].kind, HA_SLOT_CREATE);
    assert_string_equal(f->plan.acts[0].slot, "n2");
    assert_int_equal(f->plan.acts[1].kind, HA_SLOT_DROP);
    assert_string_equal(f->plan.acts[1].slot, "n3"); /* of before it was tagged: it would keep WAL for ever */
}

static void test_ignored_slot_is_left_alone_whatever_it_is(void **state)
{
    struct fixture *f = *state;
    const struct ha_slot slots[] = {{.name = "db_02_site", .physical = true, .lost = true, .ignored = true},
                                    {.name = "old", .physical = true, .restart_lsn = 5, .ignored = true}};

    decide(f, slots, ARRAY_LEN(slots));
    f->view.now_ms = 1000000;
    decide(f, slots, ARRAY_LEN(slots));
    assert_int_equal(f->plan.count, 0);
}

static void test_nothing_is_done_without_use_slots(void **state)
{
    struct fixture *f = *state;

    f->view.use_slots = false;
    decide(f, NULL, 0);
    assert_int_equal(f->plan.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_slot_is_created_for_each_other_streaming_member),
        TEST(test_unknown_slot_is_left_alone),
        TEST(test_slot_of_a_member_that_left_is_kept_for_its_ttl_and_then_dropped),
        TEST(test_slot_in_use_or_in_pause_is_not_dropped),
        TEST(test_standby_moves_its_copy_to_the_published_position_but_not_beyond_its_own),
        TEST(test_lost_slot_is_dropped_to_be_made_anew),
        TEST(test_permanent_slot_is_created_and_never_retired),
        TEST(test_node_that_never_leads_has_slots_for_those_that_name_it_only),
        TEST(test_ignored_slot_is_left_alone_whatever_it_is),
        TEST(test_nothing_is_done_without_use_slots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
