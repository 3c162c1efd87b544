/* The data directory: what it is taken for, marked, moved aside, removed, filled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "config.h"
#include "io/loop.h"
#include "pg/datadir.h"
#include "pg/file.h"
#include "pg/history.h"

enum { WALL_MS = 1795507200 }; /* × 1000: 2026-11-24T08:00:00Z */

struct place {
    char *folder, *data, *state;
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    p->folder = config_folder();
    p->data = str_fmt("%s/data", p->folder);
    p->state = str_fmt("%s/state", p->folder);
    assert_int_equal(mkdir(p->state, 0700), 0);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;

    config_remove_folder(p->folder);
    free(p->data);
    free(p->state);
    free(p);
    return 0;
}

static void put(const char *folder, const char *name, const char *text)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", folder, name);

    config_spill(path, text);
}

static bool has(const char *folder, const char *name)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", folder, name);
    struct stat st;

    return lstat(path, &st) == 0;
}

static void make_dir(const char *folder, const char *name)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", folder, name);

    assert_int_equal(mkdir(path, 0700), 0);
}

/* As much of a data directory as is looked at. */
static void make_cluster(const struct place *p)
{
    assert_int_equal(mkdir(p->data, 0700), 0);
    put(p->data, "PG_VERSION", "15\n");
    make_dir(p->data, "global");
    put(p->data, "global/pg_control", "x");
    make_dir(p->data, "pg_tblspc");
}

static enum datadir_kind kind_of(const struct place *p)
{
    struct datadir_state s;

    datadir_look(p->data, p->state, &s, NULL);
    return s.kind;
}

static void test_a_directory_is_what_is_in_it(void **state)
{
    struct place *p = *state;

    assert_int_equal(kind_of(p), DATADIR_ABSENT);
    assert_int_equal(mkdir(p->data, 0700), 0);
    assert_int_equal(kind_of(p), DATADIR_EMPTY);
    make_dir(p->data, "lost+found");
    assert_int_equal(kind_of(p), DATADIR_EMPTY);
    put(p->data, "PG_VERSION", "15\n");
    assert_int_equal(kind_of(p), DATADIR_FOREIGN);
    make_dir(p->data, "global");
    put(p->data, "global/pg_control", "x");
    assert_int_equal(kind_of(p), DATADIR_VALID);
    assert_true(datadir_mark(p->state, DATADIR_MARK_CLONE, NULL));
    assert_int_equal(kind_of(p), DATADIR_HALF);
    assert_true(datadir_unmark(p->state, NULL));
    assert_int_equal(kind_of(p), DATADIR_VALID);
}

static void test_a_file_in_its_place_is_foreign(void **state)
{
    struct place *p = *state;

    config_spill(p->data, "not a folder");
    assert_int_equal(kind_of(p), DATADIR_FOREIGN);
}

static void test_an_unreadable_directory_is_not_taken_for_empty(void **state)
{
    struct place *p = *state;
    struct datadir_state s;
    struct err err;

    make_cluster(p);
    assert_int_equal(chmod(p->data, 0), 0);
    datadir_look(p->data, p->state, &s, &err);
    assert_int_equal(chmod(p->data, 0700), 0);
    assert_int_equal(s.kind, DATADIR_UNREADABLE);
    assert_int_equal(err.code, ERR_SYS);
}

/* Neither half a clone for a whole one, nor a database for files of somebody else's. */
static void test_what_decides_and_cannot_be_looked_at_makes_it_unreadable(void **state)
{
    struct place *p = *state;
    AUTO(cstr) char *global = str_fmt("%s/global", p->data);
    AUTO(cstr) char *version = str_fmt("%s/PG_VERSION", p->data);

    make_cluster(p);
    assert_true(datadir_mark(p->state, DATADIR_MARK_CLONE, NULL));
    assert_int_equal(chmod(p->state, 0), 0);
    assert_int_equal(kind_of(p), DATADIR_UNREADABLE);
    assert_int_equal(chmod(p->state, 0700), 0);
    assert_true(datadir_unmark(p->state, NULL));

    assert_int_equal(chmod(global, 0), 0);
    assert_int_equal(kind_of(p), DATADIR_UNREADABLE);
    assert_int_equal(chmod(global, 0700), 0);
    assert_int_equal(chmod(version, 0), 0);
    assert_int_equal(kind_of(p), DATADIR_UNREADABLE);
    assert_int_equal(chmod(version, 0600), 0);
    assert_int_equal(kind_of(p), DATADIR_VALID);
}

/* Numbers that were skipped on the way to a real one stay: standbys count upwards over them. */
static void test_empty_histories_go_only_above_the_newest_real_one(void **state)
{
    struct place *p = *state;
    AUTO(cstr) char *wal = str_fmt("%s/pg_wal", p->data);
    uint32_t newest = 0;

    make_cluster(p);
    assert_true(datadir_clear_promote(p->data, NULL)); /* no folder */
    assert_int_equal(mkdir(wal, 0700), 0);
    put(wal, "00000002.history", "");
    put(wal, "00000003.history", "1\t0/3000000\tno recovery target specified\n");
    put(wal, "00000004.history", "");
    put(wal, "00000005.history", "");
    assert_true(datadir_clear_promote(p->data, NULL));
    assert_true(history_newest(p->data, &newest, NULL));
    assert_int_equal(newest, 3);
    AUTO(cstr) char *skipped = str_fmt("%s/00000002.history", wal);
    assert_true(file_exists(skipped));
    put(wal, "00000003.history", "");
    assert_true(datadir_clear_promote(p->data, NULL));
    assert_false(file_exists(skipped));
}

static void test_small_files_are_seen(void **state)
{
    struct place *p = *state;
    struct datadir_state s;

    make_cluster(p);
    put(p->data, "postmaster.pid", "-4711\n/data\n");
    put(p->data, "promote", "");
    put(p->data, "backup_label", "");
    assert_true(datadir_set_standby_signal(p->data, NULL));
    datadir_look(p->data, p->state, &s, NULL);
    assert_int_equal(s.major, 15);
    assert_int_equal(s.postmaster_pid, 4711);
    assert_true(s.promote_file);
    assert_true(s.backup_label);
    assert_true(s.standby_signal);
    assert_false(s.recovery_signal);

    assert_true(datadir_clear_promote(p->data, NULL));
    assert_true(datadir_clear_promote(p->data, NULL));
    assert_true(datadir_set_recovery_signal(p->data, NULL));
    datadir_look(p->data, p->state, &s, NULL);
    assert_false(s.promote_file);
    assert_true(s.recovery_signal);
    assert_false(s.standby_signal);
    assert_true(datadir_clear_signals(p->data, NULL));
    assert_true(datadir_clear_signals(p->data, NULL));
    datadir_look(p->data, p->state, &s, NULL);
    assert_false(s.recovery_signal);
}

static void test_a_new_marker_replaces_the_old(void **state)
{
    struct place *p = *state;
    struct datadir_state s;

    make_cluster(p);
    assert_true(datadir_mark(p->state, DATADIR_MARK_CLONE, NULL));
    assert_true(datadir_mark(p->state, DATADIR_MARK_REWIND, NULL));
    datadir_look(p->data, p->state, &s, NULL);
    assert_int_equal(s.marker, DATADIR_MARK_REWIND);
    assert_true(datadir_unmark(p->state, NULL));
    datadir_look(p->data, p->state, &s, NULL);
    assert_int_equal(s.marker, DATADIR_MARK_NONE);
}

static void test_preparing_makes_or_checks(void **state)
{
    struct place *p = *state;
    AUTO(cstr) char *deep = str_fmt("%s/a/b/c", p->folder);
    struct stat st;
    struct err err;

    assert_true(datadir_prepare(deep, NULL));
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(chmod(deep, 0755), 0);
    assert_true(datadir_prepare(deep, NULL));
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);

    make_cluster(p);
    assert_int_equal(chmod(p->data, 0755), 0);
    assert_false(datadir_prepare(p->data, &err));
    assert_non_null(strstr(err.text, "0755"));
    assert_int_equal(chmod(p->data, 0750), 0);
    assert_true(datadir_prepare(p->data, NULL));
}

static void test_free_space_of_a_folder_that_is_not_there_yet(void **state)
{
    struct place *p = *state;
    AUTO(cstr) char *deep = str_fmt("%s/not/yet", p->folder);
    uint64_t here;
    uint64_t there;

    assert_true(datadir_free_bytes(p->folder, &here, NULL));
    assert_true(datadir_free_bytes(deep, &there, NULL));
    assert_true(here > 0 && there > 0);
}

static void test_moving_aside_keeps_the_old_cluster_whole(void **state)
{
    struct place *p = *state;
    AUTO(cstr) char *path = NULL;
    AUTO(cstr) char *again = NULL;
    AUTO(cstr) char *wanted = str_fmt("%s.diverged.20261124T080000Z", p->data);

    make_cluster(p);
    assert_true(datadir_move_aside(p->data, "diverged", WALL_MS * 1000LL, &path, NULL));
    assert_string_equal(path, wanted);
    assert_true(has(path, "PG_VERSION"));
    assert_int_equal(kind_of(p), DATADIR_EMPTY);

    put(p->data, "PG_VERSION", "15\n");
    assert_true(datadir_move_aside(p->data, "diverged", WALL_MS * 1000LL, &again, NULL));
    assert_true(str_ends(again, "Z-2"));
    assert_true(has(path, "global"));
}

static void test_moving_aside_takes_wal_and_tablespaces_along(void **state)
{
    struct place *p = *state;
    AUTO(cstr) char *path = NULL;
    AUTO(cstr) char *wal = str_fmt("%s/wal", p->folder);
    AUTO(cstr) char *space = str_fmt("%s/space", p->folder);
    AUTO(cstr) char *wal_link = str_fmt("%s/pg_wal", p->data);
    AUTO(cstr) char *space_link = str_fmt("%s/pg_tblspc/16384", p->data);

    make_cluster(p);
    assert_int_equal(mkdir(wal, 0700), 0);
    assert_int_equal(mkdir(space, 0700), 0);
    put(wal, "000000010000000000000001", "wal");
    put(space, "file", "data");
    assert_int_equal(symlink(wal, wal_link), 0);
    assert_int_equal(symlink(space, space_link), 0);

    assert_true(datadir_move_aside(p->data, "failed", WALL_MS * 1000LL, &path, NULL));
    assert_false(has(p->folder, "wal"));
    assert_false(has(p->folder, "space"));
    assert_true(has(p->folder, "wal.failed.20261124T080000Z"));
    AUTO(cstr) char *through_wal = str_fmt("%s/pg_wal/000000010000000000000001", path);
    AUTO(cstr) char *through_space = str_fmt("%s/pg_tblspc/16384/file", path);
    assert_int_equal(access(through_wal, R_OK), 0);
    assert_int_equal(access(through_space, R_OK), 0);
}

static void test_a_link_to_the_data_directory_stays(void **state)
{
    struct place *p = *state;
    AUTO(cstr) char *path = NULL;
    AUTO(cstr) char *disk = str_fmt("%s/disk", p->folder);
    struct stat st;

    make_cluster(p);
    assert_int_equal(rename(p->data, disk), 0);
    assert_int_equal(symlink(disk, p->data), 0);
    assert_true(datadir_move_aside(p->data, "x", WALL_MS * 1000LL, &path, NULL));
    assert_true(str_starts(path, disk));
    assert_int_equal(lstat(p->data, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(kind_of(p), DATADIR_EMPTY);
}

static void test_where_it_cannot_be_renamed_the_contents_move_inside(void **state)
{
    struct place *p = *state;
    AUTO(cstr) char *path = NULL;
    AUTO(cstr) char *holder = str_fmt("%s/holder", p->folder);
    AUTO(cstr) char *data = str_fmt("%s/data", holder);

    make_cluster(p);
    assert_int_equal(mkdir(holder, 0700), 0);
    assert_int_equal(rename(p->data, data), 0);
    make_dir(data, "lost+found");
    assert_int_equal(chmod(holder, 0500), 0);
    bool moved = datadir_move_aside(data, "diverged", WALL_MS * 1000LL, &path, NULL);
    assert_int_equal(chmod(holder, 0700), 0);
    assert_true(moved);
    assert_true(has(data, DATADIR_ASIDE_PREFIX "diverged.20261124T080000Z"));
    assert_true(has(path, "PG_VERSION"));

    struct datadir_state s;
    datadir_look(data, p->state, &s, NULL);
    assert_int_equal(s.kind, DATADIR_EMPTY);
    assert_true(s.shared);
}

static void test_a_shared_directory_is_filled_through_a_folder_in_it(void **state)
{
    struct place *p = *state;

    assert_int_equal(mkdir(p->data, 0700), 0);
    AUTO(cstr) char *direct = datadir_fill_path(p->data);
    assert_string_equal(direct, p->data);
    assert_true(datadir_fill_finish(p->data, direct, NULL));

    make_dir(p->data, "lost+found");
    AUTO(cstr) char *inside = datadir_fill_path(p->data);
    assert_true(str_starts(inside, p->data) && !str_eq(inside, p->data));
    assert_int_equal(mkdir(inside, 0700), 0);
    put(inside, "PG_VERSION", "15\n");
    make_dir(inside, "global");
    assert_true(datadir_fill_finish(p->data, inside, NULL));
    assert_true(has(p->data, "PG_VERSION"));
    assert_true(has(p->data, "global"));
    assert_int_equal(access(inside, F_OK), -1);
}

static void test_removal_empties_at_once_and_deletes_behind(void **state)
{
    struct place *p = *state;
    AUTO(loop) struct loop *l = loop_new();
    AUTO(cstr) char *space = str_fmt("%s/space", p->folder);
    AUTO(cstr) char *space_link = str_fmt("%s/pg_tblspc/16384", p->data);

    make_cluster(p);
    assert_int_equal(mkdir(space, 0700), 0);
    put(space, "file", "data");
    assert_int_equal(symlink(space, space_link), 0);
    make_dir(p->folder, "data.removing.20200101T000000Z"); /* of a removal that was cut off */
    assert_true(datadir_remove_job(l, p->data, WALL_MS * 1000LL, NULL));
    assert_int_equal(kind_of(p), DATADIR_EMPTY);

    for (int i = 0; i < 100 && (has(p->folder, "data.removing.20261124T080000Z") ||
                                has(p->folder, "space.removing.20261124T080000Z") ||
                                has(p->folder, "data.removing.20200101T000000Z"));
         i++)
        loop_turn(l, 50);
    for (int i = 0; i < 4; i++)
        loop_turn(l, 50); /* until the remover itself has ended */
    assert_false(has(p->folder, "data.removing.20261124T080000Z"));
    assert_false(has(p->folder, "space.removing.20261124T080000Z"));
    assert_false(has(p->folder, "data.removing.20200101T000000Z"));
    assert_true(has(p->folder, "data"));
    assert_true(has(p->folder, "state"));
}

static void test_files_are_replaced_whole_and_only_when_they_differ(void **state)
{
    struct place *p = *state;
    AUTO(cstr) char *path = str_fmt("%s/file", p->folder);
    bool changed = false;
    struct stat st;
    struct err err;

    assert_true(file_replace_if_changed(path, "one\n", 0600, &changed, NULL));
    assert_true(changed);
    assert_true(file_replace_if_changed(path, "one\n", 0600, &changed, NULL));
    assert_false(changed);
    assert_true(file_replace_if_changed(path, "two\n", 0640, &changed, NULL));
    assert_true(changed);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);

    AUTO(cstr) char *text = NULL;
    size_t len;
    assert_true(file_read(path, 100, &text, &len, NULL));
    assert_string_equal(text, "two\n");
    assert_int_equal(len, 4);
    assert_false(file_read(path, 3, &(char *){NULL}, NULL, &err));
    assert_int_equal(err.code, ERR_INPUT);
    assert_true(file_remove(path, NULL));
    assert_true(file_remove(path, NULL));
    assert_false(file_read(path, 100, &(char *){NULL}, NULL, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void test_a_configuration_file_behind_a_link_keeps_its_place(void **state)
{
    struct place *p = *state;
    AUTO(cstr) char *real = str_fmt("%s/real.conf", p->folder);
    AUTO(cstr) char *link = str_fmt("%s/link.conf", p->folder);
    struct stat st;

    config_spill(real, "old\n");
    assert_int_equal(symlink(real, link), 0);
    assert_true(file_replace(link, "new\n", 4, 0600, NULL));
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    AUTO(cstr) char *text = config_slurp(real);
    assert_string_equal(text, "new\n");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_directory_is_what_is_in_it),
        TEST(test_a_file_in_its_place_is_foreign),
        TEST(test_an_unreadable_directory_is_not_taken_for_empty),
        TEST(test_what_decides_and_cannot_be_looked_at_makes_it_unreadable),
        TEST(test_empty_histories_go_only_above_the_newest_real_one),
        TEST(test_small_files_are_seen),
        TEST(test_a_new_marker_replaces_the_old),
        TEST(test_preparing_makes_or_checks),
        TEST(test_free_space_of_a_folder_that_is_not_there_yet),
        TEST(test_moving_aside_keeps_the_old_cluster_whole),
        TEST(test_moving_aside_takes_wal_and_tablespaces_along),
        TEST(test_a_link_to_the_data_directory_stays),
        TEST(test_where_it_cannot_be_renamed_the_contents_move_inside),
        TEST(test_a_shared_directory_is_filled_through_a_folder_in_it),
        TEST(test_removal_empties_at_once_and_deletes_behind),
        TEST(test_files_are_replaced_whole_and_only_when_they_differ),
        TEST(test_a_configuration_file_behind_a_link_keeps_its_place),
    };

    config_leave_root(); /* root may do what these tests expect to be refused */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
