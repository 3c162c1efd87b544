/*
 * Code that can be stopped at any of its lines: it runs on a stack of its own, and steps aside.
 *
 * What stepped aside goes on when it is told to, or never: what it held is then gone with it, as with a process that
 * was killed.
 */
#pragma once

#include <stdbool.h>

struct co;

/* Runs fn(arg) until it ends or steps aside. NULL: it has ended. Else who goes on with it, or drops it. */
struct co *co_run(void (*fn)(void *arg), void *arg);
/* The same for one that had stepped aside. */
struct co *co_go_on(struct co *c);
void co_drop(struct co *c);

/* From inside: true, if there is somebody to step aside for. */
bool co_inside(void);
/* From inside: comes back when told to go on. */
void co_step_aside(void);
/* From inside: never comes back, co_run() and co_go_on() say that it has ended. */
_Noreturn void co_die(void);
