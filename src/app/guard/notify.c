#include "app/guard/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

static struct {
    int fd;
    struct sockaddr_un to;
    socklen_t to_len;
    msec watchdog_ms;
} notify = {.fd = -1, .watchdog_ms = MSEC_NEVER};

void notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    int64_t value;

    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(notify.to.sun_path))
        return;

    notify.to.sun_family = AF_UNIX;
    memcpy(notify.to.sun_path, path, strlen(path));
    if (path[0] == '@')
        notify.to.sun_path[0] = '\0'; /* an abstract name */
    notify.to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    notify.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    const char *pid = getenv("WATCHDOG_PID");
    if (pid && !(str_to_int(pid, 1, INT32_MAX, &value) && value == getpid()))
        return;
    if (str_to_int(getenv("WATCHDOG_USEC"), 2000, INT64_MAX / 2, &value))
        notify.watchdog_ms = value / 1000 / 2; /* half, as sd_watchdog_enabled(3) advises */
}

void notify_send(const char *text)
{
    if (notify.fd < 0)
        return;
    /* Nothing to do about a systemd that does not listen. */
    (void)sendto(notify.fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&notify.to, notify.to_len);
}

msec notify_watchdog_ms(void)
{
    return notify.watchdog_ms;
}
