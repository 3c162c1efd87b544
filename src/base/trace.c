#include "base/trace.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char ring[TRACE_LINES][TRACE_LINE_MAX];
static _Thread_local unsigned int next;

void trace_add(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(ring[next % TRACE_LINES], TRACE_LINE_MAX, fmt, args); /* cut lines are fine */
    va_end(args);
    next++;
}

void trace_print(void (*put)(const char *text))
{
    unsigned int first = next > TRACE_LINES ? next - TRACE_LINES : 0;

    for (unsigned int i = first; i < next; i++) {
        put("  trace: ");
        put(ring[i % TRACE_LINES]);
        put("\n");
    }
}
