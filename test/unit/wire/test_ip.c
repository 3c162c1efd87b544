#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <string.h>

#include "base/str.h"
#include "wire/ip.h"

/* Those of the C library are the judge. */
static void assert_as_inet_pton(const char *text)
{
    struct ip ip;
    unsigned char theirs[16] = {[10] = 0xff, [11] = 0xff};
    bool is_ipv6 = strchr(text, ':') != NULL;
    bool good = inet_pton(is_ipv6 ? AF_INET6 : AF_INET, text, is_ipv6 ? theirs : theirs + 12) == 1;

    if (ip_parse(text, &ip) != good)
        fail_msg("\"%s\": inet_pton says %d", text, good);
    if (good)
        assert_memory_equal(ip.bytes, theirs, sizeof(theirs));
}

static void test_addresses_are_read_as_the_c_library_does(void **state)
{
    static const char *const texts[] = {
        "0.0.0.0",
        "10.1.2.3",
        "255.255.255.255",
        "256.1.1.1",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.04",
        "1..2.3",
        "1.2.3.4 ",
        " 1.2.3.4",
        "",
        "a",
        "1.2.3.x",
        "1.2.3.4:80",
        "::",
        "::1",
        "1::",
        "fe80::1",
        "2001:db8::8:800:200c:417a",
        "2001:DB8:0:0:8:800:200C:417A",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8",
        "1:2:3:4::5:6:7:8",
        "1::2::3",
        ":1",
        "1:",
        ":::",
        "1:::2",
        "12345::",
        "::ffff:10.1.2.3",
        "::10.1.2.3",
        "1:2:3:4:5:6:1.2.3.4",
        "1:2:3:4:5:6:7:1.2.3.4",
        "::1.2.3",
        "::1.2.3.4:5",
        "g::",
        "1:2:3:4:5:6:7:8::",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_as_inet_pton(texts[i]);
}

static void test_the_zone_of_an_address_does_not_count(void **state)
{
    struct ip with, without;

    (void)state;
    assert_true(ip_parse("fe80::1%eth0", &with));
    assert_true(ip_parse("fe80::1", &without));
    assert_memory_equal(&with, &without, sizeof(with));
}

static void test_networks_hold_what_shares_their_prefix(void **state)
{
    static const struct {
        const char *net, *ip;
        bool has;
    } rows[] = {
        {"10.0.0.0/8", "10.255.1.1", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.9.9.9/8", "10.1.1.1", true}, /* bits of the host do not count */
        {"192.168.1.128/25", "192.168.1.127", false},
        {"192.168.1.128/25", "192.168.1.200", true},
        {"10.1.2.3", "10.1.2.3", true},
        {"10.1.2.3", "10.1.2.4", false},
        {"10.1.2.3/32", "10.1.2.3", true},
        {"10.1.2.2/31", "10.1.2.3", true},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "::1", false}, /* every IPv4 address, not every address */
        {"::/0", "10.1.2.3", true},
        {"2001:db8::/32", "2001:db8:1::2", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"::ffff:10.0.0.0/104", "10.1.2.3", true},
    };
    struct ip_net net;
    struct ip ip;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(ip_net_parse(rows[i].net, &net));
        assert_true(ip_parse(rows[i].ip, &ip));
        if (ip_net_has(&net, &ip) != rows[i].has)
            fail_msg("%s in %s", rows[i].ip, rows[i].net);
    }
}

static void test_what_is_no_network_is_refused(void **state)
{
    static const char *const texts[] = {"10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/",   "10.0.0/8", "::/129",
                                        "host",        "/8",          "1.2.3.4/8/8", ""};
    struct ip_net net;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_false(ip_net_parse(texts[i], &net));
    assert_false(ip_net_parse(NULL, &net));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_read_as_the_c_library_does),
        cmocka_unit_test(test_the_zone_of_an_address_does_not_count),
        cmocka_unit_test(test_networks_hold_what_shares_their_prefix),
        cmocka_unit_test(test_what_is_no_network_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
