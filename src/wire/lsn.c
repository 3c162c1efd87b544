#include "wire/lsn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *lsn_text(lsn at, char text[LSN_TEXT_MAX])
{
    (void)snprintf(text, LSN_TEXT_MAX, "%X/%X", (unsigned int)(at >> 32), (unsigned int)at);
    return text;
}

/* One to eight hex digits up to `end`. */
static bool half_parse(const char *s, const char *end, uint32_t *ret_half)
{
    uint32_t half = 0;

    if (s == end || end - s > 8)
        return false;
    for (; s < end; s++) {
        const char *digits = "0123456789abcdef";
        char c = (*s >= 'A' && *s <= 'F') ? (char)(*s - 'A' + 'a') : *s;
        const char *at = c ? strchr(digits, c) : NULL;
        if (!at)
            return false;
        half = half << 4 | (uint32_t)(at - digits);
    }
    *ret_half = half;
    return true;
}

bool lsn_parse(const char *s, lsn *ret_lsn)
{
    const char *slash = s ? strchr(s, '/') : NULL;
    uint32_t high;
    uint32_t low;

    if (!slash || !half_parse(s, slash, &high) || !half_parse(slash + 1, s + strlen(s), &low))
        return false;

    *ret_lsn = (lsn)high << 32 | low;
    return true;
}
