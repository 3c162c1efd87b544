#include "base/check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/trace.h"

/* stdio is avoided: the heap may be what is broken. */
static void put(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* we are about to abort; there is nobody left to tell */
}

static void put_int(int value)
{
    char digits[16];
    size_t at = sizeof(digits);
    unsigned int rest = value < 0 ? 0 : (unsigned int)value;

    digits[--at] = '\0';
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest && at);
    put(digits + at);
}

_Noreturn void check_failed(const char *condition, const char *file, int line)
{
    put("CHECK failed: ");
    put(condition);
    put(" at ");
    put(file);
    put(":");
    put_int(line);
    put("\n");
    trace_print(put);
    abort();
}
