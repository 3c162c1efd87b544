#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/demo/cluster.h"
#include "app/demo/place.h"
#include "app/demo/procs.h"
#include "base/str.h"

static void nodes_of(struct demo *d, int count)
{
    memset(d, 0, sizeof(*d));
    d->node_count = count;
    for (int i = 0; i < count; i++) {
        (void)snprintf(d->nodes[i].name, sizeof(d->nodes[i].name), "n%d", i + 1);
        d->nodes[i].pg_port = 5001 + i;
    }
}

static json_t *list_of(const char *json)
{
    json_t *list = json_loads(json, 0, NULL);

    assert_non_null(list);
    return list;
}

static void test_healthy_is_one_leader_and_streaming_replicas_on_its_timeline(void **state)
{
    static const struct {
        const char *list;
        int healthy;
    } cases[] = {
        {"[{\"Member\":\"n1\",\"Role\":\"Leader\",\"State\":\"running\",\"TL\":2},"
         "{\"Member\":\"n2\",\"Role\":\"Replica\",\"State\":\"streaming\",\"TL\":2}]",
         2},
        {"[{\"Member\":\"n1\",\"Role\":\"Leader\",\"State\":\"running\",\"TL\":2},"
         "{\"Member\":\"n2\",\"Role\":\"Replica\",\"State\":\"streaming\",\"TL\":1}]",
         1},
        {"[{\"Member\":\"n1\",\"Role\":\"Leader\",\"State\":\"starting\",\"TL\":2},"
         "{\"Member\":\"n2\",\"Role\":\"Replica\",\"State\":\"running\",\"TL\":2}]",
         0},
        {"[{\"Member\":\"n1\",\"Role\":\"Replica\",\"State\":\"streaming\",\"TL\":2}]", 0},
        {"[]", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *list = list_of(cases[i].list);
        assert_int_equal(demo_healthy_count(list), cases[i].healthy);
        json_decref(list);
    }
}

static void test_the_leader_is_one_of_our_nodes(void **state)
{
    json_t *list = list_of("[{\"Member\":\"n1\",\"Role\":\"Replica\",\"State\":\"streaming\"},"
                           "{\"Member\":\"n2\",\"Role\":\"Leader\",\"State\":\"running\"}]");
    json_t *foreign = list_of("[{\"Member\":\"other\",\"Role\":\"Leader\",\"State\":\"running\"}]");
    struct demo d;

    nodes_of(&d, 2);
    assert_ptr_equal(demo_leader(&d, list), &d.nodes[1]);
    assert_null(demo_leader(&d, foreign));
    assert_string_equal(demo_state_of(list, "n1"), "streaming");
    assert_string_equal(demo_state_of(list, "n3"), "absent");
    json_decref(list);
    json_decref(foreign);
}

static void test_clients_are_given_all_nodes_and_no_password(void **state)
{
    struct demo d;

    nodes_of(&d, 3);
    d.superuser_password = str_dup("secret");
    AUTO(cstr) char *text = demo_conninfo(&d, "read-write");
    assert_string_equal(text, "host=127.0.0.1,127.0.0.1,127.0.0.1 port=5001,5002,5003 user=postgres dbname=postgres "
                              "target_session_attrs=read-write");
    free(d.superuser_password);
}

/* A folder that the demo may use, below a new one. */
static char *new_folder(void)
{
    char *dir = str_dup("/tmp/pgkeep-test-XXXXXX");

    assert_non_null(mkdtemp(dir));
    return dir;
}

static void test_a_server_is_started_watched_and_killed_with_its_children(void **state)
{
    AUTO(cstr) char *dir = new_folder();
    AUTO(cstr) char *log = str_fmt("%s/log", dir);
    const char *const argv[] = {"/bin/sh", "-c", "sleep 60 & echo started; wait", NULL};
    struct proc p = {0};
    struct stat st = {0};
    struct err err;

    assert_true(proc_start(&p, argv, log, &err));
    for (int i = 0; i < 500 && (stat(log, &st) < 0 || st.st_size == 0); i++)
        (void)usleep(10000);
    assert_true(proc_running(&p));
    assert_true(proc_kill_tree(&p, "/nonexistent") >= 2); /* the shell and its sleep */
    assert_false(proc_running(&p));
    assert_true(WIFSIGNALED(p.status));

    assert_int_equal(unlink(log), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_only_postgres_counts_as_working_in_a_data_directory(void **state)
{
    AUTO(cstr) char *dir = new_folder();
    AUTO(cstr) char *before = getcwd(NULL, 0);

    assert_int_equal(chdir(dir), 0);
    assert_false(procs_in_dir(dir)); /* we are there, and no PostgreSQL */
    assert_int_equal(chdir(before), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_a_folder_with_content_is_not_taken(void **state)
{
    AUTO(cstr) char *dir = new_folder();
    AUTO(cstr) char *file = str_fmt("%s/precious", dir);
    struct place p;
    struct err err;

    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_false(place_make(dir, &p, &err));
    assert_non_null(strstr(err.text, "is not empty"));
    assert_int_equal(access(file, F_OK), 0);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_the_folder_goes_with_all_that_is_in_it(void **state)
{
    AUTO(cstr) char *dir = new_folder();
    AUTO(cstr) char *sub = str_fmt("%s/n1", dir);
    AUTO(cstr) char *link = str_fmt("%s/n1/link", dir);
    AUTO(cstr) char *outside = new_folder();
    const struct place p = {.dir = dir};
    struct err err;

    assert_int_equal(mkdir(sub, 0700), 0);
    assert_int_equal(symlink(outside, link), 0);
    assert_true(place_remove(&p, &err));
    assert_int_equal(access(dir, F_OK), -1);
    assert_int_equal(access(outside, F_OK), 0); /* links are not followed */
    assert_int_equal(rmdir(outside), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_healthy_is_one_leader_and_streaming_replicas_on_its_timeline),
        cmocka_unit_test(test_the_leader_is_one_of_our_nodes),
        cmocka_unit_test(test_clients_are_given_all_nodes_and_no_password),
        cmocka_unit_test(test_a_server_is_started_watched_and_killed_with_its_children),
        cmocka_unit_test(test_only_postgres_counts_as_working_in_a_data_directory),
        cmocka_unit_test(test_a_folder_with_content_is_not_taken),
        cmocka_unit_test(test_the_folder_goes_with_all_that_is_in_it),
    };

    return cmocka_run_group_tests_name("demo", tests, NULL, NULL);
}
