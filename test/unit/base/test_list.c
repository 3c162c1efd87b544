#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int value;
    struct list link;
};

static int values(struct list *head)
{
    int digits = 0;

    LIST_EACH (it, tmp, head)
        digits = 10 * digits + LIST_ENTRY(it, struct item, link)->value;
    return digits;
}

static void setup(struct list *head, struct item *items, int count)
{
    list_init(head);
    for (int i = 0; i < count; i++) {
        items[i].value = i + 1;
        list_add_tail(head, &items[i].link);
    }
}

static void test_entries_come_in_the_order_of_adding(void **state)
{
    struct list head;
    struct item items[4];

    setup(&head, items, 4);
    assert_int_equal(values(&head), 1234);
}

static void test_a_list_without_entries_is_empty(void **state)
{
    struct list head;
    struct item items[1];

    setup(&head, items, 1);
    assert_false(list_empty(&head));
    list_remove(&items[0].link);
    assert_true(list_empty(&head));
    assert_int_equal(values(&head), 0);
}

static void test_removing_twice_is_harmless(void **state)
{
    struct list head;
    struct item items[3];

    setup(&head, items, 3);
    list_remove(&items[1].link);
    list_remove(&items[1].link);
    assert_int_equal(values(&head), 13);
}

static void test_an_entry_added_to_a_node_stands_before_it(void **state)
{
    struct list head;
    struct item items[3];

    setup(&head, items, 2);
    items[2].value = 9;
    list_add_tail(&items[1].link, &items[2].link);
    assert_int_equal(values(&head), 192);
}

static void test_the_current_entry_may_be_unlinked_in_a_walk(void **state)
{
    struct list head;
    struct item items[4];

    setup(&head, items, 4);
    LIST_EACH (it, tmp, &head) {
        if (LIST_ENTRY(it, struct item, link)->value % 2)
            list_remove(it);
    }
    assert_int_equal(values(&head), 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_come_in_the_order_of_adding),
        cmocka_unit_test(test_a_list_without_entries_is_empty),
        cmocka_unit_test(test_removing_twice_is_harmless),
        cmocka_unit_test(test_an_entry_added_to_a_node_stands_before_it),
        cmocka_unit_test(test_the_current_entry_may_be_unlinked_in_a_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
