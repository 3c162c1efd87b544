/*
 * What every store does, whatever it is made of: the tests of store.h's contract.
 *
 * A program that wants them provides contract_setup(), which opens contract.store on contract.loop.
 */
#pragma once

#include <stddef.h>

#include <stdarg.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/time.h"
#include "store/store.h"

struct contract {
    struct loop *loop;
    struct store *store;
    struct store *(*another)(void); /* a second client of the same store */
    void (*compact)(void);          /* forget the history up to now */
};
extern struct contract contract;

/* Gives each test a prefix of its own ("t<n>/"), which *state points to. */
int contract_test_setup(void **state);

#define CONTRACT_TESTS(X)                                                     \
    X(contract_an_empty_prefix_has_no_keys_and_a_revision)                    \
    X(contract_values_come_back_byte_for_byte)                                \
    X(contract_a_prefix_covers_its_keys_in_order_and_no_others)               \
    X(contract_revisions_tell_creation_from_change)                           \
    X(contract_of_two_who_create_a_key_one_succeeds)                          \
    X(contract_a_key_that_must_be_there_is_looked_for)                        \
    X(contract_a_change_since_the_read_is_noticed)                            \
    X(contract_a_value_is_compared_and_no_value_equals_none)                  \
    X(contract_all_compares_must_hold)                                        \
    X(contract_reads_of_a_transaction_come_back_in_order)                     \
    X(contract_deleting_takes_one_key_or_a_prefix)                            \
    X(contract_a_lease_is_granted_renewed_and_revoked_with_its_keys)          \
    X(contract_renewing_a_dead_lease_is_done_with_nothing_left)               \
    X(contract_a_put_on_a_dead_lease_refuses_the_whole_transaction)           \
    X(contract_a_key_changed_twice_refuses_the_whole_transaction)             \
    X(contract_a_lease_ends_and_its_keys_with_it)                             \
    X(contract_the_deadline_counts_from_before_the_request_was_sent)          \
    X(contract_a_watch_replays_from_its_revision_then_follows)                \
    X(contract_a_watch_from_the_next_revision_shows_only_what_is_new)         \
    X(contract_a_watch_shows_the_end_of_a_lease_as_deletions_of_one_revision) \
    X(contract_a_watch_that_wants_what_is_compacted_says_resync)              \
    X(contract_two_watches_are_told_the_same)                                 \
    X(contract_a_watch_may_be_stopped_from_inside_its_callback)               \
    X(contract_the_store_may_be_freed_from_inside_its_callbacks)              \
    X(contract_nothing_is_told_after_the_store_is_freed)                      \
    X(contract_arguments_are_copied)

#define CONTRACT_DECLARE(name) void name(void **state);
CONTRACT_TESTS(CONTRACT_DECLARE)
#undef CONTRACT_DECLARE

#define CONTRACT_ENTRY(name) cmocka_unit_test_setup(name, contract_test_setup),
