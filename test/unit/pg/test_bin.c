/* Programs: found by configuration, data directory, PATH; versions as the programs print them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/str.h"
#include "config.h"
#include "io/loop.h"
#include "pg/bin.h"

static void test_versions_of_every_kind_are_understood(void **state)
{
    static const struct {
        const char *text;
        int version;
    } cases[] = {
        {"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", 150018},
        {"postgres (PostgreSQL) 18beta1", 180000},
        {"postgres (PostgreSQL) 17rc1", 170000},
        {"postgres (EnterpriseDB) 16.4.1", 160004},
        {"15\n", 150000},
        {"postgres", 0},
        {"", 0},
        {"1", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(pg_version_parse(cases[i].text), cases[i].version);
}

static void make_program(const char *folder, const char *name, const char *text)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", folder, name);

    config_spill(path, text);
    assert_int_equal(chmod(path, 0755), 0);
}

static void test_the_configured_folder_is_the_only_one_looked_at(void **state)
{
    char *folder = config_folder();
    struct pg_bin *bin = NULL;
    struct err err;
    struct pg_bin_spec spec = {.bin_dir = folder, .path_env = getenv("PATH")};

    assert_false(pg_bin_find(&spec, &bin, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, folder));

    make_program(folder, "postgres", "#!/bin/sh\n");
    assert_true(pg_bin_find(&spec, &bin, &err));
    assert_string_equal(bin->dir, folder);
    assert_non_null(bin->path[PG_POSTGRES]);
    assert_null(bin->path[PG_REWIND]);
    const char *path;
    assert_false(pg_bin_need(bin, PG_REWIND, &path, &err));
    assert_non_null(strstr(err.text, "pg_rewind"));
    pg_bin_free(bin);
    config_remove_folder(folder);
}

static void test_programs_may_have_other_names(void **state)
{
    char *folder = config_folder();
    struct pg_bin *bin = NULL;
    json_t *names = json_pack("{s:s}", "postgres", "pg-custom");
    struct pg_bin_spec spec = {.bin_dir = folder, .bin_name = names};

    make_program(folder, "pg-custom", "#!/bin/sh\n");
    assert_true(pg_bin_find(&spec, &bin, NULL));
    assert_true(str_ends(bin->path[PG_POSTGRES], "/pg-custom"));
    pg_bin_free(bin);
    json_decref(names);
    config_remove_folder(folder);
}

static void test_a_program_missing_there_is_looked_for_in_path_but_never_in_the_working_folder(void **state)
{
    char *folder = config_folder();
    AUTO(cstr) char *path = str_fmt(":.:%s", folder);
    struct pg_bin *bin = NULL;
    json_t *names = json_pack("{s:s}", "pg_rewind", "pg_rewind_of_ours");
    struct pg_bin_spec spec = {.path_env = path, .bin_name = names};

    make_program(folder, "pg_rewind_of_ours", "#!/bin/sh\n");
    assert_true(pg_bin_find(&spec, &bin, NULL));
    assert_true(str_starts(bin->path[PG_REWIND], folder));
    assert_false(str_starts(bin->path[PG_POSTGRES], folder));
    pg_bin_free(bin);
    json_decref(names);
    config_remove_folder(folder);
}

static void test_without_path_the_newest_installed_is_found(void **state)
{
    struct pg_bin *bin = NULL;
    struct pg_bin_spec spec = {.path_env = ""};

    assert_true(pg_bin_find(&spec, &bin, NULL));
    for (int i = 0; i < PG_PROGRAM_COUNT; i++)
        assert_non_null(bin->path[i]);
    struct pg_bin *copy = pg_bin_copy(bin);
    assert_string_equal(copy->path[PG_INITDB], bin->path[PG_INITDB]);
    pg_bin_free(copy);
    pg_bin_free(bin);
}

static void test_the_data_directorys_version_wins_over_path(void **state)
{
    char *folder = config_folder();
    struct pg_bin *newest = NULL;
    struct pg_bin *bin = NULL;
    struct pg_bin_spec any = {.path_env = ""};
    int major;

    make_program(folder, "postgres", "#!/bin/sh\n");
    assert_true(pg_bin_find(&any, &newest, NULL));
    assert_int_equal(sscanf(newest->dir, "/usr/lib/postgresql/%d/bin", &major), 1);
    struct pg_bin_spec spec = {.path_env = folder, .data_major = major};
    assert_true(pg_bin_find(&spec, &bin, NULL));
    assert_string_equal(bin->dir, newest->dir);
    pg_bin_free(newest);
    pg_bin_free(bin);
    config_remove_folder(folder);
}

struct version {
    bool done;
    int number;
    struct err err;
};

static void version_told(int number, const struct err *err, void *arg)
{
    struct version *v = arg;

    v->done = true;
    v->number = number;
    if (err)
        v->err = *err;
}

static struct version version_of(const char *script)
{
    char *folder = config_folder();
    AUTO(loop) struct loop *l = loop_new();
    struct version v = {0};
    struct pg_bin *bin = NULL;
    struct pg_bin_spec spec = {.bin_dir = folder};

    make_program(folder, "postgres", script);
    assert_true(pg_bin_find(&spec, &bin, NULL));
    assert_true(pg_bin_version(l, bin, version_told, &v, NULL));
    while (!v.done)
        loop_turn(l, 1000);
    pg_bin_free(bin);
    config_remove_folder(folder);
    return v;
}

static void test_the_program_is_asked_for_its_version(void **state)
{
    struct version good = version_of("#!/bin/sh\necho 'postgres (PostgreSQL) 15.18'\n");
    struct version odd = version_of("#!/bin/sh\necho hello\n");
    struct version broken = version_of("#!/bin/sh\necho 'no libc' >&2; exit 3\n");

    assert_int_equal(good.number, 150018);
    assert_int_equal(odd.number, 0);
    assert_non_null(strstr(odd.err.text, "hello"));
    assert_int_equal(broken.number, 0);
    assert_non_null(strstr(broken.err.text, "no libc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_of_every_kind_are_understood),
        cmocka_unit_test(test_the_configured_folder_is_the_only_one_looked_at),
        cmocka_unit_test(test_programs_may_have_other_names),
        cmocka_unit_test(test_a_program_missing_there_is_looked_for_in_path_but_never_in_the_working_folder),
        cmocka_unit_test(test_without_path_the_newest_installed_is_found),
        cmocka_unit_test(test_the_data_directorys_version_wins_over_path),
        cmocka_unit_test(test_the_program_is_asked_for_its_version),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
