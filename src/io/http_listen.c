#include "io/http_listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"

enum { HOST_MAX = 256, SERVICE_MAX = 8 };

/* The next host of a list into host[HOST_MAX], without blanks and brackets. false: too long. */
static bool host_next(const char **list, char *host)
{
    const char *from = *list + strspn(*list, " ");
    size_t len = strcspn(from, ",");

    *list = from[len] ? from + len + 1 : NULL;
    while (len > 0 && from[len - 1] == ' ')
        len--;
    if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
        from++;
        len -= 2;
    }
    if (len >= HOST_MAX)
        return false;

    memcpy(host, from, len);
    host[len] = '\0';
    return true;
}

bool listen_addr_eq(const struct listen_addr *a, const struct listen_addr *b)
{
    return a->at_len == b->at_len && memcmp(&a->at, &b->at, a->at_len) == 0;
}

int listen_addr_port(const struct listen_addr *a)
{
    const void *at = &a->at;

    if (a->at.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)at)->sin6_port);
    return ntohs(((const struct sockaddr_in *)at)->sin_port);
}

static bool known(const struct listen_addr *addrs, size_t count, const struct listen_addr *addr)
{
    for (size_t i = 0; i < count; i++) {
        if (listen_addr_eq(&addrs[i], addr))
            return true;
    }
    return false;
}

bool listen_resolve(const char *hosts, int port, struct listen_addr *ret_addrs, size_t addrs_max, size_t *ret_count,
                    struct err *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    char host[HOST_MAX];
    char service[SERVICE_MAX];
    size_t count = 0;
    unsigned int host_i = 0;

    (void)snprintf(service, sizeof(service), "%d", port);
    for (const char *rest = hosts ? hosts : ""; rest; host_i++) {
        struct addrinfo *found;

        if (!host_next(&rest, host))
            return err_set(err, ERR_INPUT, "a host of \"%s\" is too long", hosts);
        bool any = host[0] == '\0' || str_eq(host, "*");
        int failed = getaddrinfo(any ? NULL : host, service, &hints, &found);
        if (failed)
            return err_set(err, ERR_INPUT, "looking up \"%s\": %s", host, gai_strerror(failed));

        for (const struct addrinfo *at = found; at && count < addrs_max; at = at->ai_next) {
            struct listen_addr addr = {.at_len = at->ai_addrlen, .host_i = host_i};

            CHECK(at->ai_addrlen <= sizeof(addr.at));
            memcpy(&addr.at, at->ai_addr, at->ai_addrlen);
            if (!known(ret_addrs, count, &addr))
                ret_addrs[count++] = addr;
        }
        freeaddrinfo(found);
    }
    *ret_count = count;
    return true;
}

bool listen_open(const struct listen_addr *addr, int backlog, int *ret_fd, struct err *err)
{
    const int on = 1;
    const struct sockaddr *at = (const struct sockaddr *)&addr->at;
    char host[HOST_MAX] = "?";

    /* Numeric: asks nobody. */
    (void)getnameinfo(at, addr->at_len, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
    AUTO(fd) int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(err, errno, "listening on %s, port %d", host, listen_addr_port(addr));

    /* Best effort: without them restarts wait for TIME_WAIT, small answers for the delayed
     * acknowledgement, and a peer that vanished while we work is noticed at our limits only. All but
     * the first are inherited by accepted sockets. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    /* "*" gives one socket for each family; without this the two would want the same port. */
    if (at->sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, at, addr->at_len) != 0 || listen(fd, backlog) != 0)
        return err_sys(err, errno, "listening on %s, port %d", host, listen_addr_port(addr));

    *ret_fd = take_fd(&fd);
    return true;
}

bool listen_is_absent(const struct err *err)
{
    return err->code == ERR_SYS && (err->sys_errno == EADDRNOTAVAIL || err->sys_errno == EAFNOSUPPORT);
}
