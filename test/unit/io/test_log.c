#include "io/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/str.h"

static char folder[64];
static char file[128];

static int setup(void **state)
{
    str_copy(folder, sizeof(folder), "/tmp/pgkeep-log-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(file, sizeof(file), "%s/x.log", folder);
    return 0;
}

static int teardown(void **state)
{
    char path[512];
    DIR *dir = opendir(folder);

    assert_true(log_configure(&(struct log_conf){.level = LOG_LEVEL_INFO}, NULL));
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        (void)unlink(path);
    }
    if (dir)
        (void)closedir(dir);
    return rmdir(folder);
}

static void configure(struct log_conf conf)
{
    struct err err = {0};

    if (!log_configure(&conf, &err))
        fail_msg("%s", err.text);
}

/* The content; "" when there is no such file. */
static const char *text_of(const char *path)
{
    static char text[256 * 1024];
    FILE *f = fopen(path, "r");
    size_t len = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

    text[len] = '\0';
    if (f)
        (void)fclose(f);
    return text;
}

static const char *rotated(int number)
{
    static char path[160];

    (void)snprintf(path, sizeof(path), "%s.%d", file, number);
    return text_of(path);
}

static void test_a_text_line_has_time_and_level_where_patroni_has_them(void **state)
{
    static const char shape[] = "dddd-dd-dd dd:dd:dd,ddd ";

    configure((struct log_conf){.file = file});
    log_info("leader.acquired", "promoted to leader term=%d", 4);
    const char *line = text_of(file);
    for (size_t i = 0; shape[i]; i++)
        assert_true(shape[i] == 'd' ? line[i] >= '0' && line[i] <= '9' : line[i] == shape[i]);
    assert_string_equal(line + strlen(shape), "INFO: promoted to leader term=4 event=leader.acquired\n");
    assert_true(line[0] == '2');
}

static void test_lines_below_the_level_are_not_written(void **state)
{
    configure((struct log_conf){.file = file, .level = LOG_LEVEL_WARNING});
    log_info("a", "one");
    log_debug("a", "two");
    log_warning("a", "three");
    log_critical("a", "four");
    const char *text = text_of(file);
    assert_null(strstr(text, "one"));
    assert_null(strstr(text, "two"));
    assert_non_null(strstr(text, " WARNING: three event=a\n"));
    assert_non_null(strstr(text, " CRITICAL: four event=a\n"));
}

static void test_no_value_can_forge_a_line(void **state)
{
    configure((struct log_conf){.file = file});
    log_error("x", "said %s", "a\nb\r\tc\x1b[31m\x7f \xc2\x9b \xff\xc0\xaf ö✓");
    const char *text = text_of(file);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_non_null(strstr(text, "said a\\nb\\r\\tc\\x1b[31m\\x7f \\xc2\\x9b \\xff\\xc0\\xaf ö✓ event=x"));
}

static void test_json_is_one_valid_object_a_line(void **state)
{
    json_error_t why;

    configure((struct log_conf){.file = file, .json = true});
    log_warning("x.y", "quote \" backslash \\ newline \n bad \xff good ö");
    const char *text = text_of(file);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    json_t *line = json_loads(text, 0, &why);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "levelname")), "WARNING");
    assert_string_equal(json_string_value(json_object_get(line, "event")), "x.y");
    assert_string_equal(json_string_value(json_object_get(line, "message")),
                        "quote \" backslash \\ newline \n bad ÿ good ö");
    assert_int_equal(strlen(json_string_value(json_object_get(line, "asctime"))), 23);
    json_decref(line);
}

static void test_a_message_that_is_too_long_is_cut_and_the_line_still_whole(void **state)
{
    static char big[20000];

    memset(big, '\n', sizeof(big) - 1); /* doubles when escaped */
    configure((struct log_conf){.file = file});
    log_info("big", "%s", big);
    const char *text = text_of(file);
    assert_true(strlen(text) <= 4096);
    assert_true(str_ends(text, "\\n event=big\n"));

    configure((struct log_conf){.file = file, .json = true});
    log_info("big", "%s", big);
    json_t *line = json_loads(strchr(text_of(file), '\n'), 0, NULL);
    assert_non_null(line);
    json_decref(line);
}

static void test_a_full_file_is_rotated_and_the_oldest_falls_off(void **state)
{
    configure((struct log_conf){.file = file, .file_size_max = 200, .file_count = 2});
    for (int i = 0; i < 20; i++)
        log_info("n", "line number %02d", i);
    assert_non_null(strstr(text_of(file), "number 19"));
    assert_true(strlen(text_of(file)) <= 200);
    assert_non_null(strstr(rotated(1), "number 17"));
    assert_non_null(strstr(rotated(2), "number 12"));
    assert_string_equal(rotated(3), "");
}

static void test_without_a_limit_or_without_old_files_nothing_is_rotated(void **state)
{
    configure((struct log_conf){.file = file, .file_size_max = 100});
    for (int i = 0; i < 10; i++)
        log_info("n", "line number %02d", i);
    assert_non_null(strstr(text_of(file), "number 00"));
    assert_non_null(strstr(text_of(file), "number 09"));
}

static void test_reopening_follows_a_file_that_was_moved_away(void **state)
{
    char moved[160];

    configure((struct log_conf){.file = file});
    log_info("n", "before");
    (void)snprintf(moved, sizeof(moved), "%s.moved", file);
    assert_int_equal(rename(file, moved), 0);
    log_info("n", "between");
    log_reopen();
    log_info("n", "after");
    assert_non_null(strstr(text_of(moved), "between"));
    assert_null(strstr(text_of(moved), "after"));
    assert_non_null(strstr(text_of(file), "after"));
}

static void test_a_wrong_configuration_changes_nothing(void **state)
{
    struct err err = {0};

    configure((struct log_conf){.file = file});
    assert_false(log_configure(&(struct log_conf){.file = "/nowhere/x.log", .level = LOG_LEVEL_CRITICAL}, &err));
    assert_int_equal(err.sys_errno, ENOENT);
    assert_false(log_configure(&(struct log_conf){.syslog_facility = "local9"}, &err));
    assert_int_equal(err.code, ERR_INPUT);
    log_info("n", "still here");
    assert_non_null(strstr(text_of(file), "still here"));
}

static void test_syslog_gets_facility_and_level_and_its_restart_is_survived(void **state)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char text[8192];

    str_copy(at.sun_path, sizeof(at.sun_path), file);
    for (int restart = 0; restart < 2; restart++) {
        (void)unlink(file);
        int daemon_fd = socket(AF_UNIX, SOCK_DGRAM, 0);
        assert_int_equal(bind(daemon_fd, (struct sockaddr *)&at, sizeof(at)), 0);
        if (!restart)
            configure((struct log_conf){.syslog_facility = "LOCAL3", .syslog_socket = file});
        log_error("bad", "two\nlines");
        ssize_t len = recv(daemon_fd, text, sizeof(text) - 1, MSG_DONTWAIT);
        assert_true(len > 0);
        text[len] = '\0';
        assert_true(str_starts(text, "<155>")); /* 19 * 8 + 3 */
        assert_non_null(strstr(text, "pgkeep["));
        assert_true(str_ends(text, ": ERROR: two\\nlines event=bad"));
        (void)close(daemon_fd);
    }
}

static void test_a_stalled_reader_loses_lines_and_learns_how_many(void **state)
{
    char bytes[64 * 1024];
    int pipe_ends[2];
    int stderr_copy = dup(STDERR_FILENO);

    assert_int_equal(pipe(pipe_ends), 0);
    (void)fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK);
    configure((struct log_conf){0});
    (void)dup2(pipe_ends[1], STDERR_FILENO);
    for (int i = 0; i < 2000; i++) /* more than the pipe holds: would block here for ever */
        log_info("n", "a line of some length, number %04d, that fills the pipe to the brim", i);
    while (read(pipe_ends[0], bytes, sizeof(bytes)) > 0)
        ;
    log_info("n", "the reader is back");
    ssize_t len = read(pipe_ends[0], bytes, sizeof(bytes) - 1);
    (void)dup2(stderr_copy, STDERR_FILENO);
    (void)close(stderr_copy);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
    assert_true(len > 0);
    bytes[len] = '\0';
    assert_non_null(strstr(bytes, " log lines were lost"));
    assert_non_null(strstr(bytes, "the reader is back"));
}

static void *write_many(void *arg)
{
    for (int i = 0; i < 500; i++)
        log_info("n", "%s %04d end", (const char *)arg, i);
    return NULL;
}

static void test_lines_of_several_threads_are_whole(void **state)
{
    pthread_t threads[4];
    static char names[4][8] = {"thread0", "thread1", "thread2", "thread3"};
    int count = 0;

    configure((struct log_conf){.file = file});
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, names[i]), 0);
    for (int i = 0; i < 4; i++)
        (void)pthread_join(threads[i], NULL);
    for (const char *at = text_of(file); *at; at = strchr(at, '\n') + 1) {
        const char *text = at + strlen("2026-11-24 08:45:35,123 ");
        assert_true(str_starts(text, "INFO: thread"));
        assert_true(str_starts(text + strlen("INFO: thread0 0000"), " end event=n\n"));
        count++;
    }
    assert_int_equal(count, 2000);
}

static void test_levels_are_known_by_patronis_names_and_pythons_numbers(void **state)
{
    static const struct {
        const char *name;
        enum log_level level;
    } good[] = {
        {"DEBUG", LOG_LEVEL_DEBUG},    {"info", LOG_LEVEL_INFO},    {"Warning", LOG_LEVEL_WARNING},
        {"WARN", LOG_LEVEL_WARNING},   {"ERROR", LOG_LEVEL_ERROR},  {"critical", LOG_LEVEL_CRITICAL},
        {"FATAL", LOG_LEVEL_CRITICAL}, {"NOTSET", LOG_LEVEL_DEBUG}, {"10", LOG_LEVEL_DEBUG},
        {"20", LOG_LEVEL_INFO},        {"21", LOG_LEVEL_WARNING},   {"99", LOG_LEVEL_CRITICAL},
        {"0", LOG_LEVEL_DEBUG},
    };
    enum log_level level;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(log_level_parse(good[i].name, &level));
        assert_int_equal(level, good[i].level);
    }
    assert_false(log_level_parse("loud", &level));
    assert_false(log_level_parse("", &level));
    assert_false(log_level_parse("-1", &level));
}

static void test_logging_leaves_errno_alone(void **state)
{
    configure((struct log_conf){.file = file, .file_size_max = 1, .file_count = 1});
    errno = E2BIG;
    log_info("n", "one");
    log_info("n", "two");
    assert_int_equal(errno, E2BIG);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_a_text_line_has_time_and_level_where_patroni_has_them),
        LOG_TEST(test_lines_below_the_level_are_not_written),
        LOG_TEST(test_no_value_can_forge_a_line),
        LOG_TEST(test_json_is_one_valid_object_a_line),
        LOG_TEST(test_a_message_that_is_too_long_is_cut_and_the_line_still_whole),
        LOG_TEST(test_a_full_file_is_rotated_and_the_oldest_falls_off),
        LOG_TEST(test_without_a_limit_or_without_old_files_nothing_is_rotated),
        LOG_TEST(test_reopening_follows_a_file_that_was_moved_away),
        LOG_TEST(test_a_wrong_configuration_changes_nothing),
        LOG_TEST(test_syslog_gets_facility_and_level_and_its_restart_is_survived),
        LOG_TEST(test_a_stalled_reader_loses_lines_and_learns_how_many),
        LOG_TEST(test_lines_of_several_threads_are_whole),
        LOG_TEST(test_levels_are_known_by_patronis_names_and_pythons_numbers),
        LOG_TEST(test_logging_leaves_errno_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
