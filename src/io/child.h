/*
 * Programs we run: with a deadline, output bounded and handed back, no shell unless asked for.
 *
 * The child gets its own process group and PR_SET_PDEATHSIG = SIGKILL, so that a successor of this
 * agent never meets a half-done clone that still runs; what it has started itself the guard ends (leftovers.h), unless
 * it has a session of its own. The kernel sends that signal when the *thread*
 * that started the child ends: start children from a thread that lives as long as the program.
 * Signals are reset, descriptors above 2 closed. The end is the end of the child itself: who inherited
 * its output and lives on is not waited for. A program that exists but cannot be executed, or whose
 * folder cannot be entered, shows as exit 127 with the reason on stderr, as from a shell.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

struct loop;
struct child;

enum { CHILD_OUTPUT_MAX = 256 * 1024 }; /* kept per stream: the last bytes; enough for any tool's complaint */

struct child_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
    const char *const *env;  /* KEY=VALUE added to ours, NULL-terminated; may be NULL */
    const char *cwd;         /* NULL: ours */
    bool own_session;        /* what it starts may outlive us: it writes nothing of ours */
    const char *input;       /* written to stdin, then closed; NULL: /dev/null */
    msec budget_ms;          /* after it SIGTERM, 2 s later SIGKILL, to the group; 0: none, the owner must bound it */
    msec silence_ms;         /* the same, once it has said nothing for so long; 0: it may be silent */
    void (*line)(const char *line, bool from_stderr, void *arg); /* every whole line as it comes; may be NULL */
};

struct child_result {
    bool exited; /* false: ended by `signal` */
    int status;  /* exit code */
    int signal;
    bool timed_out;  /* our budget ended it */
    const char *out; /* NUL-terminated; valid during the callback */
    const char *errout;
};

typedef void child_done_fn(const struct child_result *result, void *arg);

/*
 * false (with err): nothing was started and no callback will run. *ret_child is valid until `done` returns;
 * ret_child may be NULL.
 */
MUST_USE bool child_start(struct loop *l, const struct child_spec *spec, child_done_fn *done, void *arg,
                          struct child **ret_child, struct err *err);
/* To the whole group. */
void child_signal(struct child *c, int signo);
pid_t child_pid(const struct child *c);
/* SIGKILL, forget, no callback; also from inside its callbacks. It is reaped when it is gone. NULL is fine. */
void child_abandon(struct child *c);

/* True if the result is exit 0; otherwise *err gets "pg_basebackup: exit 1: <last line of stderr>". */
bool child_succeeded(const struct child_result *r, const char *name, struct err *err);
