#include "io/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"

bool process_stat_read(pid_t pid, struct process_stat *ret_stat)
{
    char path[32];
    char line[512] = "";

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
        return false;

    const char *after_name = strrchr(line, ')'); /* names may hold anything; ") S 1234 …" follows */
    if (!after_name || strlen(after_name) <= 4)
        return false;
    *ret_stat = (struct process_stat){.state = after_name[2], .parent = (pid_t)strtol(after_name + 4, NULL, 10)};
    return true;
}
