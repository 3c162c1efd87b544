#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void test_the_examples_of_rfc_4648(void **state)
{
    static const char *const examples[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };

    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        AUTO(buf) struct buf text = BUF_EMPTY;
        AUTO(buf) struct buf bytes = BUF_EMPTY;
        base64_encode(&text, examples[i][0], strlen(examples[i][0]));
        assert_string_equal(buf_cstr(&text), examples[i][1]);
        assert_true(base64_decode(&bytes, examples[i][1]));
        assert_string_equal(buf_cstr(&bytes), examples[i][0]);
    }
}

static void test_all_bytes_survive_at_every_length(void **state)
{
    uint8_t all[256];

    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)(255 - i);
    for (size_t len = 0; len <= sizeof(all); len++) {
        AUTO(buf) struct buf text = BUF_EMPTY;
        AUTO(buf) struct buf bytes = BUF_EMPTY;
        base64_encode(&text, all, len);
        assert_true(base64_decode(&bytes, buf_cstr(&text)));
        assert_int_equal(bytes.len, len);
        if (len)
            assert_memory_equal(bytes.at, all, len);
    }
}

static void test_what_is_no_canonical_base64_is_refused(void **state)
{
    static const char *const bad[] = {"Z",    "Zg",       "Zg=",  "Zg= =", "Zh==", "Zm9=",   "Z===",
                                      "====", "Zg==Zg==", "Zm 9", "Zm-9",  "Zm_9", "Zm9v\n", "Zm=v"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(buf) struct buf bytes = BUF_EMPTY;
        if (base64_decode(&bytes, bad[i]))
            fail_msg("\"%s\" was taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_examples_of_rfc_4648),
        cmocka_unit_test(test_all_bytes_survive_at_every_length),
        cmocka_unit_test(test_what_is_no_canonical_base64_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
