#include "app/ctl/config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/conf_files.h"
#include "base/buf.h"
#include "base/str.h"
#include "wire/conf/value.h"

char *config_default_path(void)
{
    const char *config_home = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");

    if (!str_empty(config_home))
        return str_fmt("%s/patroni/patronictl.yaml", config_home);
    return str_fmt("%s/.config/patroni/patronictl.yaml", home ? home : "");
}

/* With the port that only one kind of store has, patronictl guesses the kind; so do we. */
static const struct {
    const char *scheme;
    enum store_kind kind;
    int port;
} schemes[] = {
    {"etcd3", STORE_ETCD3, 2379},         {"etcd", STORE_ETCD2, 2379},          {"consul", STORE_CONSUL, 8500},
    {"zookeeper", STORE_ZOOKEEPER, 2181}, {"exhibitor", STORE_EXHIBITOR, 8181},
};

static bool scheme_find(const char *name, size_t len, size_t *ret_i)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (strlen(schemes[i].scheme) == len && strncmp(schemes[i].scheme, name, len) == 0) {
            *ret_i = i;
            return true;
        }
    return false;
}

/* "/a/b/" → "a/b"; NULL for "" and "/". */
static char *namespace_of(const char *path)
{
    path += strspn(path, "/");
    size_t len = strlen(path);
    while (len > 0 && path[len - 1] == '/')
        len--;
    return len ? str_fmt("%.*s", (int)len, path) : NULL;
}

bool dcs_address_parse(const char *url, struct dcs_address *ret, struct err *err)
{
    const char *sep = strstr(url, "://");
    struct endpoint where = {0};
    size_t scheme_i = 0;

    if (sep && !scheme_find(url, (size_t)(sep - url), &scheme_i))
        return err_set(err, ERR_INPUT, "Unknown dcs scheme: %.*s", (int)(sep - url), url);

    const char *rest = sep ? sep + 3 : str_starts(url, "//") ? url + 2 : url;
    size_t address_len = strcspn(rest, "/");
    AUTO(cstr) char *address = str_fmt("%.*s", (int)address_len, rest);
    if (!value_endpoint(*address ? address : "localhost", -1, &where))
        return err_set(err, ERR_INPUT, "%s: a store's address is SCHEME://HOST:PORT", url);

    for (size_t i = 0; !sep && i < ARRAY_LEN(schemes); i++)
        if (where.port == schemes[i].port) {
            scheme_i = i;
            break;
        }
    int port = where.port > 0 ? where.port : schemes[scheme_i].port;
    ret->kind = schemes[scheme_i].kind;
    ret->section = schemes[scheme_i].scheme;
    ret->host = str_fmt(strchr(where.host, ':') ? "[%s]:%d" : "%s:%d", where.host, port);
    ret->namespace_ = namespace_of(rest + address_len);
    endpoint_deinit(&where);
    return true;
}

void dcs_address_deinit(struct dcs_address *d)
{
    free(d->host);
    free(d->namespace_);
    *d = (struct dcs_address){0};
}

static bool findings_to_err(const struct findings *f, struct err *err)
{
    AUTO(buf) struct buf text = BUF_EMPTY;

    for (size_t i = 0; i < f->count; i++)
        if (f->at[i].level == FINDING_ERROR)
            buf_printf(&text, "%s%s", text.len ? "\n" : "", f->at[i].text);
    return err_set(err, ERR_INPUT, "%s", buf_cstr(&text));
}

static void use_namespace(struct settings *s, const char *namespace_)
{
    str_set(&s->namespace_, namespace_);
    free(s->key_prefix);
    s->key_prefix = s->scope ? str_fmt("/%s/%s/", namespace_, s->scope) : NULL;
}

/*
 * The store of the command line counts as one more file behind the others where these name none, and
 * replaces theirs where they do.
 */
static struct settings *read_with(const struct conf_files *files, const struct dcs_address *dcs, struct err *err)
{
    const char *const *environment = (const char *const *)environ;
    AUTO(cstr) char *text = dcs ? str_fmt("%s: {hosts: '%s'}", dcs->section, dcs->host) : NULL;
    struct conf_source *sources = mem_zero(files->count + 1, sizeof(*sources));
    struct findings findings = {0};
    struct findings first = {0};
    size_t count = files->count;

    for (size_t i = 0; i < count; i++)
        sources[i] = files->at[i];
    struct settings *settings = count || !dcs ? settings_read_ctl(sources, count, environment, &first) : NULL;
    if (settings && dcs) {
        string_list_deinit(&settings->store.hosts);
        string_list_add(&settings->store.hosts, dcs->host);
        settings->store.kind = dcs->kind;
    } else if (!settings && dcs) {
        sources[count++] = (struct conf_source){.path = "command line", .text = text, .len = strlen(text)};
        settings = settings_read_ctl(sources, count, environment, &findings);
    }
    if (!settings)
        (void)findings_to_err(dcs ? &findings : &first, err);
    if (settings && dcs && dcs->namespace_)
        use_namespace(settings, dcs->namespace_);
    findings_deinit(&first);
    findings_deinit(&findings);
    free(sources);
    return settings;
}

bool config_load(const char *path, const char *dcs_url, struct settings **ret_settings, struct err *err)
{
    AUTO(cstr) char *default_path = config_default_path();
    AUTO(conf_files) struct conf_files files = {0};
    struct dcs_address dcs = {0};

    if (path && access(path, R_OK) < 0)
        return err_set(err, ERR_INPUT,
                       "Provided config file %s not existing or no read rights. Check the -c/--config-file parameter",
                       path);
    if (!path && access(default_path, R_OK) == 0)
        path = default_path;
    if ((path && !conf_files_read(path, &files, err)) || (dcs_url && !dcs_address_parse(dcs_url, &dcs, err)))
        return false;

    struct settings *settings = read_with(&files, dcs_url ? &dcs : NULL, err);
    dcs_address_deinit(&dcs);
    if (settings)
        *ret_settings = settings;
    return settings != NULL;
}
