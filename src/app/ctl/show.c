#include "app/ctl/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/ctl/members.h"
#include "app/ctl/prompt.h"
#include "app/ctl/yaml_out.h"
#include "base/str.h"
#include "io/loop.h"

void show_listing(const struct ctl *ctl, const struct listing *l, enum listing_format format, const char *delimiter)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    listing_render(l, format, delimiter, ctl->colour, &out);
    (void)fwrite(buf_cstr(&out), 1, out.len, stdout); /* the flush at the end tells about a full disk */
}

void show_json(const json_t *value, enum listing_format format)
{
    AUTO(cstr) char *text = format == LISTING_YAML ? yaml_text(value, YAML_BLOCK) : json_dumps(value, JSON_INDENT(2));

    (void)printf("%s%s", text, format == LISTING_YAML ? "" : "\n");
}

void show_members(const struct ctl *ctl, const struct cluster *c, const char *cluster_name, bool extended,
                  enum listing_format format)
{
    AUTO(listing) struct listing *l = members_listing(c, cluster_name, extended, format);
    AUTO(buf) struct buf info = BUF_EMPTY;

    show_listing(ctl, l, format, NULL);
    if (format != LISTING_PRETTY && format != LISTING_TOPOLOGY)
        return;
    members_service_info(c, extended, &info);
    (void)fputs(buf_cstr(&info), stdout);
    if (c->bad)
        ctl_note("Warning: the store holds something unreadable: %s", c->bad);
}

const char *show_time(char text[SHOW_TIME_MAX], bool fraction)
{
    int64_t now_ms = wall_clock_ms();
    time_t now = (time_t)(now_ms / 1000);
    struct tm tm;

    if (!localtime_r(&now, &tm))
        return str_copy(text, SHOW_TIME_MAX, ""), text;
    size_t len = strftime(text, SHOW_TIME_MAX, "%Y-%m-%d %H:%M:%S", &tm);
    if (fraction)
        (void)snprintf(text + len, SHOW_TIME_MAX - len, ".%03d00",
                       (int)(now_ms % 1000)); /* five digits, as patronictl prints */
    return text;
}

const char *show_next_hour(char text[SHOW_TIME_MAX])
{
    time_t then = (time_t)(wall_clock_ms() / 1000) + 3600;
    struct tm tm;

    str_copy(text, SHOW_TIME_MAX, "");
    if (localtime_r(&then, &tm))
        (void)strftime(text, SHOW_TIME_MAX, "%Y-%m-%dT%H:%M", &tm);
    return text;
}

bool show_confirm(const char *question, const char *refusal, int *ret_exit)
{
    bool yes = false;

    if (!prompt_confirm(stdin, stdout, question, &yes)) {
        *ret_exit = ctl_abort();
        return false;
    }
    if (!yes)
        *ret_exit = ctl_refuse("%s", refusal);
    return yes;
}

bool show_watch_period(const struct ctl *ctl, const char *seconds, bool every_two, msec *ret_period_ms, int *ret_exit)
{
    char *end = NULL;
    double period = seconds ? strtod(seconds, &end) : every_two ? 2 : 0;

    if (seconds && (end == seconds || *end || !(period >= 0.1 && period <= 86400))) {
        *ret_exit = ctl_misuse(ctl, "Invalid value for '--watch' / '-w': '%s' is no number of seconds (0.1 to 86400).",
                               seconds);
        return false;
    }
    *ret_period_ms = (msec)(period * 1000);
    return true;
}
