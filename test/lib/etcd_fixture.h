/*
 * Real etcd servers for a test: one or more members on free loopback ports under a folder in /tmp.
 *
 * Members are ended by pid, and by the kernel if the test dies. etcd needs no configuration here; its
 * clock is made faster than the default so that elections take tenths of a second.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/auto.h"
#include "wire/conf/settings.h"

enum { ETCD_FIXTURE_MEMBERS_MAX = 3 };

struct tls_files;

struct etcd_fixture {
    char dir[64];
    size_t count;
    const struct tls_files *tls; /* NULL: plain */
    const char *auth_token;      /* --auth-token; NULL: etcd's default */
    struct {
        pid_t pid; /* 0: not running */
        int client_port, peer_port;
        char host[32]; /* "127.0.0.1:<client_port>" */
    } members[ETCD_FIXTURE_MEMBERS_MAX];
};

/* Starts all members; they may not answer yet. false: no etcd on this machine. */
MUST_USE bool etcd_fixture_start(struct etcd_fixture *f, size_t count, const struct tls_files *tls);
void etcd_fixture_stop(struct etcd_fixture *f); /* ends all, removes the folder */

void etcd_fixture_kill(struct etcd_fixture *f, size_t i);              /* kill -9, and waits for the end */
void etcd_fixture_restart(struct etcd_fixture *f, size_t i);           /* on its old data */
void etcd_fixture_signal(struct etcd_fixture *f, size_t i, int signo); /* SIGSTOP: returns when all of it stands */

/* Settings of a client of these members; release with etcd_fixture_settings_deinit(). */
void etcd_fixture_settings(const struct etcd_fixture *f, struct settings *ret);
void etcd_fixture_settings_deinit(struct settings *s);

/* An administrator's request to the first member, as JSON; true if it was answered with 200. */
bool etcd_fixture_post(const struct etcd_fixture *f, const char *path, const char *body);

/* The member that leads now; waits for an election at most 20 s. */
size_t etcd_fixture_leader(const struct etcd_fixture *f);
