/* The text of pg_hba.conf and pg_ident.conf. Pure. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "pg/conffile.h"
#include "pg/guc.h"
#include "pg/initdb.h"
#include "pg/instance.h"
#include "pg/resolve.h"
#include "wire/conf/dynamic.h"

#define MEMBERS_BEGIN "# pgkeep: the members of this cluster; rewritten when they change"
#define MEMBERS_END "# pgkeep: end of the members"

static void add_lines(struct buf *text, const json_t *lines)
{
    size_t i;
    json_t *line;

    json_array_foreach((json_t *)lines, i, line)
    {
        if (json_is_string(line))
            buf_printf(text, "%s\n", json_string_value(line));
    }
}

/* A name as pg_hba wants it: quoted unless it is plain, since "all" and blanks mean something there. free() it. */
static char *hba_name(const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    AUTO(buf) struct buf text = BUF_EMPTY;

    if (name[strspn(name, plain)] == '\0' && !str_eq(name, "all"))
        return str_dup(name);
    buf_add_char(&text, '"');
    for (const char *c = name; *c; c++) {
        if (*c == '"')
            buf_add_char(&text, '"');
        buf_add_char(&text, *c);
    }
    buf_add_char(&text, '"');
    return buf_take(&text);
}

/* The method by which passwords set now can be checked. md5 takes both kinds of stored password. */
static const char *password_method(const struct pg_instance *i)
{
    const char *kind = json_string_value(json_object_get(i->dynamic->parameters, "password_encryption"));

    return kind && !str_eq_nocase(kind, "scram-sha-256") ? "md5" : "scram-sha-256";
}

/* Replication, and what pg_rewind and its checks need, from one address. */
static void add_member(struct buf *text, const struct pg_instance *i, const char *address)
{
    const struct pg_user *replication = &i->settings->postgresql.replication;
    const struct pg_user *rewind = pg_instance_rewind_user(i);
    const char *method = password_method(i);

    if (!str_empty(replication->username)) {
        AUTO(cstr) char *name = hba_name(replication->username);
        buf_printf(text, "host replication %s %s %s\n", name, address, method);
    }
    if (!str_empty(rewind->username)) {
        AUTO(cstr) char *name = hba_name(rewind->username);
        buf_printf(text, "host all %s %s %s\n", name, address, method);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The members' addresses as pg_hba writes them, sorted, each once. */
static char **addresses_of(const struct conf_input *in, size_t *ret_count)
{
    char **list = mem_zero(in->member_count + 1, sizeof(*list));
    size_t count = 0;
    bool named = false;

    for (size_t m = 0; m < in->member_count; m++) {
        const char *host = in->members[m].host;
        if (resolve_is_numeric(host))
            list[count++] = str_fmt("%s/%d", host, strchr(host, ':') ? 128 : 32);
        else
            named = true;
    }
    /*
     * For a host name PostgreSQL looks the client's address up in reverse and then forward again, which fails in
     * most networks of containers; so hosts by name may come from any network this server is in, with the
     * password.
     */
    if (named)
        list[count++] = str_dup("samenet");
    qsort(list, count, sizeof(*list), by_text);
    *ret_count = count;
    return list;
}

static char *members_block(const struct conf_input *in)
{
    AUTO(buf) struct buf text = BUF_EMPTY;
    const char *last = NULL;
    size_t count;
    char **addresses = addresses_of(in, &count);

    for (size_t a = 0; a < count; a++) {
        if (!str_eq(addresses[a], last))
            add_member(&text, in->instance, addresses[a]);
        last = addresses[a];
    }
    for (size_t m = 0; m < in->member_count; m++) {
        if (!resolve_is_numeric(in->members[m].host))
            add_member(&text, in->instance, in->members[m].host);
    }
    for (size_t a = 0; a < count; a++)
        free(addresses[a]);
    free(addresses);
    return buf_take(&text);
}

/* What a file must have if there is none: ourselves, by socket as the same OS user or by loopback with password. */
static void add_fallback(struct buf *text, const struct pg_instance *i)
{
    const char *method = password_method(i);

    buf_add_str(text, CONFFILE_HEADER);
    buf_add_str(text, "local all all peer\nlocal replication all peer\n");
    buf_printf(text, "host all all 127.0.0.1/32 %s\nhost all all ::1/128 %s\n", method, method);
    buf_printf(text, "host replication all 127.0.0.1/32 %s\nhost replication all ::1/128 %s\n", method, method);
}

/* The current text without our block. */
static void add_kept(struct buf *text, const char *current)
{
    const char *begin = strstr(current, MEMBERS_BEGIN);
    const char *end = begin ? strstr(begin, MEMBERS_END) : NULL;

    if (!end) {
        buf_add_str(text, current);
    } else {
        buf_add(text, current, (size_t)(begin - current));
        end += strlen(MEMBERS_END);
        buf_add_str(text, end + (*end == '\n'));
    }
    if (text->len && text->at[text->len - 1] != '\n')
        buf_add_char(text, '\n');
}

/* Whoever reaches us locally may be superuser: until post_bootstrap has set the password of a restored cluster. */
static void add_trust(struct buf *text, const struct pg_instance *i)
{
    static const char *const ways[][2] = {{"local", ""}, {"host", "127.0.0.1/32 "}, {"host", "::1/128 "}};
    const char *superuser = i->settings->postgresql.superuser.username;
    const char *replication = i->settings->postgresql.replication.username;
    AUTO(cstr) char *super_name = str_empty(superuser) ? str_dup("all") : hba_name(superuser);
    AUTO(cstr) char *repl_name = str_empty(replication) ? str_dup("all") : hba_name(replication);

    buf_add_str(text, CONFFILE_HEADER);
    for (size_t n = 0; n < ARRAY_LEN(ways); n++) {
        buf_printf(text, "%s replication %s %strust\n", ways[n][0], repl_name, ways[n][1]);
        buf_printf(text, "%s all %s %strust\n", ways[n][0], super_name, ways[n][1]);
    }
    if (i->local_addr && !str_eq(i->local_addr, "127.0.0.1") && !str_eq(i->local_addr, "::1")) {
        int bits = strchr(i->local_addr, ':') ? 128 : 32;
        buf_printf(text, "host all %s %s/%d trust\n", super_name, i->local_addr, bits);
    }
}

char *conffile_hba_text(const struct conf_input *in, const char *current)
{
    const struct pg_instance *i = in->instance;
    AUTO(buf) struct buf text = BUF_EMPTY;

    if (in->role == CONF_BOOTSTRAP && bootstrap_is_custom(i)) {
        add_trust(&text, i);
        return buf_take(&text);
    }
    if (i->dynamic->pg_hba) {
        buf_add_str(&text, CONFFILE_HEADER);
        add_lines(&text, i->dynamic->pg_hba);
        return buf_take(&text);
    }

    if (current && !in->members) /* who the members are is not known here: as it was */
        return str_dup(current);
    if (current)
        add_kept(&text, current);
    else
        add_fallback(&text, i);
    AUTO(cstr) char *members = members_block(in);
    if (*members)
        buf_printf(&text, MEMBERS_BEGIN "\n%s" MEMBERS_END "\n", members);
    return buf_take(&text);
}

char *conffile_ident_text(const struct conf_input *in)
{
    AUTO(buf) struct buf text = BUF_EMPTY;

    if (!in->instance->dynamic->pg_ident)
        return NULL;
    buf_add_str(&text, CONFFILE_HEADER);
    add_lines(&text, in->instance->dynamic->pg_ident);
    return buf_take(&text);
}
