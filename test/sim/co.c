#undef _FORTIFY_SOURCE /* its longjmp() takes another stack for a mistake */
#include "test/sim/co.h"

#include <setjmp.h>
#include <stdlib.h>
#include <ucontext.h>

#include "base/check.h"
#include "base/str.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK = 256 * 1024 };

/*
 * ucontext gives a stack, setjmp() changes between stacks: without the two system calls of swapcontext(). The
 * first way in is setcontext(), the others are _longjmp().
 */
struct co {
    struct co *next; /* of those that wait for work */
    ucontext_t begin;
    jmp_buf at;
    bool begun; /* `at` stands inside */
    bool ended, died;
    void (*fn)(void *arg);
    void *arg;
    void *fake_stack;
    char stack[] __attribute__((aligned(16)));
};

static struct co *idle;
static struct co *inside; /* the one that runs */
static jmp_buf outside;

/* ---- ASan wants to know on which stack it is ---- */

#ifdef __SANITIZE_ADDRESS__
static void *outer_fake, *mutable_bottom;
static size_t outer_size;

static void going_in(struct co *c)
{
    __sanitizer_start_switch_fiber(&outer_fake, c->stack, STACK);
}

static void got_in(struct co *c)
{
    const void *bottom = NULL;
    __sanitizer_finish_switch_fiber(c->fake_stack, &bottom, &outer_size);
    mutable_bottom = (void *)(uintptr_t)bottom;
}

static void going_out(struct co *c)
{
    __sanitizer_start_switch_fiber(c->died ? NULL : &c->fake_stack, mutable_bottom, outer_size);
}

static void got_out(void)
{
    __sanitizer_finish_switch_fiber(outer_fake, NULL, NULL);
}
#else
static void going_in(struct co *c)
{
}

static void got_in(struct co *c)
{
}

static void going_out(struct co *c)
{
}

static void got_out(void)
{
}
#endif

/* ---- in and out ---- */

static void go_out(struct co *c)
{
    going_out(c);
    if (!_setjmp(c->at))
        _longjmp(outside, 1);
    got_in(c);
}

static void work(void)
{
    struct co *c = inside;

    got_in(c);
    for (;;) {
        c->begun = true;
        c->fn(c->arg);
        c->ended = true;
        go_out(c);
        c = inside; /* the compiler may have kept it in a register of before */
    }
}

static struct co *fresh(void)
{
    struct co *c = idle;

    if (c) {
        idle = c->next;
    } else {
        c = mem_zero(1, sizeof(*c) + STACK);
    }
    return c;
}

static void put_back(struct co *c)
{
    c->next = idle;
    idle = c;
}

static struct co *go_in(struct co *take_c)
{
    struct co *volatile c = take_c;

    CHECK(!inside);
    inside = c;
    c->ended = false;
    going_in(c);
    if (!_setjmp(outside)) {
        if (c->begun)
            _longjmp(c->at, 1);
        CHECK(getcontext(&c->begin) == 0);
        c->begin.uc_stack.ss_sp = c->stack;
        c->begin.uc_stack.ss_size = STACK;
        c->begin.uc_link = NULL;
        makecontext(&c->begin, work, 0);
        (void)setcontext(&c->begin); /* returns only if it fails */
        CHECK(!"setcontext");
    }
    got_out();
    inside = NULL;
    if (!c->ended && !c->died)
        return c;
    if (c->died)
        c->begun = c->died = false; /* its stack begins anew */
    put_back(c);
    return NULL;
}

struct co *co_run(void (*fn)(void *arg), void *arg)
{
    struct co *c = fresh();

    c->fn = fn;
    c->arg = arg;
    return go_in(c);
}

struct co *co_go_on(struct co *c)
{
    return go_in(c);
}

void co_drop(struct co *c)
{
    c->begun = false;
    put_back(c);
}

bool co_inside(void)
{
    return inside != NULL;
}

void co_step_aside(void)
{
    CHECK(inside);
    go_out(inside);
}

void co_die(void)
{
    CHECK(inside);
    inside->died = true;
    going_out(inside);
    _longjmp(outside, 1);
}
