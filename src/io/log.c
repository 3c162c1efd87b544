#include "io/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"

enum {
    MESSAGE_MAX = 2048,    /* one message before escaping; longer ones are cut */
    LINE_MAX_LEN = 4096,   /* PIPE_BUF: up to here a write to a pipe is whole */
    CLOSING_MAX_LEN = 128, /* the event's id and what ends a line */
    FILE_MODE = 0640,      /* readable by the operators' group, not by the world */
    ROTATED_MAX = 1000,    /* old files we are ready to shift at one rotation */
};

#define SYSLOG_SOCKET "/dev/log"

static const struct {
    const char *name;
    int number; /* Python's, which Patroni's configuration may name */
    int syslog;
} levels[] = {
    [LOG_LEVEL_DEBUG] = {"DEBUG", 10, LOG_DEBUG},       [LOG_LEVEL_INFO] = {"INFO", 20, LOG_INFO},
    [LOG_LEVEL_WARNING] = {"WARNING", 30, LOG_WARNING}, [LOG_LEVEL_ERROR] = {"ERROR", 40, LOG_ERR},
    [LOG_LEVEL_CRITICAL] = {"CRITICAL", 50, LOG_CRIT},
};

static const struct {
    const char *name;
    int facility;
} facilities[] = {
    {"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"cron", LOG_CRON},     {"daemon", LOG_DAEMON},
    {"kern", LOG_KERN},     {"local0", LOG_LOCAL0},     {"local1", LOG_LOCAL1}, {"local2", LOG_LOCAL2},
    {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},     {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6},
    {"local7", LOG_LOCAL7}, {"lpr", LOG_LPR},           {"mail", LOG_MAIL},     {"news", LOG_NEWS},
    {"syslog", LOG_SYSLOG}, {"user", LOG_USER},         {"uucp", LOG_UUCP},
};

/* Where lines go. Everything but the level is under `lock`. */
static struct {
    pthread_mutex_t lock;
    atomic_int level;
    bool json;
    char *file; /* NULL: no file */
    long long file_size_max, file_size;
    int file_count;
    int fd; /* the file or the socket of syslog; stderr otherwise */
    bool syslog;
    int facility;
    char *syslog_socket;
    unsigned long lost; /* lines since the last one that could be written */
} sink = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_LEVEL_INFO, .fd = STDERR_FILENO};

/* ---- one line ---- */

struct line {
    char at[LINE_MAX_LEN];
    size_t len;
    bool full;
};

/* Whole or not at all, so that a cut never falls into an escape; room is left for what closes a line. */
static void add(struct line *l, const char *bytes, size_t len)
{
    if (l->full || l->len + len > sizeof(l->at) - CLOSING_MAX_LEN) {
        l->full = true;
        return;
    }
    memcpy(l->at + l->len, bytes, len);
    l->len += len;
}

static void add_str(struct line *l, const char *s)
{
    add(l, s, strlen(s));
}

static void close_line(struct line *l, const char *end)
{
    size_t len = strlen(end);

    CHECK(l->len + len < sizeof(l->at));
    memcpy(l->at + l->len, end, len);
    l->len += len;
}

/* Length of the UTF-8 sequence at s, of printable text; 0: a control character or no UTF-8. */
static size_t printable_len(const unsigned char *s)
{
    size_t len = 4;

    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0; /* the middle of a sequence, an overlong one, or beyond Unicode */
    if (s[0] < 0xf0)
        len = s[0] < 0xe0 ? 2 : 3;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    if (s[0] == 0xc2 && s[1] < 0xa0)
        return 0; /* a C1 control, which terminals obey */
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90))
        return 0; /* overlong */
    if ((s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0; /* a surrogate; beyond Unicode */
    return len;
}

/* Values come from peers and programs: no line of theirs may pass for one of ours. */
static void add_escaped(struct line *l, const char *text, bool json)
{
    char escape[8];

    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        size_t len = printable_len(s);
        if (len == 1 && json && (*s == '"' || *s == '\\')) {
            add(l, *s == '"' ? "\\\"" : "\\\\", 2);
        } else if (len) {
            add(l, (const char *)s, len);
        } else if (*s == '\n' || *s == '\t' || *s == '\r') {
            add(l, *s == '\n' ? "\\n" : *s == '\t' ? "\\t" : "\\r", 2);
        } else {
            (void)snprintf(escape, sizeof(escape), json ? "\\u%04x" : "\\x%02x", *s); /* fits */
            add_str(l, escape);
        }
        s += len ? len : 1;
    }
}

static void add_time(struct line *l)
{
    struct timespec now;
    struct tm local;
    char text[48];

    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
    if (!localtime_r(&now.tv_sec, &local))
        return;
    size_t len = strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
    add(l, text, len);
    (void)snprintf(text, sizeof(text), ",%03d", (int)(now.tv_nsec / 1000000));
    add_str(l, text);
}

static void render_text(struct line *l, enum log_level level, const char *event, const char *message)
{
    add_str(l, levels[level].name);
    add_str(l, ": ");
    add_escaped(l, message, false);
    if (event) {
        close_line(l, " event=");
        close_line(l, event);
    }
}

/* Field names of Patroni's JSON log. */
static void render_json(struct line *l, enum log_level level, const char *event, const char *message)
{
    add_str(l, "{\"asctime\":\"");
    add_time(l);
    add_str(l, "\",\"levelname\":\"");
    add_str(l, levels[level].name);
    if (event) {
        add_str(l, "\",\"event\":\"");
        add_escaped(l, event, true);
    }
    add_str(l, "\",\"message\":\"");
    add_escaped(l, message, true);
    close_line(l, "\"}");
}

/* RFC 3164, what /dev/log takes. */
static void render_syslog_head(struct line *l, enum log_level level)
{
    char head[96];
    struct tm local;
    time_t now = time(NULL);

    (void)snprintf(head, sizeof(head), "<%d>", sink.facility | levels[level].syslog);
    add_str(l, head);
    if (localtime_r(&now, &local)) {
        size_t len = strftime(head, sizeof(head), "%b %e %H:%M:%S ", &local);
        add(l, head, len);
    }
    (void)snprintf(head, sizeof(head), "pgkeep[%d]: ", (int)getpid());
    add_str(l, head);
}

static void render(struct line *l, enum log_level level, const char *event, const char *message)
{
    l->len = 0;
    l->full = false;
    if (sink.syslog)
        render_syslog_head(l, level);
    if (sink.json) {
        render_json(l, level, event, message);
    } else {
        if (!sink.syslog) {
            add_time(l);
            add_str(l, " ");
        }
        render_text(l, level, event, message);
    }
    if (!sink.syslog)
        close_line(l, "\n");
}

/* ---- where it goes ---- */

static int file_open(const char *path, long long *ret_size, struct err *err)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, FILE_MODE);

    if (fd < 0 || fstat(fd, &st) != 0) {
        (void)err_sys(err, errno, "opening log file %s", path);
        if (fd >= 0)
            (void)close(fd);
        return -1;
    }

    *ret_size = st.st_size;
    return fd;
}

static int syslog_open(const char *path, struct err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(to.sun_path)) {
        (void)err_set(err, ERR_INPUT, "the syslog socket's path is too long: %s", path);
        return -1;
    }
    str_copy(to.sun_path, sizeof(to.sun_path), path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
        (void)err_sys(err, errno, "connecting to syslog at %s", path);
        if (fd >= 0)
            (void)close(fd);
        return -1;
    }
    return fd;
}

static void sink_swap_fd(int fd)
{
    int old = sink.fd;

    sink.fd = fd;
    if (old > STDERR_FILENO)
        (void)close(old);
}

static void reopen_file(void)
{
    long long size = 0;
    int fd = file_open(sink.file, &size, NULL);

    if (fd < 0)
        return; /* the old one still takes lines */

    sink_swap_fd(fd);
    sink.file_size = size;
}

/* file → file.1 → … → file.<count>, as Python's RotatingFileHandler names them. */
static void rotate(void)
{
    int count = sink.file_count < ROTATED_MAX ? sink.file_count : ROTATED_MAX;

    for (int i = count; i > 0; i--) {
        AUTO(cstr) char *to = str_fmt("%s.%d", sink.file, i);
        AUTO(cstr) char *from = i > 1 ? str_fmt("%s.%d", sink.file, i - 1) : str_dup(sink.file);
        (void)rename(from, to); /* there may be none yet */
    }
    reopen_file();
}

/*
 * A reader that stalls (a full pipe, a stuck syslog) must not stall the program: such lines are
 * lost, and counted. Returns false if the line was not taken.
 */
static bool put(const struct line *l)
{
    struct pollfd ready = {.fd = sink.fd, .events = POLLOUT};

    if (sink.syslog) {
        if (send(sink.fd, l->at, l->len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)l->len)
            return true;
        if (errno == EAGAIN)
            return false;
        int fd = syslog_open(sink.syslog_socket, NULL); /* syslogd was restarted */
        if (fd < 0)
            return false;
        sink_swap_fd(fd);
        return send(sink.fd, l->at, l->len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)l->len;
    }

    if (sink.file && sink.file_size_max > 0 && sink.file_count > 0 && sink.file_size > 0 &&
        sink.file_size + (long long)l->len > sink.file_size_max)
        rotate();
    ready.fd = sink.fd;
    if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT))
        return false;
    ssize_t written = write(sink.fd, l->at, l->len);
    if (written > 0)
        sink.file_size += written;
    return written == (ssize_t)l->len;
}

/* ---- the interface ---- */

static bool facility_parse(const char *name, int *ret_facility)
{
    for (size_t i = 0; i < ARRAY_LEN(facilities); i++) {
        if (str_eq_nocase(name, facilities[i].name)) {
            *ret_facility = facilities[i].facility;
            return true;
        }
    }
    return false;
}

bool log_configure(const struct log_conf *conf, struct err *err)
{
    const char *socket_path = conf->syslog_socket ? conf->syslog_socket : SYSLOG_SOCKET;
    int fd = STDERR_FILENO;
    int facility = 0;
    long long size = 0;

    if (conf->syslog_facility) {
        if (!facility_parse(conf->syslog_facility, &facility))
            return err_set(err, ERR_INPUT, "%s is no syslog facility", conf->syslog_facility);
        fd = syslog_open(socket_path, err);
    } else if (conf->file) {
        fd = file_open(conf->file, &size, err);
    }
    if (fd < 0)
        return false;

    (void)pthread_mutex_lock(&sink.lock); /* fails only for what is no mutex */
    atomic_store(&sink.level, (int)conf->level);
    sink_swap_fd(fd);
    sink.json = conf->json;
    str_set(&sink.file, conf->syslog_facility ? NULL : conf->file);
    sink.file_size_max = conf->file_size_max;
    sink.file_count = conf->file_count;
    sink.file_size = size;
    sink.syslog = conf->syslog_facility != NULL;
    sink.facility = facility;
    str_set(&sink.syslog_socket, socket_path);
    (void)pthread_mutex_unlock(&sink.lock);
    return true;
}

void log_reopen(void)
{
    (void)pthread_mutex_lock(&sink.lock);
    if (sink.file)
        reopen_file();
    (void)pthread_mutex_unlock(&sink.lock);
}

bool log_level_parse(const char *name, enum log_level *ret_level)
{
    static const struct {
        const char *name;
        enum log_level level;
    } others[] = {{"NOTSET", LOG_LEVEL_DEBUG}, {"WARN", LOG_LEVEL_WARNING}, {"FATAL", LOG_LEVEL_CRITICAL}};
    int64_t number;

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (str_eq_nocase(name, others[i].name)) {
            *ret_level = others[i].level;
            return true;
        }
    }
    bool is_number = str_to_int(name, 0, INT32_MAX, &number);
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        /* A number between two levels shows the upper one and what is above. */
        bool last = i + 1 == ARRAY_LEN(levels);
        if (is_number ? number <= levels[i].number || last : str_eq_nocase(name, levels[i].name)) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    char message[MESSAGE_MAX];
    struct line line;
    va_list args;
    int saved_errno = errno;

    if ((int)level < atomic_load_explicit(&sink.level, memory_order_relaxed))
        return;

    va_start(args, fmt);
    (void)vsnprintf(message, sizeof(message), fmt, args); /* a cut message is still the event */
    va_end(args);

    (void)pthread_mutex_lock(&sink.lock);
    if (sink.lost) {
        char text[96];
        (void)snprintf(text, sizeof(text), "%lu log lines were lost: their reader did not keep up", sink.lost);
        render(&line, LOG_LEVEL_WARNING, "log.lost", text);
        if (put(&line))
            sink.lost = 0;
    }
    render(&line, level, event, message);
    if (!put(&line))
        sink.lost++;
    (void)pthread_mutex_unlock(&sink.lock);
    errno = saved_errno;
}
