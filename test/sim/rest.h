/*
 * Questions by REST, as other agents and operators ask them.
 */
#pragma once

#include "test/sim/world.h"

struct rest_call;

/* status 0: no answer; body is never NULL. */
typedef void rest_done_fn(int status, const char *body, void *arg);

/* asker NULL: nobody's process (an operator). url: http://10.0.0.<host id + 1>:8008/path. */
struct rest_call *rest_ask(struct host *from, struct proc *asker, const char *method, const char *url, const char *body,
                           msec budget_ms, rest_done_fn *done, void *arg);
