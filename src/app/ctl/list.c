/*
 * list, topology, history: looking, touching nothing.
 */
#include <stdio.h>
#include <unistd.h>

#include "app/ctl/ctl.h"
#include "app/ctl/show.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "base/str.h"
#include "wire/report.h"

struct look {
    bool extended, timestamp;
    enum listing_format format;
    msec period_ms; /* 0: once */
};

/* In watch mode a store that does not answer is shown, not fatal: the screen is for such hours. */
static bool look_once(struct ctl *ctl, const struct look *look, const char *const *names, int count)
{
    char time[SHOW_TIME_MAX];
    bool ok = true;

    if (look->timestamp)
        (void)printf("%s\n", show_time(time, false));
    for (int i = 0; i < count; i++) {
        AUTO(cluster) struct cluster *c = NULL;
        struct err err;
        if (ctl_read(ctl, names[i], &c, &err)) {
            show_members(ctl, c, names[i], look->extended, look->format);
        } else {
            (void)ctl_fail(&err);
            ok = false;
        }
    }
    return ok;
}

static int look_at(struct ctl *ctl, const struct look *look, int argc, char **argv)
{
    const char *scope = ctl->settings->scope;
    const char *const *names = argc ? (const char *const *)argv : &scope;
    bool screen = look->period_ms && isatty(STDOUT_FILENO);

    if (!argc && str_empty(scope))
        return ctl_misuse(ctl, "No cluster names were provided, and the configuration has no `scope`.");
    if (screen)
        (void)setvbuf(stdout, NULL, _IOFBF, BUFSIZ * 8); /* a screen is drawn at once, when all of it is known */
    for (;;) {
        if (screen)
            (void)fputs("\033[2J\033[1;1H", stdout);
        bool ok = look_once(ctl, look, names, argc ? argc : 1);
        if (fflush(stdout) != 0)
            return CTL_FAILED;
        if (!look->period_ms)
            return ok ? CTL_OK : CTL_FAILED;
        wait_ms(ctl, look->period_ms);
    }
}

int verb_list(struct ctl *ctl, int argc, char **argv)
{
    struct look look = {0};
    const char *format = "pretty", *watch = NULL;
    bool every_two = false;
    int status;
    const struct opt opts[] = {
        {'e', "extended", NULL, "Show some extra information", .flag = &look.extended},
        {'t', "timestamp", NULL, "Print timestamp", .flag = &look.timestamp},
        {'f', "format", "TEXT", "Output format (pretty, tsv, json, yaml)", .text = &format, .choices = LISTING_FORMATS},
        {'W', "", NULL, "Auto update the screen every 2 seconds", .flag = &every_two},
        {'w', "watch", "FLOAT", "Auto update the screen every X seconds", .text = &watch},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) ||
        !show_watch_period(ctl, watch, every_two, &look.period_ms, &status))
        return status;
    look.format = listing_format_of(format);
    return look_at(ctl, &look, argc, argv);
}

int verb_topology(struct ctl *ctl, int argc, char **argv)
{
    struct look look = {.format = LISTING_TOPOLOGY};
    const char *watch = NULL;
    bool every_two = false;
    int status;
    const struct opt opts[] = {
        {'W', "", NULL, "Auto update the screen every 2 seconds", .flag = &every_two},
        {'w', "watch", "FLOAT", "Auto update the screen every X seconds", .text = &watch},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) ||
        !show_watch_period(ctl, watch, every_two, &look.period_ms, &status))
        return status;
    return look_at(ctl, &look, argc, argv);
}

/* A row of /history may lack its last fields: older versions wrote fewer. */
static void add_history_row(struct listing *l, const json_t *line)
{
    json_t *row = json_array();

    for (size_t i = 0; i < l->column_count; i++) {
        json_t *value = json_array_get(line, i);
        json_array_append_new(row, value ? json_incref(value) : json_string(""));
    }
    json_array_append_new(l->rows, row);
}

int verb_history(struct ctl *ctl, int argc, char **argv)
{
    static const char *const columns[] = {"TL", "LSN", "Reason", "Timestamp", "New Leader"};
    AUTO(listing) struct listing *l = listing_new();
    AUTO(cluster) struct cluster *c = NULL;
    const char *format = "pretty", *name;
    struct err err;
    int status;
    const struct opt opts[] = {
        {'f', "format", "TEXT", "Output format (pretty, tsv, json, yaml)", .text = &format, .choices = LISTING_FORMATS},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) || !ctl_cluster_argument(ctl, argc, argv, &name, &status))
        return status;
    if (!ctl_read(ctl, name, &c, &err))
        return ctl_fail(&err);

    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        listing_column(l, columns[i], i < 2 ? TABLE_RIGHT : TABLE_LEFT);
    json_t *lines = reports_history(c->history, c->failovers);
    for (size_t i = 0; i < json_array_size(lines); i++)
        add_history_row(l, json_array_get(lines, i));
    json_decref(lines);
    show_listing(ctl, l, listing_format_of(format), NULL);
    return CTL_OK;
}
