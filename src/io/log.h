/*
 * The log: one line an event, for the operator at 3 a.m.
 *
 *   2026-11-24 08:45:35,123 INFO: promoted to leader by acquiring the leader key term=4 event=leader.acquired
 *
 * The level stands where Patroni has it, so that existing filters go on working; or one JSON object a
 * line. Only app/ logs above debug. Safe from any thread; a line is one write. Control characters in
 * values are escaped: one event is one line. A reader that does not keep up loses lines (and is told
 * how many), it never stalls us.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR, LOG_LEVEL_CRITICAL };

struct log_conf {
    enum log_level level;
    bool json;
    const char *file;            /* NULL: stderr */
    long long file_size_max;     /* rotate above; 0: never */
    int file_count;              /* old files kept */
    const char *syslog_facility; /* NULL: none; excludes file */
    const char *syslog_socket;   /* NULL: /dev/log */
};

/* Applies at once; false keeps what was. Also used for reopening after a signal. */
MUST_USE bool log_configure(const struct log_conf *conf, struct err *err);
void log_reopen(void);
bool log_level_parse(const char *name, enum log_level *ret_level); /* Patroni's names, any case; numbers too */

void log_line(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* event: a stable id for programs that read logs, such as "leader.acquired" */
#define log_debug(event, ...) log_line(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_line(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_warning(event, ...) log_line(LOG_LEVEL_WARNING, event, __VA_ARGS__)
#define log_error(event, ...) log_line(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_critical(event, ...) log_line(LOG_LEVEL_CRITICAL, event, __VA_ARGS__)
