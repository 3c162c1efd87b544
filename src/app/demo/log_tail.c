#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/demo/cluster.h"
#include "base/str.h"

enum { TAIL_BYTES = 256 * 1024, TAIL_LINES_MAX = 100 };

static bool tells_of_trouble(const char *line)
{
    return strstr(line, "WARNING") || strstr(line, "ERROR") || strstr(line, "CRITICAL") || strstr(line, "FATAL") ||
           strstr(line, "PANIC");
}

/* The last bytes of the file; free() it. NULL: unreadable. */
static char *read_end(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = mem_zero(TAIL_BYTES + 1, 1);

    if (!file || fseek(file, 0, SEEK_END) < 0) {
        free(text);
        text = NULL;
    } else {
        long size = ftell(file);
        (void)fseek(file, size > TAIL_BYTES ? size - TAIL_BYTES : 0, SEEK_SET); /* the worst is another part of it */
        (void)!fread(text, 1, TAIL_BYTES, file);                                /* as much as there is */
    }
    if (file)
        (void)fclose(file); /* it was only read */
    return text;
}

/* The last `wanted` lines, all or those of trouble; they point into text, which is cut into lines. Returns how many. */
static int last_lines(char *text, int wanted, bool trouble, const char **ret_lines)
{
    char *state = NULL;
    int count = 0;

    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
        if (trouble && !tells_of_trouble(line))
            continue;
        if (count == wanted)
            memmove(ret_lines, ret_lines + 1, (size_t)(--count) * sizeof(*ret_lines));
        ret_lines[count++] = line;
    }
    return count;
}

void demo_show_log(const char *path, int lines)
{
    const char *found[TAIL_LINES_MAX];
    AUTO(cstr) char *text = read_end(path);
    AUTO(cstr) char *again = str_dup(text);
    int wanted = lines < TAIL_LINES_MAX ? lines : TAIL_LINES_MAX;

    if (!text || !*text) {
        (void)printf("  %s: nothing there\n", path);
        return;
    }
    int count = last_lines(text, wanted, true, found);
    if (!count)
        count = last_lines(again, wanted, false, found);
    (void)printf("  %s:\n", path);
    for (int i = 0; i < count; i++)
        (void)printf("    %s\n", found[i]);
}
