/*
 * The agent and what starts it.
 */
#pragma once

struct agent;
struct settings;

/* `pgkeep run FILE`: checks what can be checked, then becomes the guard, which starts the agent. */
int run_main(int argc, char **argv);

/* `pgkeep agent FILE`: started by the guard, with its socket in the environment. */
int agent_main(int argc, char **argv);

/* Becomes `pgkeep-guard --clear`: SIGKILLs every process of the instance. Returns only if that cannot be executed. */
void run_guard_clear(const char *data_dir);

/* Every part of it, on a loop of its own that is yet to run (state.h). NULL: it cannot start, the log says why. */
struct agent *agent_new(const char *config_path, struct settings *take_settings);
void agent_free(struct agent *a);
