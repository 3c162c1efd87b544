/*
 * IP addresses and networks: "10.1.2.3", "::1", "10.0.0.0/8".
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"

enum { IP_BYTES = 16, IP_TEXT_MAX = 64 };

struct ip { /* IPv4 as the IPv6 address it is mapped to, so that ::ffff:10.1.2.3 is 10.1.2.3 */
    unsigned char bytes[IP_BYTES];
};

struct ip_net {
    struct ip base;
    unsigned int bits; /* of the mapped form: 96 to 128 for IPv4 */
};

/* The whole of s as a numeric address; the zone of an IPv6 address ("%eth0") is ignored. */
MUST_USE bool ip_parse(const char *s, struct ip *ret_ip);

/* "address/bits" or an address alone. Bits of the address behind the prefix do not count. */
MUST_USE bool ip_net_parse(const char *s, struct ip_net *ret_net);

bool ip_net_has(const struct ip_net *net, const struct ip *ip);
