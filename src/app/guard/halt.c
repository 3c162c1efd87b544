#include "app/guard/halt.h"

#include <signal.h>

#include "base/check.h"

enum halt_level halt_level(const struct halt *h, msec now_ms)
{
    if (!h->set)
        return HALT_NONE;
    if (now_ms >= h->kill_at_ms)
        return HALT_KILL;

    enum halt_level level = now_ms >= h->at_ms ? h->first : HALT_NONE;
    if (now_ms >= h->quit_at_ms && level < HALT_QUIT)
        level = HALT_QUIT;
    return level;
}

msec halt_next_ms(const struct halt *h, msec now_ms)
{
    const msec moments[] = {h->at_ms, h->quit_at_ms, h->kill_at_ms};
    msec next = MSEC_NEVER;

    if (!h->set)
        return MSEC_NEVER;
    for (int i = 0; i < 3; i++)
        if (moments[i] > now_ms)
            next = msec_min(next, moments[i]);
    return next;
}

int halt_signal(enum halt_level level)
{
    switch (level) {
    case HALT_NONE:
        return 0;
    case HALT_SMART:
        return SIGTERM;
    case HALT_FAST:
        return SIGINT;
    case HALT_QUIT:
        return SIGQUIT;
    case HALT_KILL:
        return SIGKILL;
    }
    UNREACHABLE();
}

const char *halt_name(enum halt_level level)
{
    switch (level) {
    case HALT_NONE:
        return "none";
    case HALT_SMART:
        return "smart";
    case HALT_FAST:
        return "fast";
    case HALT_QUIT:
        return "immediate";
    case HALT_KILL:
        return "kill";
    }
    UNREACHABLE();
}
