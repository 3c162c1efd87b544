/*
 * The verbs, one function each: arguments behind the verb in, exit status out.
 */
#pragma once

struct ctl;

int verb_list(struct ctl *ctl, int argc, char **argv);
int verb_topology(struct ctl *ctl, int argc, char **argv);
int verb_history(struct ctl *ctl, int argc, char **argv);
int verb_switchover(struct ctl *ctl, int argc, char **argv);
int verb_failover(struct ctl *ctl, int argc, char **argv);
int verb_restart(struct ctl *ctl, int argc, char **argv);
int verb_reload(struct ctl *ctl, int argc, char **argv);
int verb_recover_record(struct ctl *ctl, int argc, char **argv);
int verb_reinit(struct ctl *ctl, int argc, char **argv);
int verb_flush(struct ctl *ctl, int argc, char **argv);
int verb_pause(struct ctl *ctl, int argc, char **argv);
int verb_resume(struct ctl *ctl, int argc, char **argv);
int verb_show_config(struct ctl *ctl, int argc, char **argv);
int verb_edit_config(struct ctl *ctl, int argc, char **argv);
int verb_query(struct ctl *ctl, int argc, char **argv);
int verb_dsn(struct ctl *ctl, int argc, char **argv);
int verb_remove(struct ctl *ctl, int argc, char **argv);
int verb_detach(struct ctl *ctl, int argc, char **argv);
int verb_explain(struct ctl *ctl, int argc, char **argv);
int verb_plan(struct ctl *ctl, int argc, char **argv);
int verb_version(struct ctl *ctl, int argc, char **argv);
