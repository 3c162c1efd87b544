#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"
#include "io/loop.h"
#include "io/mailbox.h"

enum { SENDERS = 4, LETTERS_EACH = 5000, TURN_MS = 1000 };

struct note {
    struct letter letter;
    int sender, number;
};

struct inbox {
    struct mailbox *box;
    int count;
    int next[SENDERS]; /* the number expected from each */
    bool out_of_order;
    pthread_t thread; /* where letters must arrive */
    bool wrong_thread;
    int echoes; /* letters to send again from inside the callback */
};

static void take(struct letter *letter, void *arg)
{
    struct note *note = LIST_ENTRY(letter, struct note, letter.link);
    struct inbox *in = arg;

    in->count++;
    in->wrong_thread = in->wrong_thread || !pthread_equal(pthread_self(), in->thread);
    in->out_of_order = in->out_of_order || note->number != in->next[note->sender];
    in->next[note->sender]++;
    if (in->echoes > 0) {
        in->echoes--;
        note->number = in->next[note->sender];
        assert_true(mailbox_send(in->box, &note->letter));
    } else {
        free(note);
    }
}

static struct note *note_new(int sender, int number)
{
    struct note *note = mem_zero(1, sizeof(*note));

    *note = (struct note){.sender = sender, .number = number};
    list_init(&note->letter.link);
    return note;
}

struct sender {
    struct mailbox *box;
    int id;
};

static void *send_many(void *arg)
{
    const struct sender *me = arg;

    for (int i = 0; i < LETTERS_EACH; i++) {
        struct note *note = note_new(me->id, i);
        while (!mailbox_send(me->box, &note->letter))
            (void)usleep(100); /* full: the reader is behind */
    }
    return NULL;
}

static void test_letters_of_many_threads_arrive_once_and_in_order_in_the_loop(void **state)
{
    AUTO(loop) struct loop *loop = loop_new();
    struct inbox in = {.thread = pthread_self()};
    AUTO(mailbox) struct mailbox *box = mailbox_new(loop, take, &in);
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];

    (void)state;
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.box = box, .id = i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    for (int turns = 0; in.count < SENDERS * LETTERS_EACH && turns < SENDERS * LETTERS_EACH; turns++)
        loop_turn(loop, TURN_MS);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);

    assert_int_equal(in.count, SENDERS * LETTERS_EACH);
    assert_false(in.out_of_order);
    assert_false(in.wrong_thread);
}

static void test_a_full_mailbox_refuses_and_takes_again_when_emptied(void **state)
{
    AUTO(loop) struct loop *loop = loop_new();
    struct inbox in = {.thread = pthread_self()};
    AUTO(mailbox) struct mailbox *box = mailbox_new(loop, take, &in);
    struct note *late = note_new(0, MAILBOX_MAX);

    (void)state;
    for (int i = 0; i < MAILBOX_MAX; i++)
        assert_true(mailbox_send(box, &note_new(0, i)->letter));
    assert_false(mailbox_send(box, &late->letter));

    loop_turn(loop, 0);
    assert_int_equal(in.count, MAILBOX_MAX);
    assert_true(mailbox_send(box, &late->letter));
    loop_turn(loop, 0);
    assert_int_equal(in.count, MAILBOX_MAX + 1);
}

static void test_a_letter_sent_while_delivering_comes_with_the_next_turn(void **state)
{
    AUTO(loop) struct loop *loop = loop_new();
    struct inbox in = {.thread = pthread_self(), .echoes = 2};
    AUTO(mailbox) struct mailbox *box = mailbox_new(loop, take, &in);

    (void)state;
    in.box = box;
    assert_true(mailbox_send(box, &note_new(0, 0)->letter));
    loop_turn(loop, 0);
    assert_int_equal(in.count, 1);
    loop_turn(loop, 0);
    assert_int_equal(in.count, 2);
    loop_turn(loop, 0);
    assert_int_equal(in.count, 3);
}

static void test_letters_that_wait_are_delivered_before_the_mailbox_goes(void **state)
{
    AUTO(loop) struct loop *loop = loop_new();
    struct inbox in = {.thread = pthread_self()};
    struct mailbox *box = mailbox_new(loop, take, &in);

    (void)state;
    assert_true(mailbox_send(box, &note_new(0, 0)->letter));
    assert_true(mailbox_send(box, &note_new(0, 1)->letter));
    mailbox_free(box);
    assert_int_equal(in.count, 2);
    loop_turn(loop, 0); /* nothing is left in the loop that could call us */
    assert_int_equal(in.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters_of_many_threads_arrive_once_and_in_order_in_the_loop),
        cmocka_unit_test(test_a_full_mailbox_refuses_and_takes_again_when_emptied),
        cmocka_unit_test(test_a_letter_sent_while_delivering_comes_with_the_next_turn),
        cmocka_unit_test(test_letters_that_wait_are_delivered_before_the_mailbox_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
