#include "base/base64.h"

#include <stdint.h>
#include <string.h>

#include "base/buf.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    for (; len > 0; at += 3, len -= len < 3 ? len : 3) {
        uint32_t three = (uint32_t)at[0] << 16;
        char four[4] = {0, 0, '=', '='};

        if (len > 1)
            three |= (uint32_t)at[1] << 8;
        if (len > 2)
            three |= at[2];
        four[0] = alphabet[three >> 18];
        four[1] = alphabet[three >> 12 & 63];
        if (len > 1)
            four[2] = alphabet[three >> 6 & 63];
        if (len > 2)
            four[3] = alphabet[three & 63];
        buf_add(out, four, sizeof(four));
    }
}

static int digit_value(char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;

    return at ? (int)(at - alphabet) : -1;
}

bool base64_decode(struct buf *out, const char *text)
{
    size_t len = strlen(text);

    if (len % 4)
        return false;

    for (size_t i = 0; i < len; i += 4) {
        bool last = i + 4 == len;
        size_t digits = last && text[i + 3] == '=' ? (text[i + 2] == '=' ? 2 : 3) : 4;
        uint32_t three = 0;

        for (size_t k = 0; k < 4; k++) {
            int value = k < digits ? digit_value(text[i + k]) : 0;
            if (value < 0)
                return false;
            three = three << 6 | (uint32_t)value;
        }
        if ((digits == 2 && three & 0xffff) || (digits == 3 && three & 0xff))
            return false; /* bits that stand for nothing */
        const uint8_t bytes[3] = {three >> 16 & 0xff, three >> 8 & 0xff, three & 0xff};
        buf_add(out, bytes, digits - 1);
    }
    return true;
}
