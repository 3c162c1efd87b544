/*
 * Scenario scripts for core/ha: what was seen in, what was decided out.
 *
 *   script_runner FILE...            compare with the expected lines ("> …"), exit 1 on a difference
 *   script_runner --accept FILE...   rewrite them; the diff is reviewed
 *
 * A script reads like a transcript. Facts stay as they are until a line changes them; `decide` runs
 * ha_decide() on them and is followed by what came out. After a decision the runner does what the
 * shell would do at once: a job that was begun runs, a round that was asked is open.
 *
 *   conf KEY=VALUE…      ha_conf by name; times in seconds, "name", flags yes/no
 *   at SECONDS           the clock; "+ SECONDS" moves it on
 *   store known|away|unread   does the store answer; or was it never read
 *   key NAME VALUE…      a key of the cluster ("lease=N" first: it hangs on a lease)
 *   key-with-it NAME VALUE…   one that the same transaction wrote as the last one
 *   no-key NAME
 *   member NAME FIELD=VALUE…   members/NAME as JSON, strings unless yes/no/number; tag.X=… goes under tags
 *   lease KEY=VALUE…     ha_lease by name
 *   pg KEY=VALUE…        ha_pg by name
 *   peer NAME KEY=VALUE… what a member answered; "round complete|open" and "no-peers"
 *   job ok|failed [verdict=V] [nothing_done=yes]   the running job is over
 *   not-done             the job of the last plan never began: an action before it failed
 *   record-done, record-lost   the last plan's change of the record was carried out, or not; either is read back
 *   request KEY=VALUE…
 *   health KEY=VALUE…    ha_health by name
 *   decide
 *   keep                 only ha_keep_lease(): an action waits
 *
 * Quorum mode (world_quorum.h says what goes by itself):
 *   forgetful            every decision is made without memory, too: it may come later or earlier, but promise and
 *                        freeze are the same at once, and no plan of the whole script promotes, starts as primary,
 *                        loads a list, changes the record or touches the data where none with memory does
 *   record KEY=VALUE…    the record in the store, over what it was: phase term leader=NAME[:INCARNATION] timeline
 *                        open=K:NAME,… joint=K:NAME,…|none was=NAME/TERM line=TIMELINE/TERM coordinator mode
 *                        sure=yes (it is as this node wrote it last)
 *   mesh NAME KEY=VALUE… what another agent tells; follows=LEADER, frozen=TERM|no, seen=TERM, silent=yes|always,
 *                        hears=NAME:AGE,…
 *   seen                 the record that there is, is on this node's disk as the newest; other-store: it is another one
 *   resumed              from here on we listen without a break
 *   promise KEY=VALUE…, incarnation HEX
 *   freeze shown|failed|none, names proved|failed|unknown|is LIST, marker LSN
 *   sender NAME KEY=VALUE…, no-sender NAME, flushed LSN (all of them)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "print.h"
#include "step.h"
#include "world_quorum.h"

enum { LINE_MAX_LEN = 2048 };

static void run_line(struct scenario *s, char *line, struct buf *out)
{
    bool keep_only = str_eq(line, "keep");

    if (!step_run(s, line))
        return;
    quorum_tell(s);
    if (keep_only) {
        plan_reset(&s->plan);
        ha_keep_lease(&s->memory, &s->view, &s->plan);
    } else {
        ha_decide(&s->memory, &s->view, &s->plan);
    }
    if (s->forgetful && !keep_only)
        quorum_forgetful(s);
    print_plan(out, &s->plan, s->view.now_ms);
    carry_out(s);
}

/* The whole script with the lines that really came out. False: it would go otherwise without memory. */
static bool run(const char *path, FILE *in, struct buf *was, struct buf *is)
{
    struct scenario *s = mem_zero(1, sizeof(*s));
    char line[LINE_MAX_LEN];

    scenario_init(s, path);
    while (fgets(line, sizeof(line), in)) {
        s->line++;
        buf_add_str(was, line);
        if (line[0] == '>')
            continue;
        buf_add_str(is, line);
        line[strcspn(line, "\n")] = '\0';
        if (line[0] && line[0] != '#')
            run_line(s, line, is);
    }
    bool ok = quorum_judge(s);
    scenario_deinit(s);
    free(s);
    return ok;
}

static void show_difference(const char *path, const char *was, const char *is)
{
    int line = 1;

    while (*was && *was == *is) {
        line += *was == '\n';
        was++;
        is++;
    }
    while (line > 1 && *was && was[-1] != '\n') {
        was--;
        is--;
    }
    (void)printf("%s:%d:\n  expected: %.*s\n  came out: %.*s\n", path, line, (int)strcspn(was, "\n"), was,
                 (int)strcspn(is, "\n"), is);
}

static bool run_file(const char *path, bool accept)
{
    AUTO(buf) struct buf was = BUF_EMPTY;
    AUTO(buf) struct buf is = BUF_EMPTY;
    FILE *file = fopen(path, "re");

    if (!file) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    bool ok = run(path, file, &was, &is);
    (void)fclose(file);
    if (str_eq(buf_cstr(&was), buf_cstr(&is)))
        return ok;
    if (!accept) {
        show_difference(path, buf_cstr(&was), buf_cstr(&is));
        return false;
    }
    file = fopen(path, "we");
    if (!file || fputs(buf_cstr(&is), file) < 0 || fclose(file) != 0) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    return ok;
}

int main(int argc, char **argv)
{
    bool accept = argc > 1 && str_eq(argv[1], "--accept");
    int failed = 0;
    int count = 0;

    for (int i = 1 + accept; i < argc; i++) {
        bool ok = run_file(argv[i], accept);
        (void)printf("%s %d - %s\n", ok ? "ok" : "not ok", ++count,
                     strrchr(argv[i], '/') ? strrchr(argv[i], '/') + 1 : argv[i]);
        failed += !ok;
    }
    (void)printf("1..%d\n", count);
    return failed ? 1 : 0;
}
