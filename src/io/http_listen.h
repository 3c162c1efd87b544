/*
 * The addresses an HTTP server listens on: from what the operator wrote to bound sockets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/auto.h"
#include "base/err.h"

enum { LISTEN_ADDRS_MAX = 32 }; /* of one server; people write one or two hosts */

struct listen_addr {
    struct sockaddr_storage at;
    socklen_t at_len;
    unsigned int host_i; /* addresses of one host have the same; one of them has to be had */
};

/*
 * The addresses of comma separated hosts: names, addresses (IPv6 also in brackets), "*" or "" for all.
 * Each address once, in the order written. Names are looked up here and now.
 */
MUST_USE bool listen_resolve(const char *hosts, int port, struct listen_addr *ret_addrs, size_t addrs_max,
                             size_t *ret_count, struct err *err);

bool listen_addr_eq(const struct listen_addr *a, const struct listen_addr *b);
int listen_addr_port(const struct listen_addr *a);

/* A listening socket (non-blocking, close-on-exec). A failure is ERR_SYS and names the address. */
MUST_USE bool listen_open(const struct listen_addr *addr, int backlog, int *ret_fd, struct err *err);

/* True for the error of an address that this machine does not have: another of the same host will do. */
bool listen_is_absent(const struct err *err);
