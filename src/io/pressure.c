#include "io/pressure.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"

int pressure_cpu_percent(void)
{
    static const char begin[] = "some avg10=";
    char text[256] = "";

    AUTO(fd) int fd = open("/proc/pressure/cpu", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || !str_starts(text, begin))
        return -1;
    return (int)strtol(text + strlen(begin), NULL, 10);
}
