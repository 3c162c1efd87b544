#include "test/sim/pg_conf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/disk.h"
#include "test/sim/pg.h"
#include "test/sim/sync.h"
#include "test/sim/truths.h"

enum { INCLUDES_MAX = 10, VALUE_MAX = 512, NAME_MAX_HERE = 64 };

static const struct {
    const char *name, *value;
} settings[] = {
#define X(id, name, value) {name, value},
    PG_SETTINGS(X)
#undef X
};

const char *pg_setting_name(enum pg_setting s)
{
    return settings[s].name;
}

/* Parameters that exist and mean nothing here. */
static bool known_otherwise(const char *name)
{
    static const char *const others[] = {
        "hot_standby",      "recovery_target_timeline", "wal_log_hints", "port",
        "listen_addresses", "max_connections",          "cluster_name",  "archive_mode"};

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (str_eq(others[i], name))
            return true;
    return strchr(name, '.') != NULL;
}

/* ---- reading ---- */

struct reading { /* what the files say */
    const char *text[PG_SETTING_COUNT];
    const char *file[PG_SETTING_COUNT];
    struct sync_list *names;
    bool bad_names;
    bool refused; /* nothing of it is applied */
    int errors;
    int includes;
};

static void skip_blanks(const char **at)
{
    *at += strspn(*at, " \t");
}

/* 'text', with '' for a quote, or one word. */
static bool read_value(const char **at, char value[VALUE_MAX])
{
    size_t len = 0;
    bool quoted = **at == '\'';

    if (quoted)
        ++*at;
    for (;; ++*at) {
        char c = **at;
        if (quoted && c == '\'' && (*at)[1] == '\'')
            ++*at;
        else if (quoted ? c == '\'' || c == '\n' || !c : isspace((unsigned char)c) || c == '#' || !c)
            break;
        if (len + 1 >= VALUE_MAX)
            return false;
        value[len++] = c;
    }
    value[len] = '\0';
    if (!quoted)
        return len > 0;
    if (**at != '\'')
        return false;
    ++*at;
    return true;
}

static void read_file(struct pg *p, const char *file, bool must_exist, struct reading *r);

static void read_setting(struct pg *p, const char *file, const char *name, const char *value, struct reading *r)
{
    if (str_eq_nocase(name, "include") || str_eq_nocase(name, "include_if_exists")) {
        read_file(p, value, str_eq_nocase(name, "include"), r);
        return;
    }
    for (int s = 0; s < PG_SETTING_COUNT; s++) {
        if (!str_eq_nocase(settings[s].name, name))
            continue;
        r->text[s] = str_dup(value);
        r->file[s] = str_dup(file);
        return;
    }
    if (!known_otherwise(name)) {
        r->refused = true;
        r->errors++;
    }
}

/* false: a syntax error. */
static bool read_line(struct pg *p, const char *file, const char *at, struct reading *r)
{
    char name[NAME_MAX_HERE];
    char value[VALUE_MAX];
    size_t len;

    skip_blanks(&at);
    if (*at == '#' || *at == '\n' || !*at)
        return true;
    for (len = 0; isalnum((unsigned char)at[len]) || at[len] == '_' || at[len] == '.'; len++)
        continue;
    if (!len || len >= sizeof(name))
        return false;
    str_copy(name, len + 1, at);
    at += len;
    skip_blanks(&at);
    if (*at == '=')
        at++;
    skip_blanks(&at);
    if (!read_value(&at, value))
        return false;
    skip_blanks(&at);
    if (*at && *at != '#' && *at != '\n')
        return false;
    read_setting(p, file, name, value, r);
    return true;
}

static void read_file(struct pg *p, const char *file, bool must_exist, struct reading *r)
{
    AUTO(cstr) char *path = pg_path(p, file);
    const char *text = disk_read(disk_of(p->host), path);

    if (!text || r->includes++ >= INCLUDES_MAX) {
        if (must_exist) {
            r->refused = true;
            r->errors++;
        }
        return;
    }
    for (const char *line = text; line;) {
        if (!read_line(p, path, line, r)) {
            r->refused = true;
            r->errors++;
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
}

static void read_files(struct pg *p, struct reading *r)
{
    *r = (struct reading){0};
    read_file(p, "postgresql.conf", true, r);
    read_file(p, "postgresql.auto.conf", false, r);
    if (!truth(TRUTH_RELOAD_REFUSED_WHOLE))
        r->refused = false;
    if (r->text[PG_SYNC_NAMES] && !sync_list_parse(r->text[PG_SYNC_NAMES], &r->names)) {
        r->bad_names = true;
        r->errors++;
    }
}

/* ---- meaning ---- */

static usec interval(const char *text)
{
    char *end;
    long long number = strtoll(text, &end, 10);

    return str_eq(end, "s") ? number * 1000000 : number * 1000; /* milliseconds without a unit */
}

static const char *word_of(const char *conninfo, const char *key)
{
    AUTO(cstr) char *begin = str_fmt("%s=", key);
    const char *at = strstr(conninfo, begin);

    if (!at)
        return NULL;
    at += strlen(begin);
    return str_fmt("%.*s", (int)strcspn(at, " "), at);
}

static void understand(struct pg_conf *c)
{
    const char *host = word_of(c->at[PG_CONNINFO].text, "host");
    const char *name = word_of(c->at[PG_CONNINFO].text, "application_name");
    const char *user_timeout = word_of(c->at[PG_CONNINFO].text, "tcp_user_timeout");
    int number = 0;

    c->upstream = host && sscanf(host, "10.0.0.%d", &number) == 1 ? number - 1 : NOBODY;
    c->application_name = name ? name : "walreceiver";
    c->restart_after_crash = str_eq(c->at[PG_RESTART_AFTER_CRASH].text, "on");
    c->retrieve_retry = interval(c->at[PG_RETRIEVE_RETRY].text);
    c->receiver_status = interval(c->at[PG_RECEIVER_STATUS].text);
    c->user_timeout = user_timeout ? interval(user_timeout) : 0;
}

static const struct pg_conf *made_of(const struct reading *r, const struct pg_conf *old)
{
    struct pg_conf *c = mem_zero(1, sizeof(*c));

    for (int s = 0; s < PG_SETTING_COUNT; s++) {
        c->at[s].text = r->text[s] ? r->text[s] : settings[s].value;
        c->at[s].file = r->file[s];
    }
    c->names = r->names;
    if (r->bad_names && old && truth(TRUTH_RELOAD_REFUSED_IN_PART)) { /* what was in force stays so */
        c->at[PG_SYNC_NAMES].text = old->at[PG_SYNC_NAMES].text;
        c->at[PG_SYNC_NAMES].file = old->at[PG_SYNC_NAMES].file;
        c->names = old->names;
    }
    understand(c);
    return c;
}

/* Several processes read the same files: what the first made of them serves all, unless it depends on what each had. */
static const struct pg_conf *read_anew(struct pg *p, const struct pg_conf *old, bool *ret_refused)
{
    uint64_t changes = disk_changes(disk_of(p->host));
    struct reading r;

    if (p->conf_read.conf && p->conf_read.changes == changes) {
        *ret_refused = false;
        return p->conf_read.conf;
    }
    read_files(p, &r);
    *ret_refused = r.refused || (r.bad_names && !old);
    if (*ret_refused)
        return NULL;
    const struct pg_conf *c = made_of(&r, old);
    if (!r.bad_names) {
        p->conf_read.conf = c;
        p->conf_read.changes = changes;
    }
    return c;
}

bool pg_conf_load(struct pg *p, struct pg_loaded *loaded)
{
    bool refused;

    CHECK(loaded->conf);
    const struct pg_conf *c = read_anew(p, loaded->conf, &refused);
    if (refused)
        return false;
    *loaded = (struct pg_loaded){.conf = c, .at = world.now, .at_wall_us = pg_wall_us(p->host)};
    return true;
}

bool pg_conf_load_first(struct pg *p, struct pg_loaded *loaded)
{
    bool refused;
    const struct pg_conf *c = read_anew(p, NULL, &refused);

    if (refused)
        return false;
    *loaded = (struct pg_loaded){.conf = c, .at = world.now, .at_wall_us = pg_wall_us(p->host)};
    return true;
}

int pg_conf_errors(struct pg *p)
{
    struct reading r;

    if (p->conf_read.conf && p->conf_read.changes == disk_changes(disk_of(p->host)))
        return 0;

    read_files(p, &r);
    return r.errors;
}

/* ---- writing ---- */

char *pg_path(const struct pg *p, const char *file)
{
    return str_fmt("%s/%s", p->data_dir, file);
}

bool pg_conf_write(struct pg *p, const char *file, const char *text)
{
    AUTO(cstr) char *path = pg_path(p, file);

    return disk_replace(disk_of(p->host), path, text);
}

struct alter {
    struct pg *pg;
    enum pg_setting setting;
    char *value;
    char *text; /* as it was read */
};

char *pg_conf_without(const char *text, enum pg_setting s)
{
    char *result = str_dup("");

    while (*text) {
        size_t len = strcspn(text, "\n");
        if (!str_starts(text, pg_setting_name(s))) {
            char *longer = str_fmt("%s%.*s\n", result, (int)len, text);
            free(result);
            result = longer;
        }
        text += len + (text[len] == '\n');
    }
    return result;
}

static void alter_ends(void *arg)
{
    struct alter *a = arg;
    AUTO(cstr) char *without = pg_conf_without(a->text, a->setting);
    AUTO(cstr)
    char *text = a->value ? str_fmt("%s%s = '%s'\n", without, pg_setting_name(a->setting), a->value) : TAKE(without);

    (void)!pg_conf_write(a->pg, "postgresql.auto.conf", text); /* a full disk is the asker's error */
    free(a->text);
    free(a->value);
    free(a);
}

void pg_alter_system(struct pg *p, enum pg_setting s, const char *value, usec takes)
{
    AUTO(cstr) char *path = pg_path(p, "postgresql.auto.conf");
    const char *text = disk_read(disk_of(p->host), path);
    struct alter *a = mem_zero(1, sizeof(*a));

    *a = (struct alter){.pg = p, .setting = s, .value = str_dup(value), .text = str_dup(text ? text : "")};
    if (truth(TRUTH_ALTER_SYSTEM_LOST_UPDATE))
        event_in(takes, &p->backends, alter_ends, a);
    else
        alter_ends(a);
}
