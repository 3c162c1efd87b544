/* What libpq and the programs print, in our terms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "io/child.h"
#include "pg/clone.h"
#include "pg/sql_text.h"
#include "pg/tool.h"

static void test_a_refused_connection_shows_its_state(void **state)
{
    static const struct {
        const char *message, *sqlstate, *text;
        bool needs_password;
        enum sql_status status;
    } cases[] = {
        {"connection to server on socket \"/x/.s.PGSQL.5432\" failed: FATAL:  57P03: the database system is starting "
         "up\n"
         "LOCATION:  ProcessStartupPacket, postmaster.c:2355\n",
         "57P03",
         "connection to server on socket \"/x/.s.PGSQL.5432\" failed: FATAL:  the database system is starting up",
         false, SQL_STARTING},
        {"connection to server at \"h\" (10.0.0.1), port 5432 failed: FATAL:  28P01: password authentication failed "
         "for user \"r\"\n",
         "28P01",
         "connection to server at \"h\" (10.0.0.1), port 5432 failed: FATAL:  password authentication failed for user "
         "\"r\"",
         false, SQL_DENIED},
        {"x failed: FATAL:  53300: sorry, too many clients already\n", "53300",
         "x failed: FATAL:  sorry, too many clients already", false, SQL_FAILED},
        {"x failed: fe_sendauth: no password supplied\n", "", "x failed: fe_sendauth: no password supplied", true,
         SQL_DENIED},
        {"connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n\tIs the server running on that "
         "host?\n",
         "",
         "connection to server at \"127.0.0.1\", port 1 failed: Connection refused;  Is the server running on that "
         "host?",
         false, SQL_NO_SERVER},
        {"a failed: Connection refused\nb failed: FATAL:  3D000: database \"x\" does not exist\n", "3D000",
         "a failed: Connection refused; b failed: FATAL:  database \"x\" does not exist", false, SQL_DENIED},
        {"", "", "", false, SQL_NO_SERVER},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char sqlstate[6];
        char text[512];
        sql_read_message(cases[i].message, sqlstate, text, sizeof(text));
        assert_string_equal(sqlstate, cases[i].sqlstate);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(sql_classify_connect(sqlstate, cases[i].needs_password), cases[i].status);
    }
}

static void test_literals_and_names_are_quoted(void **state)
{
    static const struct {
        const char *text, *literal, *ident;
    } cases[] = {
        {"plain", "'plain'", "\"plain\""},
        {"it's", "'it''s'", "\"it's\""},
        {"a\\b", "E'a\\\\b'", "\"a\\b\""},
        {"say \"x\"", "'say \"x\"'", "\"say \"\"x\"\"\""},
        {"", "''", "\"\""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(cstr) char *literal = sql_quote_literal(cases[i].text);
        AUTO(cstr) char *ident = sql_quote_ident(cases[i].text);
        assert_string_equal(literal, cases[i].literal);
        assert_string_equal(ident, cases[i].ident);
    }
}

static void test_progress_lines_are_told_from_others(void **state)
{
    int64_t done = -1;
    int64_t total = -1;

    assert_true(clone_parse_progress("    0/22774 kB (0%), 0/1 tablespace", &done, &total));
    assert_int_equal(done, 0);
    assert_int_equal(total, 22774 * 1024);
    assert_true(clone_parse_progress("22785/22785 kB (100%), 1/1 tablespace", &done, &total));
    assert_int_equal(done, 22785 * 1024);
    assert_true(clone_parse_progress("  1234/5678 kB (21%) copied", &done, &total));
    assert_false(clone_parse_progress("pg_basebackup: error: 1/2 kB", &done, &total));
    assert_false(clone_parse_progress("waiting for checkpoint", &done, &total));
    assert_false(clone_parse_progress("1/2", &done, &total));
    assert_false(clone_parse_progress("", &done, &total));
}

static void test_the_lines_that_say_why_are_picked(void **state)
{
    struct child_result failed = {
        .exited = true,
        .status = 1,
        .out = "",
        .errout = "    0/22774 kB (0%), 0/1 tablespace\n"
                  "pg_basebackup: error: could not receive data from WAL stream: server closed the connection\n"
                  "pg_basebackup: removing contents of data directory \"/x\"\n",
    };
    struct child_result wordless = {.exited = true, .status = 3, .out = "", .errout = "first\nlast words\n"};
    struct child_result late = {.timed_out = true, .signal = 15, .out = "", .errout = "x: error: y\n"};
    struct child_result good = {.exited = true, .out = "", .errout = "WARNING: nothing\n"};
    struct err err;

    assert_false(tool_succeeded(&failed, "pg_basebackup", &err));
    assert_string_equal(err.text,
                        "pg_basebackup: exit 1: pg_basebackup: error: could not receive data from WAL stream: server "
                        "closed the connection");
    assert_false(tool_succeeded(&wordless, "script", &err));
    assert_string_equal(err.text, "script: exit 3: last words");
    assert_false(tool_succeeded(&late, "x", &err));
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_true(tool_succeeded(&good, "x", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_refused_connection_shows_its_state),
        cmocka_unit_test(test_literals_and_names_are_quoted),
        cmocka_unit_test(test_progress_lines_are_told_from_others),
        cmocka_unit_test(test_the_lines_that_say_why_are_picked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
