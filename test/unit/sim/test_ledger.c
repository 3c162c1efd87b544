/* What the ledger finds, and what it lets pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "test/sim/ledger.h"
#include "test/sim/net.h"
#include "test/unit/sim/trio.h"

static void start_quorum(const char *names)
{
    trio_start(names);
    ledger_init(NULL);
    ledger_quorum(true);
}

static void stream_of_tools(void)
{
    walstream_tool(&trio[N1], &world.hosts[OPERATOR], "n3", NULL);
    trio_run_ms(1000);
}

/* n2 is promoted and opened with a list of its own, without its being frozen, or n3's. */
static void promote_unfrozen(void)
{
    trio_upstream(N2, NOBODY);
    trio_names(N2, "");
    trio_reload(N2);
    trio_run_ms(5000);
    trio_promote(N2);
}

TRIO_FINDS(test_acknowledged_commit_that_a_later_primary_has_not_is_found, "S1")
{
    start_quorum("ANY 1 (n2, n3)");
    promote_unfrozen();
    struct wish *w = trio_write(N1);
    trio_run_ms(1000);
    EXPECT(w->told);
    (void)trio_write(N2);
    trio_run_ms(1000);
}

TRIO_FINDS(test_node_that_is_opened_without_what_was_acknowledged_is_found, "S1")
{
    start_quorum("ANY 1 (n2, n3)");
    promote_unfrozen();
    struct wish *w = trio_write(N1);
    trio_run_ms(1000);
    EXPECT(w->told);
    ledger_opens(&trio[N2]);
}

TRIO_FINDS(test_old_primary_that_acknowledges_beyond_the_frozen_position_is_found, "S2'")
{
    start_quorum("ANY 1 (n2, n3)");
    (void)trio_write(N1);
    trio_run_ms(1000);
    promote_unfrozen();
    struct wish *w = trio_write(N2);
    trio_run_ms(1000);
    EXPECT(w->told);
    (void)trio_write(N1);
    trio_run_ms(1000);
}

/* The reply was on its way; n2, where it came from, has the commit and leads by now. */
TRIO_TEST(test_late_acknowledgement_of_what_the_new_primary_has_is_let_pass)
{
    start_quorum("ANY 1 (n2, n3)");
    trio_freeze(N3);
    struct wish *first = trio_write(N1);
    trio_run_ms(1000);
    EXPECT(first->told);
    struct wish *w = trio_write(N1);
    while (!wal_leads_to(w->commit, trio[N2].disk.flushed))
        world_run(world.now + 10);
    host_freeze(trio[N1].host);
    trio_freeze(N2);
    trio_names(N2, "");
    trio_reload(N2);
    trio_run_ms(5000);
    trio_promote(N2);
    struct wish *new = trio_write(N2);
    trio_run_ms(1000);
    EXPECT(new->told && !w->told);
    host_thaw(trio[N1].host);
    trio_run_ms(1000);
    EXPECT(w->told);
}

TRIO_FINDS(test_two_that_acknowledge_at_one_moment_are_found_in_asynchronous_mode, "N8")
{
    trio_start("");
    ledger_init(NULL);
    promote_unfrozen();
    for (int i = 0; i < 2; i++) {
        (void)trio_write(N1);
        trio_run_ms(100);
        (void)trio_write(N2);
        trio_run_ms(100);
    }
}

TRIO_FINDS(test_name_that_is_counted_twice_for_long_is_found, "N4")
{
    start_quorum("ANY 2 (n2, n3)");
    walstream_tool(&trio[N1], &world.hosts[OPERATOR], "n2", NULL);
    for (int i = 0; i < 400; i++) {
        (void)trio_write(N1);
        trio_run_ms(100);
    }
}

TRIO_TEST(test_name_that_is_counted_twice_for_a_moment_is_counted_only)
{
    start_quorum("ANY 2 (n2, n3)");
    walstream_tool(&trio[N1], &world.hosts[OPERATOR], "n2", NULL);
    for (int i = 0; i < 100; i++) {
        (void)trio_write(N1);
        trio_run_ms(100);
    }
    EXPECT(book.doubled > 0);
}

/* Somebody lets a tool go by the name of a member: what that alone has is nobody's promise. */
TRIO_TEST(test_what_a_tool_acknowledged_alone_is_no_promise)
{
    start_quorum("ANY 1 (n2, n3)");
    proc_stop(&trio[N2].backends);
    proc_stop(&trio[N3].backends);
    stream_of_tools();
    struct wish *w = trio_write(N1);
    trio_run_ms(1000);
    EXPECT(w->told && book.by_tools == 1 && book.promised == 0);
    proc_continue(&trio[N2].backends);
    trio_run_ms(5000);
    w = trio_write(N1);
    trio_run_ms(1000);
    EXPECT(w->told && book.by_tools == 1 && book.promised == 1);
}

TRIO_FINDS(test_instance_that_is_called_stopped_and_has_orphans_is_found, "N5")
{
    trio_start("");
    pg_kill_postmaster(&trio[N1]);
    ledger_stopped(&trio[N1]);
}

TRIO_TEST(test_commit_that_was_never_acknowledged_may_be_lost)
{
    start_quorum("ANY 1 (n2, n3)");
    struct wish *first = trio_write(N1);
    trio_run_ms(1000);
    EXPECT(first->told);
    trio_freeze(N2);
    trio_freeze(N3);
    struct wish *w = trio_write(N1);
    trio_run_ms(1000);
    EXPECT(!w->told);
    trio_names(N2, "");
    trio_reload(N2);
    trio_run_ms(5000);
    trio_promote(N2);
    struct wish *new = trio_write(N2);
    trio_run_ms(1000);
    EXPECT(new->told &&ledger_lost(&trio[N2]) == 0);
    EXPECT(!wal_leads_to(w->commit, trio[N2].disk.written));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acknowledged_commit_that_a_later_primary_has_not_is_found),
        cmocka_unit_test(test_node_that_is_opened_without_what_was_acknowledged_is_found),
        cmocka_unit_test(test_old_primary_that_acknowledges_beyond_the_frozen_position_is_found),
        cmocka_unit_test(test_late_acknowledgement_of_what_the_new_primary_has_is_let_pass),
        cmocka_unit_test(test_two_that_acknowledge_at_one_moment_are_found_in_asynchronous_mode),
        cmocka_unit_test(test_name_that_is_counted_twice_for_long_is_found),
        cmocka_unit_test(test_name_that_is_counted_twice_for_a_moment_is_counted_only),
        cmocka_unit_test(test_what_a_tool_acknowledged_alone_is_no_promise),
        cmocka_unit_test(test_instance_that_is_called_stopped_and_has_orphans_is_found),
        cmocka_unit_test(test_commit_that_was_never_acknowledged_may_be_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
