#include "io/loop.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"

/* What happened, as letters in order. */
static struct buf seen;

struct fixture {
    struct loop *loop;
    int near, far; /* a socket pair */
};

static int setup(void **state)
{
    static struct fixture f;
    int ends[2];

    f.loop = loop_new();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0)
        return -1;
    f.near = ends[0];
    f.far = ends[1];
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    loop_free(f->loop);
    (void)close(f->near);
    if (f->far >= 0)
        (void)close(f->far);
    buf_deinit(&seen);
    return 0;
}

static void note(const char *text)
{
    buf_add_str(&seen, text);
}

static void turns(struct loop *l, int count)
{
    for (int i = 0; i < count; i++)
        loop_turn(l, 0);
}

/* ---- timers ---- */

static void on_timer(void *arg)
{
    note(arg);
}

static void test_timers_run_by_time_and_equal_times_in_the_order_of_setting(void **state)
{
    struct fixture *f = *state;
    static char names[4][2] = {"a", "b", "c", "d"};
    struct loop_timer t[4];
    msec now_ms = loop_clock_ms();

    for (int i = 0; i < 4; i++)
        loop_timer_init(&t[i], f->loop, on_timer, names[i]);
    loop_timer_set(&t[0], now_ms - 1);
    loop_timer_set(&t[1], now_ms - 5);
    loop_timer_set(&t[2], now_ms - 1);
    loop_timer_set(&t[3], now_ms - 3);
    turns(f->loop, 1);
    assert_string_equal(buf_cstr(&seen), "bdac");
    assert_true(t[0].at_ms == MSEC_NEVER);
}

static void test_timers_that_need_not_be_exact_share_their_moments(void **state)
{
    struct fixture *f = *state;
    struct loop_timer t;
    msec now_ms = loop_clock_ms();

    loop_timer_init(&t, f->loop, on_timer, (char[]){"x"});
    loop_timer_set_about(&t, now_ms + 2 * LOOP_GRID_MS);
    msec shared = t.at_ms % LOOP_GRID_MS;
    for (msec after_ms = LOOP_GRID_MS; after_ms < 3 * LOOP_GRID_MS; after_ms += LOOP_GRID_MS / 7) {
        loop_timer_set_about(&t, now_ms + after_ms);
        assert_int_equal(t.at_ms % LOOP_GRID_MS, shared);
        assert_in_range(t.at_ms, now_ms + after_ms - LOOP_GRID_MS + 1, now_ms + after_ms);
    }
    /* Nothing is shared before it is due. */
    loop_timer_set_about(&t, now_ms - 1);
    assert_int_equal(t.at_ms, now_ms - 1);
    loop_timer_clear(&t);
}

static void test_a_timer_never_runs_early_and_ends_the_wait(void **state)
{
    struct fixture *f = *state;
    struct loop_timer t;
    msec at_ms = loop_clock_ms() + 60;

    loop_timer_init(&t, f->loop, on_timer, (char[]){"x"});
    loop_timer_set(&t, at_ms);
    while (!seen.len) {
        loop_turn(f->loop, 10000);
        if (seen.len)
            assert_true(loop_clock_ms() >= at_ms);
    }
    assert_true(loop_clock_ms() < at_ms + 5000);
}

static void test_setting_again_replaces_and_clearing_forgets(void **state)
{
    struct fixture *f = *state;
    struct loop_timer t;

    loop_timer_init(&t, f->loop, on_timer, (char[]){"x"});
    loop_timer_set(&t, loop_clock_ms() - 1);
    loop_timer_set(&t, loop_clock_ms() + 100000);
    turns(f->loop, 2);
    assert_int_equal(seen.len, 0);
    loop_timer_set(&t, loop_clock_ms() - 1);
    loop_timer_clear(&t);
    loop_timer_clear(&t);
    turns(f->loop, 2);
    assert_int_equal(seen.len, 0);
    loop_timer_set(&t, loop_clock_ms() - 1);
    loop_timer_set(&t, MSEC_NEVER);
    turns(f->loop, 2);
    assert_int_equal(seen.len, 0);
}

static struct loop_timer other, self;

static void clear_the_other(void *arg)
{
    note("1");
    loop_timer_clear(&other);
}

static void test_a_due_timer_cleared_by_an_earlier_one_does_not_run(void **state)
{
    struct fixture *f = *state;

    loop_timer_init(&self, f->loop, clear_the_other, NULL);
    loop_timer_init(&other, f->loop, on_timer, (char[]){"2"});
    loop_timer_set(&self, 1);
    loop_timer_set(&other, 2);
    turns(f->loop, 2);
    assert_string_equal(buf_cstr(&seen), "1");
}

static void set_again(void *arg)
{
    note("t");
    loop_timer_set(&self, 1);
}

static void on_readable(int fd, unsigned int ready, void *arg)
{
    note("r");
}

static void test_a_timer_that_sets_itself_to_now_does_not_starve_descriptors(void **state)
{
    struct fixture *f = *state;
    struct loop_fd *watch = loop_fd_add(f->loop, f->near, LOOP_READ, on_readable, NULL);

    loop_timer_init(&self, f->loop, set_again, NULL);
    loop_timer_set(&self, 1);
    assert_int_equal(write(f->far, "x", 1), 1);
    turns(f->loop, 3);
    assert_string_equal(buf_cstr(&seen), "trtrtr"); /* and the deadline comes first */
    loop_fd_remove(watch);
    loop_timer_clear(&self);
}

/* Suspend cannot be had in a test; what can be shown is that both clocks are the one that goes on. */
static void test_the_clock_and_the_wait_go_on_in_suspend(void **state)
{
    struct timespec before, after;
    bool found = false;

    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &before), 0);
    msec now_ms = loop_clock_ms();
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &after), 0);
    assert_true(now_ms >= before.tv_sec * 1000 + before.tv_nsec / 1000000);
    assert_true(now_ms <= after.tv_sec * 1000 + after.tv_nsec / 1000000);

    DIR *dir = opendir("/proc/self/fdinfo");
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char path[300];
        char text[1024] = "";
        (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", e->d_name);
        FILE *info = fopen(path, "r");
        if (!info)
            continue;
        size_t len = fread(text, 1, sizeof(text) - 1, info);
        text[len] = '\0';
        (void)fclose(info);
        char want[32];
        (void)snprintf(want, sizeof(want), "clockid: %d\n", CLOCK_BOOTTIME);
        found |= strstr(text, want) != NULL;
    }
    (void)closedir(dir);
    assert_true(found);
}

/* ---- descriptors ---- */

static void on_ready(int fd, unsigned int ready, void *arg)
{
    note(ready == LOOP_READ ? "r" : ready == LOOP_WRITE ? "w" : "rw");
}

static void test_a_descriptor_is_reported_for_what_was_asked_until_it_is_served(void **state)
{
    struct fixture *f = *state;
    char byte;
    struct loop_fd *watch = loop_fd_add(f->loop, f->near, LOOP_READ, on_ready, NULL);

    turns(f->loop, 1);
    assert_string_equal(buf_cstr(&seen), "");
    assert_int_equal(write(f->far, "x", 1), 1);
    turns(f->loop, 2);
    assert_string_equal(buf_cstr(&seen), "rr");
    loop_fd_events(watch, LOOP_READ | LOOP_WRITE);
    turns(f->loop, 1);
    assert_string_equal(buf_cstr(&seen), "rrrw");
    assert_int_equal(read(f->near, &byte, 1), 1);
    turns(f->loop, 1);
    assert_string_equal(buf_cstr(&seen), "rrrww");
    loop_fd_remove(watch);
}

static void test_a_hang_up_shows_as_both_and_not_at_all_when_nothing_is_asked(void **state)
{
    struct fixture *f = *state;
    struct loop_fd *watch = loop_fd_add(f->loop, f->near, 0, on_ready, NULL);

    (void)close(f->far);
    f->far = -1;
    turns(f->loop, 2);
    assert_string_equal(buf_cstr(&seen), "");
    loop_fd_events(watch, LOOP_READ);
    turns(f->loop, 1);
    assert_string_equal(buf_cstr(&seen), "rw");
    loop_fd_events(watch, 0);
    turns(f->loop, 1);
    assert_string_equal(buf_cstr(&seen), "rw");
    loop_fd_remove(watch);
}

static struct loop_fd *pair[2];

static void remove_both(int fd, unsigned int ready, void *arg)
{
    note("x");
    loop_fd_remove(pair[0]);
    loop_fd_remove(pair[1]);
}

static void test_a_callback_may_remove_itself_and_others_that_are_ready_in_the_same_turn(void **state)
{
    struct fixture *f = *state;

    pair[0] = loop_fd_add(f->loop, f->near, LOOP_WRITE, remove_both, NULL);
    pair[1] = loop_fd_add(f->loop, f->far, LOOP_WRITE, remove_both, NULL);
    turns(f->loop, 3);
    assert_string_equal(buf_cstr(&seen), "x");
}

static void replace(int fd, unsigned int ready, void *arg)
{
    struct fixture *f = arg;
    int number = f->far;
    int ends[2];

    /* The other descriptor is ready too; its number now means something that is not. */
    note("x");
    loop_fd_remove(pair[0]);
    loop_fd_remove(pair[1]);
    (void)close(number);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(ends[0], number);
    pair[0] = loop_fd_add(f->loop, ends[0], LOOP_READ, on_ready, NULL);
    (void)close(f->near);
    f->near = ends[1];
}

static void test_a_reused_descriptor_number_gets_no_event_of_its_predecessor(void **state)
{
    struct fixture *f = *state;

    pair[0] = loop_fd_add(f->loop, f->near, LOOP_WRITE, replace, f);
    pair[1] = loop_fd_add(f->loop, f->far, LOOP_WRITE, replace, f);
    turns(f->loop, 3);
    assert_string_equal(buf_cstr(&seen), "x");
    loop_fd_remove(pair[0]);
}

static void remove_by_timer(void *arg)
{
    note("t");
    loop_fd_remove(pair[0]);
}

static void test_a_descriptor_removed_by_a_timer_of_the_turn_is_not_reported(void **state)
{
    struct fixture *f = *state;

    pair[0] = loop_fd_add(f->loop, f->near, LOOP_WRITE, on_ready, NULL);
    loop_timer_init(&self, f->loop, remove_by_timer, NULL);
    loop_timer_set(&self, 1);
    turns(f->loop, 2);
    assert_string_equal(buf_cstr(&seen), "t");
}

static void dropped(void *arg)
{
    note("dropped");
}

static void test_what_nobody_owns_is_dropped_with_the_loop(void **state)
{
    struct loop *l = loop_new();
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    loop_fd_on_loop_free(loop_fd_add(l, ends[0], LOOP_READ, on_ready, NULL), dropped);
    loop_free(l);
    assert_string_equal(buf_cstr(&seen), "dropped");
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* ---- deferred calls, signals, running ---- */

static struct loop *deferring;

static void defer_once_more(void *arg)
{
    static char three[] = "3";

    note(arg);
    loop_defer(deferring, on_timer, three);
}

static void test_deferred_calls_run_in_order_before_the_next_wait(void **state)
{
    struct fixture *f = *state;

    deferring = f->loop;
    loop_defer(f->loop, defer_once_more, (char[]){"1"});
    loop_defer(f->loop, on_timer, (char[]){"2"});
    assert_string_equal(buf_cstr(&seen), "");
    loop_turn(f->loop, MSEC_NEVER); /* would hang if it waited */
    assert_string_equal(buf_cstr(&seen), "12");
    loop_turn(f->loop, MSEC_NEVER);
    assert_string_equal(buf_cstr(&seen), "123");
}

static void on_signal(int signo, void *arg)
{
    note(signo == SIGUSR1 ? "u" : "?");
}

static void test_a_signal_is_a_callback_and_is_let_go_again(void **state)
{
    struct fixture *f = *state;
    sigset_t now;
    struct loop_signal *s = loop_signal_add(f->loop, SIGUSR1, on_signal, NULL);

    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    turns(f->loop, 2);
    assert_string_equal(buf_cstr(&seen), "u");

    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    loop_signal_remove(s); /* the pending one would end us */
    turns(f->loop, 1);
    assert_string_equal(buf_cstr(&seen), "u");
    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &now), 0);
    assert_false(sigismember(&now, SIGUSR1));
}

static struct loop_signal *own;

static void remove_own(int signo, void *arg)
{
    note("s");
    loop_signal_remove(own);
}

static void test_a_signal_callback_may_remove_itself(void **state)
{
    struct fixture *f = *state;

    own = loop_signal_add(f->loop, SIGUSR2, remove_own, NULL);
    assert_int_equal(kill(getpid(), SIGUSR2), 0);
    turns(f->loop, 2);
    assert_string_equal(buf_cstr(&seen), "s");
}

static void stop_from_within(void *arg)
{
    note("stop");
    loop_stop(arg);
}

static void test_run_ends_with_stop_and_can_be_run_again(void **state)
{
    struct fixture *f = *state;

    loop_defer(f->loop, stop_from_within, f->loop);
    loop_run(f->loop);
    loop_defer(f->loop, stop_from_within, f->loop);
    loop_run(f->loop);
    loop_stop(f->loop);
    loop_run(f->loop); /* stopped before it began */
    assert_string_equal(buf_cstr(&seen), "stopstop");
}

static void test_a_writer_whose_reader_is_gone_gets_an_error_not_a_signal(void **state)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    (void)close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1);
    (void)close(ends[1]);
}

/* ---- lateness ---- */

static void sleep_60_ms(void *arg)
{
    (void)arg;
    (void)usleep(60 * 1000);
}

static void note_gap(void *arg)
{
    note(loop_resumed_ms(arg) ? "g" : "-");
}

static void test_a_callback_that_blocks_shows_as_lateness_once(void **state)
{
    struct fixture *f = *state;
    struct loop_timer slow;

    loop_timer_init(&slow, f->loop, sleep_60_ms, NULL);
    loop_timer_set(&slow, loop_clock_ms());
    turns(f->loop, 2);
    assert_true(loop_take_lag_ms(f->loop) >= 50);
    turns(f->loop, 2);
    assert_true(loop_take_lag_ms(f->loop) < 50);
    assert_true(loop_resumed_ms(f->loop) == 0);
}

static void test_a_long_wait_for_a_descriptor_is_no_lateness(void **state)
{
    struct fixture *f = *state;
    struct loop_timer later;

    static char letter[] = "t";
    loop_timer_init(&later, f->loop, on_timer, letter);
    loop_timer_set(&later, loop_clock_ms() + 60);
    while (!seen.len)
        loop_turn(f->loop, 100);
    assert_true(loop_take_lag_ms(f->loop) < 50);
    loop_timer_set(&later, loop_clock_ms() - 5000); /* long past when it was set: nobody was late */
    turns(f->loop, 1);
    assert_true(loop_take_lag_ms(f->loop) < 50);
}

/* Ours, from outside, for 200 ms. */
static void stop_us(void)
{
    pid_t us = getpid();
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        (void)kill(us, SIGSTOP);
        (void)usleep(200 * 1000);
        (void)kill(us, SIGCONT);
        _exit(0);
    }
}

static void test_after_a_stop_the_first_callback_knows_of_the_gap(void **state)
{
    struct fixture *f = *state;
    struct loop_timer due;

    loop_set_gap(f->loop, 100);
    loop_timer_init(&due, f->loop, note_gap, f->loop);
    loop_timer_set(&due, loop_clock_ms() + 50);
    stop_us();
    while (!seen.len)
        loop_turn(f->loop, 1000);
    assert_string_equal(buf_cstr(&seen), "g");
    assert_true(loop_clock_ms() - loop_resumed_ms(f->loop) < 100);
    assert_true(loop_take_lag_ms(f->loop) >= 100);
    (void)wait(NULL);
}

static void test_after_a_callback_that_blocks_what_was_deferred_knows_of_the_gap(void **state)
{
    struct fixture *f = *state;
    struct loop_timer slow;

    loop_set_gap(f->loop, 50);
    loop_timer_init(&slow, f->loop, sleep_60_ms, NULL);
    loop_timer_set(&slow, loop_clock_ms());
    loop_defer(f->loop, note_gap, f->loop);
    turns(f->loop, 1);
    assert_string_equal(buf_cstr(&seen), "g");
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_timers_run_by_time_and_equal_times_in_the_order_of_setting),
        LOOP_TEST(test_timers_that_need_not_be_exact_share_their_moments),
        LOOP_TEST(test_a_timer_never_runs_early_and_ends_the_wait),
        LOOP_TEST(test_setting_again_replaces_and_clearing_forgets),
        LOOP_TEST(test_a_due_timer_cleared_by_an_earlier_one_does_not_run),
        LOOP_TEST(test_a_timer_that_sets_itself_to_now_does_not_starve_descriptors),
        LOOP_TEST(test_the_clock_and_the_wait_go_on_in_suspend),
        LOOP_TEST(test_a_descriptor_is_reported_for_what_was_asked_until_it_is_served),
        LOOP_TEST(test_a_hang_up_shows_as_both_and_not_at_all_when_nothing_is_asked),
        LOOP_TEST(test_a_callback_may_remove_itself_and_others_that_are_ready_in_the_same_turn),
        LOOP_TEST(test_a_reused_descriptor_number_gets_no_event_of_its_predecessor),
        LOOP_TEST(test_a_descriptor_removed_by_a_timer_of_the_turn_is_not_reported),
        LOOP_TEST(test_what_nobody_owns_is_dropped_with_the_loop),
        LOOP_TEST(test_deferred_calls_run_in_order_before_the_next_wait),
        LOOP_TEST(test_a_signal_is_a_callback_and_is_let_go_again),
        LOOP_TEST(test_a_signal_callback_may_remove_itself),
        LOOP_TEST(test_run_ends_with_stop_and_can_be_run_again),
        LOOP_TEST(test_a_writer_whose_reader_is_gone_gets_an_error_not_a_signal),
        LOOP_TEST(test_a_callback_that_blocks_shows_as_lateness_once),
        LOOP_TEST(test_a_long_wait_for_a_descriptor_is_no_lateness),
        LOOP_TEST(test_after_a_stop_the_first_callback_knows_of_the_gap),
        LOOP_TEST(test_after_a_callback_that_blocks_what_was_deferred_knows_of_the_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
