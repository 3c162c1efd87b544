/* Reports on this node's disk: whole files, the newest ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "pg/file.h"
#include "pg/report_file.h"

static void test_the_newest_files_are_kept(void **state)
{
    char dir[] = "/tmp/pgkeep-report-XXXXXX";
    struct err err = {0};

    assert_non_null(mkdtemp(dir));
    for (term t = 8; t <= 12; t++) /* by number, not by name: "9" is before "10" */
        assert_true(report_file_keep(dir, t, "{}", 3, &err));
    assert_true(report_file_keep(dir, 12, "{\"v\":1}", 3, &err));
    for (int t = 8; t <= 12; t++) {
        AUTO(cstr) char *path = str_fmt("%s/failovers/%d.json", dir, t);
        assert_int_equal(file_exists(path), t >= 10);
        AUTO(cstr) char *text = NULL;
        if (t == 12) {
            assert_true(file_read(path, 100, &text, NULL, &err));
            assert_string_equal(text, "{\"v\":1}\n");
        }
        (void)unlink(path);
    }
    AUTO(cstr) char *folder = str_fmt("%s/failovers", dir);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left there */
    assert_int_equal(rmdir(dir), 0);
}

static void test_a_folder_that_cannot_be_made_is_an_error(void **state)
{
    struct err err = {0};

    assert_false(report_file_keep("/proc/pgkeep", 1, "{}", 3, &err));
    assert_non_null(strstr(err.text, "/proc/pgkeep"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_files_are_kept),
        cmocka_unit_test(test_a_folder_that_cannot_be_made_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
