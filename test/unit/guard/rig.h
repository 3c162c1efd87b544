/*
 * A guard under test: a directory, a real pgkeep-guard, and an agent on strings (puppet.c).
 *
 * Everything runs as an ordinary user (postgres, if the test is root) from copies in a directory that this
 * user can reach. Every wait has a deadline; a deadline that passes fails the test.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/time.h"
#include "wire/guard.h"

enum {
    RIG_WAIT_MS = 15000, /* far above what anything takes even on a busy machine; only a failure waits so long */
    RIG_SLACK_MS = 400,  /* how much later than it happened we may notice, on a busy machine */
};

struct rig {
    char dir[64];
    char data_dir[128];
    char state_dir[128];
    char guard_path[128];
    char puppet_path[128];
    char control_path[100];
    char log_path[128];      /* the guard's stderr */
    char guard_options[256]; /* set before rig_start(): options separated by spaces */
    char puppet_argument[16];
    char notify_path[100]; /* "": no NOTIFY_SOCKET */
    int listen_fd;
    int agent_fd; /* to the present puppet; -1: none */
    pid_t guard;  /* 0: none, or reaped */
    pid_t agent;
    uint64_t seq;
    struct guard_msg last; /* the last STATE or REFUSED */
    int pidfd;             /* the last that came; -1: none */
};

msec rig_now_ms(void);

void rig_nap(msec wait_ms);

void rig_init(struct rig *r);
/* Ends guard, agent and every process of the instance. */
void rig_end(struct rig *r);
/* … and removes the directory. */
void rig_deinit(struct rig *r);

/* The command as the user of the rig; its output goes to out_path (NULL: the guard's log). The pid. */
pid_t rig_spawn(const struct rig *r, const char *const *argv, const char *out_path);
/* A zombie does not live. */
bool rig_alive(pid_t pid);
void rig_until_dead(pid_t pid, msec wait_ms);
/* Until exec has made it this program. */
void rig_until_runs(pid_t pid, const char *name);
/* The exit status within the deadline. */
int rig_wait(pid_t pid, msec wait_ms);
int rig_run(const struct rig *r, const char *const *argv, const char *out_path);
/* Of one that ended by itself; fails the test if a signal ended it. */
int rig_exit_code(int status);

/* As a package manager does it: a new file under the old name. */
void rig_install(const char *from, const char *to);

void rig_start(struct rig *r);
/* The next agent has connected (not yet said HELLO). */
void rig_accept(struct rig *r, msec wait_ms);
/* … and has said it; the answer is in r->last. */
void rig_greet(struct rig *r);
/* rig_start, rig_accept, rig_greet. */
void rig_begin(struct rig *r);
int rig_guard_exit(struct rig *r, msec wait_ms);

/* An order to the puppet. */
void rig_order(struct rig *r, char order, char value);

struct guard_msg rig_message(enum guard_kind kind);
/* GUARD_ARM with deadlines counted from now. */
struct guard_msg rig_arm_at(msec stop_ms, msec quit_ms, msec kill_ms);
struct guard_msg rig_stop_with(enum guard_stop_mode mode);
/* Sends without waiting; its seq. */
uint64_t rig_send(struct rig *r, struct guard_msg *m);
void rig_send_raw(struct rig *r, const void *bytes, size_t len);
/* The next packet that is not an echo of the puppet's pings. False after wait_ms without one. */
bool rig_receive(struct rig *r, struct guard_msg *ret_msg, msec wait_ms);
/* Waits for the answer to seq; true if it is a STATE. r->last is the answer. */
bool rig_answer(struct rig *r, uint64_t seq);
/* rig_send and rig_answer. */
bool rig_ask(struct rig *r, struct guard_msg *m);
/* Until a packet of this kind comes. */
void rig_until_kind(struct rig *r, enum guard_kind kind, msec wait_ms);
/* Until r->last shows it. */
void rig_until_state(struct rig *r, enum guard_pg_state state, msec wait_ms);

/* Has text appeared in the file by now, or does it within wait_ms? */
bool rig_file_says(const char *path, const char *text, msec wait_ms);

/* Processes of the instance, found independently of the guard's code; their pids in ret_pids. */
int rig_instance(const struct rig *r, pid_t *ret_pids, int max);
void rig_until_no_instance(const struct rig *r, msec wait_ms);
