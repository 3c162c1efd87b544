#include <stdio.h>
#include <string.h>

#include "app/demo/cluster.h"
#include "base/str.h"
#include "pg/file.h"

enum { TAIL_BYTES = 256 * 1024, TAIL_LINES_MAX = 100 };

static bool tells_of_trouble(const char *line)
{
    return strstr(line, "WARNING") || strstr(line, "ERROR") || strstr(line, "CRITICAL") || strstr(line, "FATAL") ||
           strstr(line, "PANIC");
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

static void print_lines(const char *const *lines, int count)
{
    for (int i = 0; i < count; i++)
        (void)printf("    %s\n", lines[i]);
}

void demo_show_log(const char *path, int lines)
{
    const char *trouble[TAIL_LINES_MAX], *last[TAIL_LINES_MAX];
    AUTO(cstr) char *text = file_read_end(path, TAIL_BYTES);
    AUTO(cstr) char *again = str_dup(text);
    int half = lines / 2 < TAIL_LINES_MAX ? lines / 2 : TAIL_LINES_MAX;

    if (!text || !*text) {
        (void)printf("  %s: nothing there\n", path);
        return;
    }
    int trouble_count = last_lines(text, half, true, trouble);
    int last_count = last_lines(again, half, false, last);
    (void)printf("  %s%s:\n", path, trouble_count ? ", of trouble" : "");
    print_lines(trouble, trouble_count);
    if (trouble_count)
        (void)printf("  %s, at last:\n", path);
    print_lines(last, last_count);
}
