#include "app/guard/leftovers.h"

#include <signal.h>
#include <unistd.h>

#include "app/guard/procs.h"
#include "app/guard/say.h"

struct sweep {
    const pid_t *spared;
    size_t spared_count;
    bool found;
};

static bool is_spared(const struct sweep *w, pid_t pid)
{
    for (size_t i = 0; i < w->spared_count; i++)
        if (w->spared[i] == pid)
            return true;
    return false;
}

static void look_at(pid_t pid, void *arg)
{
    struct sweep *w = arg;
    struct proc_stat stat;

    if (is_spared(w, pid) || !proc_stat_read(pid, &stat) || stat.ppid != getpid() || stat.state == 'Z' ||
        stat.session != getsid(0) || stat.group == getpgrp())
        return;
    if (kill(-stat.group, SIGKILL) == 0)
        say_warning("guard.leftovers", "a program of the agent left process %d (group %d) behind, killed", (int)pid,
                    (int)stat.group);
    w->found = true;
}

bool leftovers_kill(const pid_t *spared, size_t count)
{
    struct sweep w = {.spared = spared, .spared_count = count};

    (void)procs_each(look_at, &w); /* without /proc nothing can be told from anything else */
    return w.found;
}
