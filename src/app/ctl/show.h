/*
 * What several verbs print and ask alike.
 */
#pragma once

#include "app/ctl/ctl.h"
#include "app/ctl/listing.h"

void show_listing(const struct ctl *ctl, const struct listing *l, enum listing_format format, const char *delimiter);

/* Any value; of the formats YAML, else JSON. */
void show_json(const json_t *value, enum listing_format format);

/* The table of `list` (with what holds for the whole cluster below it, in tables). */
void show_members(const struct ctl *ctl, const struct cluster *c, const char *cluster_name, bool extended,
                  enum listing_format format);

enum { SHOW_TIME_MAX = 32 };

/* "2026-11-24 10:00:00.12345", local time; without the fraction "2026-11-24 10:00:00". Returns text. */
const char *show_time(char text[SHOW_TIME_MAX], bool fraction);

/* "2026-11-24T11:00": an hour from now, as an example of a moment. Returns text. */
const char *show_next_hour(char text[SHOW_TIME_MAX]);

/* Asks a yes/no question. False: the verb ends with *ret_exit (nobody answered, or no: "Error: <refusal>"). */
MUST_USE bool show_confirm(const char *question, const char *refusal, int *ret_exit);

/* -w SECONDS or -W (every 2 s): milliseconds, 0 for once. False: the verb ends with *ret_exit. */
MUST_USE bool show_watch_period(const struct ctl *ctl, const char *seconds, bool every_two, msec *ret_period_ms,
                                int *ret_exit);
