#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list args;

    if (!err)
        return false;

    err->code = code;
    err->sys_errno = 0;
    va_start(args, fmt);
    (void)vsnprintf(err->text, sizeof(err->text), fmt, args); /* a cut text is still the error */
    va_end(args);
    return false;
}

bool err_sys(struct err *err, int sys_errno, const char *fmt, ...)
{
    char reason[128];
    va_list args;

    if (!err)
        return false;

    err->code = ERR_SYS;
    err->sys_errno = sys_errno;
    va_start(args, fmt);
    int len = vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(err->text))
        return false;
    (void)snprintf(err->text + len, sizeof(err->text) - (size_t)len, ": %s",
                   strerror_r(sys_errno, reason, sizeof(reason)));
    return false;
}

bool err_wrap(struct err *err, const char *fmt, ...)
{
    char outer[ERR_TEXT_MAX];
    va_list args;

    if (!err)
        return false;

    va_start(args, fmt);
    int len = vsnprintf(outer, sizeof(outer) - 2, fmt, args);
    va_end(args);
    if (len < 0)
        return false;

    size_t outer_len = strnlen(outer, sizeof(outer) - 3);
    outer[outer_len++] = ':';
    outer[outer_len++] = ' ';
    memmove(err->text + outer_len, err->text, sizeof(err->text) - outer_len);
    memcpy(err->text, outer, outer_len);
    err->text[sizeof(err->text) - 1] = '\0';
    return false;
}
