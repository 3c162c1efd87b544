/*
 * What goes wrong, and what operators do meanwhile: plays a schedule.
 */
#pragma once

#include "test/sim/node.h"
#include "test/sim/schedule.h"

struct record_key;

/* None is left after the last one's end. `s` stays the caller's for as long as the world runs. */
/* The record is another one: what waits for that begins. */
void faults_see_record(const struct record_key *r);
void faults_play(const struct schedule *s, struct host *store, struct host *operator_host);
