/*
 * What a view adds to memory: signs of life of other leaders, ends of jobs, crashes.
 */
#pragma once

#include "core/ha/decide.h"

/* First step of every decision. */
void observe(struct ha_memory *m, const struct ha_view *v);

/*
 * The record is about the last holder of the key. Patroni puts the key and leaves the record alone; ours write both in
 * one transaction.
 */
bool observe_record_stands(const struct ha_memory *m, const struct ha_view *v);

/*
 * The store knows no cluster, and we do not know who led the one that the data here is of: a store that lost
 * everything, or a first one. Whoever led may hold a lease of before, and have more than we.
 */
bool observe_past_is_unknown(const struct ha_memory *m, const struct ha_view *v);

/*
 * The absent leader key may be taken: its last holder let go of it, or its lease has certainly ended
 * (ttl since the last sign of life; a store can drop a lease early). *ret_when_ms: when, if not now.
 */
bool observe_key_is_free(const struct ha_memory *m, const struct ha_view *v, msec *ret_when_ms);

/* A leader in failsafe mode counts on what we granted it: nobody is promoted here before that has ended. */
bool observe_promised(const struct ha_view *v, msec *ret_until_ms);
