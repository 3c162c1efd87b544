#include "core/ha/minor.h"

#include <stddef.h>

#include "base/str.h"

enum { MAJOR_PER_VERSION = 10000 };

static const struct {
    int major, minor;
} fixed[] = {{13, 21}, {14, 18}, {15, 13}, {16, 9}, {17, 5}};

/* The first minor of this major version that is fixed; 0: all are. */
static int first_fixed(int major)
{
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (fixed[i].major == major)
            return fixed[i].minor;
    return 0;
}

bool minor_keeps_names(int version)
{
    int major = version / MAJOR_PER_VERSION;

    return major >= fixed[0].major && version % MAJOR_PER_VERSION >= first_fixed(major);
}

char *minor_why_not_strict(int version)
{
    int major = version / MAJOR_PER_VERSION;

    return str_fmt(
        "synchronous_mode_strict promises what PostgreSQL %d.%d does not keep: right after a start a commit may "
        "not wait (fixed in %d.%d)",
        major, version % MAJOR_PER_VERSION, major, first_fixed(major));
}
