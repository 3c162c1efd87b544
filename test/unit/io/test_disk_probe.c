/*
 * The disk probe on real folders, and as root on a file system that is frozen under it: what hangs there must hold up
 * neither us nor our end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "io/disk_probe.h"
#include "io/loop.h"

enum { EVERY_MS = 20, WAIT_MS = 10000, AT_ONCE_MS = 500 };

static struct loop *loop;
static struct disk_probe *probe;
static char folder[] = "/tmp/pgkeep-disk-XXXXXX";

static struct disk_probe_view look(void)
{
    struct disk_probe_view view;

    disk_probe_view(probe, &view);
    return view;
}

/* Until cond, which sees `view`. */
#define AWAIT(cond)                                     \
    do {                                                \
        msec end_ms = loop_clock_ms() + WAIT_MS;        \
        struct disk_probe_view view = look();           \
        while (!(cond)) {                               \
            if (loop_clock_ms() >= end_ms)              \
                fail_msg("waited too long for " #cond); \
            loop_turn(loop, 5);                         \
            view = look();                              \
        }                                               \
    } while (0)

static int setup(void **state)
{
    str_copy(folder, sizeof(folder), "/tmp/pgkeep-disk-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    loop = loop_new();
    probe = disk_probe_new(loop);
    return 0;
}

static int run(const char *command)
{
    AUTO(cstr) char *line = str_fmt("cd %s && (%s) >/dev/null 2>&1", folder, command);

    return system(line); /* NOLINT(cert-env33-c): the test's own commands */
}

static int teardown(void **state)
{
    disk_probe_free(probe);
    loop_free(loop);
    return run("rm -rf /tmp/${PWD##*/}");
}

static char *below(const char *name)
{
    return str_fmt("%s/%s", folder, name);
}

static void test_a_write_is_told_with_its_time_and_the_space_left(void **state)
{
    AUTO(cstr) char *file = below(DISK_PROBE_FILE);
    struct stat st;

    assert_false(look().known);
    disk_probe_watch(probe, folder, EVERY_MS);
    AWAIT(view.took_us > 0);
    assert_int_equal(look().error, 0);
    assert_true(look().total_bytes > 0);
    assert_true(look().free_bytes <= look().total_bytes);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, 4096);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_a_folder_behind_a_link_is_written_to(void **state)
{
    AUTO(cstr) char *link = below("pg_wal");
    AUTO(cstr) char *file = below("elsewhere/" DISK_PROBE_FILE);

    assert_int_equal(run("mkdir elsewhere && ln -s elsewhere pg_wal"), 0);
    disk_probe_watch(probe, link, EVERY_MS);
    AWAIT(view.took_us > 0 && !view.error);
    assert_int_equal(access(file, F_OK), 0);
}

static void test_a_folder_that_comes_later_is_found(void **state)
{
    AUTO(cstr) char *later = below("later");

    disk_probe_watch(probe, later, EVERY_MS);
    AWAIT(view.error == ENOENT);
    assert_int_equal(mkdir(later, 0700), 0);
    AWAIT(!view.error);
}

static void test_nothing_is_known_of_nowhere_and_nobody_writes_there(void **state)
{
    AUTO(cstr) char *file = below(DISK_PROBE_FILE);

    disk_probe_watch(probe, folder, EVERY_MS);
    AWAIT(view.took_us > 0);
    disk_probe_watch(probe, NULL, EVERY_MS);
    assert_false(look().known);
    loop_turn(loop, WAIT_MS); /* its end */
    assert_int_equal(unlink(file), 0);
    loop_turn(loop, 5 * EVERY_MS);
    assert_int_equal(access(file, F_OK), -1);
    disk_probe_watch(probe, folder, EVERY_MS);
    AWAIT(view.took_us > 0);
}

static pid_t writer_pid(void)
{
    AUTO(cstr) char *path = str_fmt("/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "re");
    int pid = 0;

    assert_non_null(children);
    assert_int_equal(fscanf(children, "%d", &pid), 1); /* NOLINT(cert-err34-c): the kernel's own number */
    (void)fclose(children);
    return pid;
}

static void test_a_writer_that_was_killed_is_replaced(void **state)
{
    disk_probe_watch(probe, folder, EVERY_MS);
    AWAIT(view.took_us > 0);
    pid_t first = writer_pid();
    assert_int_equal(kill(first, SIGKILL), 0);
    AWAIT(!view.known);
    AWAIT(view.took_us > 0);
    assert_int_not_equal(writer_pid(), first);
}

static void test_the_writer_holds_nothing_of_ours(void **state)
{
    disk_probe_watch(probe, folder, 5000); /* it sleeps now: no file of its own is open either */
    AWAIT(view.took_us > 0 && !view.under_way_ms);
    AUTO(cstr)
    char *count =
        str_fmt("test -z \"$(ls /proc/%d/fd)\" && test /proc/%d/cwd -ef /", (int)writer_pid(), (int)writer_pid());
    assert_int_equal(run(count), 0);
}

/* ---- a disk that hangs ---- */

static void freeze(void)
{
    if (geteuid() != 0 || run("truncate -s 32M image && mkfs.ext4 -q -m 0 image && mkdir disk && "
                              "mount -o loop image disk") != 0)
        skip(); /* needs root, and mounts */
    AUTO(cstr) char *disk = below("disk");
    disk_probe_watch(probe, disk, EVERY_MS);
    AWAIT(view.took_us > 0 && !view.error);
    assert_int_equal(run("fsfreeze --freeze disk"), 0);
}

static int thaw(void **state)
{
    if (run("mountpoint -q disk") == 0) {
        (void)run("fsfreeze --unfreeze disk"); /* the test may have done it */
        (void)run("umount --lazy disk");
    }
    return teardown(state);
}

static void test_a_disk_that_hangs_shows_and_holds_up_nothing(void **state)
{
    freeze();
    AWAIT(view.under_way_ms > 100);
    msec before_ms = loop_clock_ms();
    loop_turn(loop, 10);
    disk_probe_watch(probe, folder, EVERY_MS); /* another disk, which is well */
    AWAIT(view.took_us > 0 && !view.under_way_ms);
    assert_true(loop_clock_ms() - before_ms < AT_ONCE_MS);
}

static void test_a_disk_that_answers_again_shows_at_once(void **state)
{
    freeze();
    AWAIT(view.under_way_ms > 100);
    assert_int_equal(run("fsfreeze --unfreeze disk"), 0);
    msec before_ms = loop_clock_ms();
    AWAIT(!view.under_way_ms);
    assert_true(loop_clock_ms() - before_ms < AT_ONCE_MS);
    assert_true(look().took_us > 100 * 1000);
}

/* Its successor waits for that; with a thread in the write it would be until the thaw. */
static void test_a_program_that_is_killed_meanwhile_ends_at_once(void **state)
{
    freeze();
    AUTO(cstr) char *disk = below("disk");
    pid_t agent = fork();
    assert_true(agent >= 0);
    if (agent == 0) {
        struct loop *own = loop_new();
        disk_probe_watch(disk_probe_new(own), disk, EVERY_MS);
        loop_run(own);
    }
    loop_turn(loop, 200); /* for its writer to hang; ours already does */
    msec before_ms = loop_clock_ms();
    assert_int_equal(kill(agent, SIGKILL), 0);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    assert_true(loop_clock_ms() - before_ms < AT_ONCE_MS);
    before_ms = loop_clock_ms();
    disk_probe_free(TAKE(probe));
    assert_true(loop_clock_ms() - before_ms < AT_ONCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_write_is_told_with_its_time_and_the_space_left, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_folder_behind_a_link_is_written_to, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_folder_that_comes_later_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_known_of_nowhere_and_nobody_writes_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_writer_that_was_killed_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_writer_holds_nothing_of_ours, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_disk_that_hangs_shows_and_holds_up_nothing, setup, thaw),
        cmocka_unit_test_setup_teardown(test_a_disk_that_answers_again_shows_at_once, setup, thaw),
        cmocka_unit_test_setup_teardown(test_a_program_that_is_killed_meanwhile_ends_at_once, setup, thaw),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
