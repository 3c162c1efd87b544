/*
 * The fake world of a scenario: what ha_decide() is shown, and what the shell would have made of its plan.
 *
 * The scenario owns what the view points at, until it ends. A script that is wrong ends the runner, with its line.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "core/ha/decide.h"
#include "wire/cluster.h"

enum { KEYS_MAX = 64, STRINGS_MAX = 512, SENDERS_MAX = 16, ACTS_MAX = 256 };

struct key {
    char *name, *value;
    int64_t mod_revision, lease;
};

struct scenario {
    const char *path;
    int line;
    struct ha_memory memory;
    struct ha_view view;
    struct ha_plan plan;
    struct key keys[KEYS_MAX];
    size_t key_count;
    int64_t revision;
    struct cluster *cluster;
    char *strings[STRINGS_MAX]; /* what the view points at */
    size_t string_count;
    struct record_electorate electorate, doubt; /* of the lease */
    struct {
        const char *text, *sync;
        bool take_leader_key, drop_leader_key;
    } change; /* of the record, that is under way */

    /* what this node has seen, as its disk says (line `seen`), and what the store was before it was put back */
    struct record_key seen;
    int64_t store_id;
    struct cluster *before;

    /* quorum mode (world_quorum.h) */
    struct ha_mesh mesh;
    struct agent_more {
        bool silent;      /* nothing of it arrives */
        bool hears_told;  /* the script says whom it hears; else it hears whom we hear */
    } more[HA_PEERS_MAX]; /* of each in the mesh */
    struct ha_sender senders[SENDERS_MAX];
    const char *plan_list; /* that the last LOAD_NAMES asked for */
    struct {
        char *text;
        int line;
    } acts[ACTS_MAX], extras[ACTS_MAX]; /* dangerous actions of all plans; of those made without memory */
    size_t act_count, extra_count;
    bool forgetful;      /* each decision is made without memory as well */
    const char *differs; /* what a decision without memory did otherwise, and at once */
    int differs_line;
};

void scenario_init(struct scenario *s, const char *path);
void scenario_deinit(struct scenario *s);

/* The script is wrong here. */
_Noreturn void bad(const struct scenario *s, const char *what, const char *text);
/* A copy that lives as long as the scenario. */
const char *keep(struct scenario *s, const char *text);

/* The store; a key that changes is read again at once. same_txn: by the transaction that wrote the last one. */
void put_key(struct scenario *s, const char *name, const char *value, int64_t lease, bool same_txn);
void remove_key(struct scenario *s, const char *name);
/* The record that there is, is the newest that this node has seen; from then on it sees what comes. */
void see_record(struct scenario *s);

/* The answer of a member; made if there is none: runs, on timeline 1. */
struct ha_peer *peer_of(struct scenario *s, const char *name);

/* What the shell does at once with the plan: a job that was begun runs, a round that was asked is open. */
void carry_out(struct scenario *s);
/* An earlier action failed: the job of the last plan never began. */
void not_done(struct scenario *s);
/* The change of the record that is under way was carried out, or came to nothing; either has been read back. */
void record_ended(struct scenario *s, bool done);
/* The renewal under way was answered. */
void renewed(struct scenario *s);
/* The agent is another one: memory is lost, facts are not. */
void restart_agent(struct scenario *s);
