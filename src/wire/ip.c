#include "wire/ip.h"

#include <string.h>

#include "base/check.h"
#include "base/str.h"

enum { IPV4_AT = 12, IPV4_BYTES = 4, IPV4_BITS = 32, IPV6_BITS = 128, GROUP_DIGITS_MAX = 4 };

/* Four numbers up to 255 without leading zeros, to the end of s. */
static bool ipv4_parse(const char *s, unsigned char bytes[IPV4_BYTES])
{
    for (int i = 0; i < IPV4_BYTES; i++) {
        size_t digits = strspn(s, "0123456789");
        unsigned int value = 0;

        if (digits < 1 || digits > 3 || (digits > 1 && *s == '0'))
            return false;
        for (size_t at = 0; at < digits; at++)
            value = value * 10 + (unsigned int)(s[at] - '0');
        if (value > UINT8_MAX || s[digits] != (i < IPV4_BYTES - 1 ? '.' : '\0'))
            return false;
        bytes[i] = (unsigned char)value;
        s += digits + 1;
    }
    return true;
}

/* One to four hexadecimal digits off the front of *at. */
static bool take_group(const char **at, unsigned int *ret_group)
{
    size_t digits = strspn(*at, "0123456789abcdefABCDEF");
    unsigned int group = 0;

    if (digits < 1 || digits > GROUP_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < digits; i++) {
        unsigned int c = (unsigned char)(*at)[i];
        group = group << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    *at += digits;
    *ret_group = group;
    return true;
}

/* RFC 4291, 2.2: groups, "::" for a run of zeros, the last two groups possibly as IPv4. */
static bool ipv6_parse(const char *s, unsigned char bytes[IP_BYTES])
{
    size_t len = 0;
    size_t gap = IP_BYTES + 1; /* where "::" stands */

    memset(bytes, 0, IP_BYTES);
    if (str_starts(s, "::")) {
        gap = 0;
        s += 2;
    }
    while (*s) {
        unsigned int group;

        if (len + IPV4_BYTES <= IP_BYTES && ipv4_parse(s, bytes + len)) {
            len += IPV4_BYTES;
            break;
        }
        if (len + 2 > IP_BYTES || !take_group(&s, &group))
            return false;
        bytes[len++] = (unsigned char)(group >> 8);
        bytes[len++] = (unsigned char)group;
        if (!*s)
            break;
        if (str_starts(s, "::") && gap > IP_BYTES) {
            gap = len;
            s += 2;
        } else if (*s != ':' || !*++s) {
            return false;
        }
    }
    if (gap > IP_BYTES)
        return len == IP_BYTES;
    if (len == IP_BYTES)
        return false; /* "::" stands for one group at least */

    CHECK(gap <= len);
    memmove(bytes + IP_BYTES - (len - gap), bytes + gap, len - gap);
    memset(bytes + gap, 0, IP_BYTES - len);
    return true;
}

/* The first len bytes of s. */
static bool parse(const char *s, size_t len, bool *ret_is_ipv4, struct ip *ret_ip)
{
    struct ip ip = {{[IPV4_AT - 2] = 0xff, [IPV4_AT - 1] = 0xff}};
    char text[IP_TEXT_MAX];

    if (len >= sizeof(text))
        return false;
    memcpy(text, s, len);
    text[len] = '\0';
    bool is_ipv4 = !strchr(text, ':');
    text[strcspn(text, "%")] = '\0';
    if (is_ipv4 ? !ipv4_parse(text, ip.bytes + IPV4_AT) : !ipv6_parse(text, ip.bytes))
        return false;

    *ret_is_ipv4 = is_ipv4;
    *ret_ip = ip;
    return true;
}

bool ip_parse(const char *s, struct ip *ret_ip)
{
    bool is_ipv4;

    return s && parse(s, strlen(s), &is_ipv4, ret_ip);
}

bool ip_net_parse(const char *s, struct ip_net *ret_net)
{
    struct ip_net net;
    bool is_ipv4;

    if (!s || !parse(s, strcspn(s, "/"), &is_ipv4, &net.base))
        return false;
    const char *slash = strchr(s, '/');
    int64_t bits_max = is_ipv4 ? IPV4_BITS : IPV6_BITS;
    int64_t bits = bits_max;
    if (slash && !str_to_int(slash + 1, 0, bits_max, &bits))
        return false;

    net.bits = (unsigned int)(IPV6_BITS - bits_max + bits);
    *ret_net = net;
    return true;
}

bool ip_net_has(const struct ip_net *net, const struct ip *ip)
{
    unsigned int whole = net->bits / 8;
    unsigned int rest = net->bits % 8;

    if (memcmp(net->base.bytes, ip->bytes, whole) != 0)
        return false;
    return rest == 0 || (net->base.bytes[whole] ^ ip->bytes[whole]) >> (8 - rest) == 0;
}
