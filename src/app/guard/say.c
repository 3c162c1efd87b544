#include "app/guard/say.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

enum { SAY_LINE_MAX = 1024 }; /* below PIPE_BUF (4096): a line is written whole or not at all */

static struct {
    int fd;
    bool socket; /* the journal: send() can be told not to wait */
    bool own;    /* reopened by us, so that O_NONBLOCK does not reach others who share stderr */
    unsigned int dropped;
} out = {.fd = STDERR_FILENO};

void say_init(void)
{
    struct stat st;
    struct tm warm;
    time_t now = time(NULL);

    tzset();
    (void)localtime_r(&now, &warm); /* loads what the time zone needs, once */

    if (fstat(STDERR_FILENO, &st) < 0)
        return;
    out.socket = S_ISSOCK(st.st_mode);

    /* A regular file stays as it is: with an offset of our own we and the agent would write over each other. */
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
        return;

    /* May be refused (a terminal of another user after su); then poll() before each write has to do. */
    int fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        out.fd = fd;
        out.own = true;
    }
}

static bool put(const char *line, size_t len)
{
    struct pollfd ready = {.fd = out.fd, .events = POLLOUT};

    if (out.socket)
        return send(out.fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
    if (!out.own && (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT)))
        return false;
    return write(out.fd, line, len) == (ssize_t)len;
}

static void say(const char *level, const char *event, const char *fmt, va_list args)
{
    char line[SAY_LINE_MAX];
    char tail[128];
    struct timespec now = {0};
    struct tm tm = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)localtime_r(&now.tv_sec, &tm);
    size_t len = strftime(line, sizeof(line), "%Y-%m-%d %H:%M:%S", &tm);
    len += (size_t)snprintf(line + len, sizeof(line) - len, ",%03ld %s: ", now.tv_nsec / 1000000, level);

    int tail_len = out.dropped ? snprintf(tail, sizeof(tail), " event=%s dropped=%u\n", event, out.dropped)
                               : snprintf(tail, sizeof(tail), " event=%s\n", event);
    size_t room = sizeof(line) - len - (size_t)tail_len;
    int text_len = vsnprintf(line + len, room, fmt, args);
    if (text_len > 0)
        len += (size_t)text_len < room ? (size_t)text_len : room - 1;
    memcpy(line + len, tail, (size_t)tail_len);
    len += (size_t)tail_len;

    if (put(line, len))
        out.dropped = 0;
    else
        out.dropped++;
}

#define SAY_FN(name, level)                            \
    void name(const char *event, const char *fmt, ...) \
    {                                                  \
        va_list args;                                  \
                                                       \
        va_start(args, fmt);                           \
        say(level, event, fmt, args);                  \
        va_end(args);                                  \
    }

SAY_FN(say_info, "INFO")
SAY_FN(say_warning, "WARNING")
SAY_FN(say_error, "ERROR")
