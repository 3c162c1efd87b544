#include "wire/conf/audit.h"

#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "wire/conf/value.h"

static const char dcs_prefix[] = "bootstrap.dcs.";

struct audit {
    enum key_scope scope; /* of the keys that count here */
    const char *shown;    /* put before paths: "bootstrap.dcs." or "" */
    bool falls_back;      /* a bad value is replaced by its default, and the finding says so */
    struct findings *findings;
};

static void audit_map(const struct audit *a, const struct conf_node *map, const char *path, const char *shown,
                      bool quiet);

static bool is_plain(const struct conf_node *n)
{
    return n->type != CONF_LIST && n->type != CONF_MAP;
}

static bool fits_endpoint(const struct conf_node *n, int default_port, bool several)
{
    struct endpoint e;

    if (n->type != CONF_STRING || !value_endpoint(n->string, default_port, &e))
        return false;
    bool ok = several || !strchr(e.host, ',');
    endpoint_deinit(&e);
    return ok;
}

static bool fits_host_list(const struct conf_node *n)
{
    struct string_list hosts;
    bool ok = true;

    if (!value_text_list(n, &hosts))
        return false;
    for (size_t i = 0; ok && i < hosts.count; i++) {
        struct endpoint e;
        ok = value_endpoint(hosts.at[i], 1, &e);
        if (ok)
            endpoint_deinit(&e);
    }
    ok = ok && hosts.count > 0;
    string_list_deinit(&hosts);
    return ok;
}

static bool fits_text_list(const struct conf_node *n)
{
    struct string_list texts;

    if (!value_text_list(n, &texts))
        return false;
    string_list_deinit(&texts);
    return true;
}

static bool fits_number(const struct key *key, const struct conf_node *n, enum value_unit unit)
{
    int64_t value;

    return value_int(n, unit, &value) && value >= key->min && (key->max == 0 || value <= key->max);
}

static bool fits_url(const struct conf_node *n)
{
    struct value_url url;

    if (n->type != CONF_STRING || !value_url(n->string, 1, &url))
        return false;
    value_url_deinit(&url);
    return true;
}

static bool fits_text(const struct conf_node *n)
{
    return n->type == CONF_STRING || n->type == CONF_INT || n->type == CONF_FLOAT;
}

static bool fits_lines(const struct conf_node *n)
{
    if (n->type != CONF_LIST)
        return false;
    for (size_t i = 0; i < n->children.count; i++)
        if (n->children.at[i]->type != CONF_STRING)
            return false;
    return true;
}

static bool fits_options(const struct conf_node *n)
{
    json_t *options = value_options(n);

    json_decref(options);
    return options != NULL;
}

static bool fits_enum(const struct key *key, const struct conf_node *n)
{
    AUTO(cstr) char *value = key_enum_value(key, n);

    return value != NULL;
}

bool audit_fits(const struct key *key, const struct conf_node *n)
{
    bool boolean;

    if (conf_absent(n))
        return true;
    switch (key->type) {
    case KEY_SECTION:
    case KEY_MAP:
    case KEY_SCALARS:
        return n->type == CONF_MAP;
    case KEY_TEXT:
    case KEY_SECRET:
        return fits_text(n);
    case KEY_BOOL:
        return value_bool(n, &boolean);
    case KEY_INT:
        return fits_number(key, n, UNIT_NONE);
    case KEY_DURATION:
        return fits_number(key, n, UNIT_SECONDS);
    case KEY_SIZE:
        return fits_number(key, n, UNIT_BYTES);
    case KEY_ENUM:
        return fits_enum(key, n);
    case KEY_HOST_PORT:
        return fits_endpoint(n, 0, false);
    case KEY_ADDRESS:
        return fits_endpoint(n, 1, false);
    case KEY_LISTEN:
        return fits_endpoint(n, 1, true);
    case KEY_HOST_LIST:
        return fits_host_list(n);
    case KEY_URL:
        return fits_url(n);
    case KEY_TEXT_LIST:
        return fits_text_list(n);
    case KEY_LINES:
        return fits_lines(n);
    case KEY_OPTIONS:
        return fits_options(n);
    case KEY_LIST:
        return n->type == CONF_LIST;
    case KEY_SCALAR:
        return is_plain(n);
    case KEY_ANY:
        return true;
    }
    UNREACHABLE();
}

static void tell_wrong(const struct audit *a, const struct key *key, const struct conf_node *n, const char *shown)
{
    AUTO(cstr) char *expected = key_expected(key);
    bool secret = key->type == KEY_SECRET || key->type == KEY_URL; /* a URL may hold a password */
    AUTO(cstr) char *found = value_shown(n, secret);
    AUTO(cstr) char *instead = NULL;

    if (a->falls_back)
        instead = key->fallback ? str_fmt("; the default %s is used", key->fallback) : str_dup("; it is ignored");
    findings_at(a->findings, FINDING_ERROR, n, shown, "expected %s, found %s%s", expected, found,
                instead ? instead : "");
}

/* Numbers are texts where texts are asked for, but as the number they are: 010 is "8". */
static void tell_number(const struct audit *a, const struct key *key, const struct conf_node *n, const char *shown)
{
    if (key->type != KEY_TEXT && key->type != KEY_SECRET)
        return;
    AUTO(cstr) char *text = value_text(n);
    if (!n->text || str_eq(text, n->text))
        return;
    findings_at(a->findings, FINDING_WARNING, n, shown, "is read as the number %s; quote it if a text is meant",
                key->type == KEY_SECRET ? "that it is" : text);
}

static bool is_refused(const struct key *key, const struct conf_node *n)
{
    if (key->state == KEY_REFUSED)
        return !key_harmless(key, n);
    if (!key->refused)
        return false;
    AUTO(cstr) char *value = key_enum_value(key, n);
    return str_eq(value, key->refused);
}

/* What there is to say about a value that is right in itself. */
static void tell_state(const struct audit *a, const struct key *key, const struct conf_node *n, const char *shown)
{
    if (is_refused(key, n)) {
        AUTO(cstr) char *found = value_shown(n, false);
        findings_at(a->findings, FINDING_ERROR, n, shown, "refused (%s): this promise is not built yet: %s", found,
                    key->meaning);
        return;
    }
    if (key->with || key_is_store(key) || key_harmless(key, n))
        return;
    if (key->state == KEY_LATER)
        findings_at(a->findings, FINDING_WARNING, n, shown, "not built yet, ignored: %s", key->meaning);
    if (key->state == KEY_NO_EFFECT)
        findings_at(a->findings, FINDING_WARNING, n, shown, "has no effect: %s", key->meaning);
}

static void audit_items(const struct audit *a, const struct conf_node *list, const struct key *key, const char *shown,
                        bool quiet)
{
    AUTO(cstr) char *path = str_fmt("%s[]", key->path);
    const struct key *item_key = key_find(path, a->scope);

    for (size_t i = 0; item_key && i < list->children.count; i++) {
        const struct conf_node *item = list->children.at[i];
        AUTO(cstr) char *item_shown = str_fmt("%s[%zu]", shown, i);

        if (!audit_fits(item_key, item))
            tell_wrong(a, item_key, item, item_shown);
        else if (item->type == CONF_MAP)
            audit_map(a, item, path, item_shown, quiet);
    }
}

static void audit_scalars(const struct audit *a, const struct conf_node *map, const char *shown)
{
    for (size_t i = 0; i < map->children.count; i++) {
        const struct conf_node *child = map->children.at[i];
        AUTO(cstr) char *found = value_shown(child, false);

        if (is_plain(child))
            continue;
        AUTO(cstr) char *child_shown = str_fmt("%s.%s", shown, child->key);
        findings_at(a->findings, FINDING_ERROR, child, child_shown, "expected a plain value, found %s%s", found,
                    a->falls_back ? "; it is ignored" : "");
    }
}

static void audit_value(const struct audit *a, const struct conf_node *n, const struct key *key, const char *shown,
                        bool quiet)
{
    if (conf_absent(n))
        return;
    if (!audit_fits(key, n)) {
        tell_wrong(a, key, n, shown);
        return;
    }
    tell_number(a, key, n, shown);
    if (!quiet)
        tell_state(a, key, n, shown);

    quiet = quiet || key->state != KEY_BUILT;
    if (str_eq(key->path, "bootstrap.dcs")) {
        struct audit dynamic = {.scope = KEY_DYNAMIC, .shown = dcs_prefix, .findings = a->findings};
        audit_map(&dynamic, n, "", "", false);
    } else if (n->type == CONF_MAP && key_has_children(key)) {
        audit_map(a, n, key->path, shown, quiet);
    } else if (key->type == KEY_SCALARS) {
        audit_scalars(a, n, shown);
    } else if (n->type == CONF_LIST) {
        audit_items(a, n, key, shown, quiet);
    }
}

/* How the other half of the configuration calls a key. */
static char *shown_path(const struct audit *a, const struct key *key)
{
    if (a->scope == KEY_LOCAL && !(key->scope & KEY_LOCAL))
        return str_fmt("%s%s", dcs_prefix, key->path);
    return str_fmt("%s%s", key->scope & a->scope ? a->shown : "", key->path);
}

static void tell_unknown(const struct audit *a, const struct conf_node *n, const char *path, const char *shown)
{
    const struct key *elsewhere = key_child(path, n->key, KEY_BOTH);

    if (elsewhere && str_ends(elsewhere->path, n->key)) {
        findings_at(a->findings, FINDING_WARNING, n, shown, "ignored here: it belongs in the %s",
                    elsewhere->scope & KEY_LOCAL ? "local file, outside bootstrap.dcs"
                                                 : "dynamic configuration (bootstrap.dcs, edit-config)");
        return;
    }
    const char *near = key_nearest(path, n->key, a->scope);
    if (!near) {
        findings_at(a->findings, FINDING_WARNING, n, shown, "unknown key, ignored");
        return;
    }
    const struct key *near_key = key_find(near, a->scope);
    AUTO(cstr) char *near_shown = shown_path(a, near_key ? near_key : key_find(near, KEY_BOTH));
    findings_at(a->findings, FINDING_WARNING, n, shown, "unknown key, ignored; did you mean %s?", near_shown);
}

/* A section of the operator's own, for a bootstrap or replica method, is known by its command. */
static bool is_method_section(const struct conf_node *n)
{
    return conf_get(n, "command") != NULL;
}

static bool is_star(const struct key *key)
{
    return str_ends(key->path, "*");
}

static void audit_map(const struct audit *a, const struct conf_node *map, const char *path, const char *shown,
                      bool quiet)
{
    for (size_t i = 0; i < map->children.count; i++) {
        const struct conf_node *n = map->children.at[i];
        const struct key *key = key_child(path, n->key, a->scope);
        AUTO(cstr) char *child_shown = *path ? str_fmt("%s.%s", shown, n->key) : str_fmt("%s%s", a->shown, n->key);

        if (key && is_star(key) && key->type == KEY_SECTION && !is_method_section(n))
            key = NULL;
        if (key)
            audit_value(a, n, key, child_shown, quiet);
        else
            tell_unknown(a, n, path, child_shown);
    }
}

void audit_local(const struct conf_node *root, struct findings *findings)
{
    struct audit a = {.scope = KEY_LOCAL, .shown = "", .findings = findings};

    audit_map(&a, root, "", "", false);
}

void audit_dynamic(const struct conf_node *root, struct findings *findings)
{
    struct audit a = {.scope = KEY_DYNAMIC, .shown = "", .falls_back = true, .findings = findings};

    audit_map(&a, root, "", "", false);
}

static void rename_old(struct conf_node *root, enum key_scope scope, const char *shown, struct findings *findings)
{
    const struct key *key;

    for (size_t i = 0; (key = key_at(i)); i++) {
        if (!key->moved_to || !(key->scope & scope))
            continue;
        AUTO(conf_node) struct conf_node *old = conf_take_path(root, key->path);
        if (conf_absent(old))
            continue;
        if (!conf_path(root, key->moved_to)) {
            conf_set_path(root, key->moved_to, TAKE(old));
            continue;
        }
        AUTO(cstr) char *path = str_fmt("%s%s", shown, key->path);
        findings_at(findings, FINDING_WARNING, old, path, "ignored: an old name for %s, which is given too",
                    key->moved_to);
    }
}

void audit_rename_old(struct conf_node *root, enum key_scope scope, struct findings *findings)
{
    struct conf_node *dcs = scope == KEY_LOCAL ? conf_path(root, "bootstrap.dcs") : NULL;

    rename_old(root, scope, "", findings);
    if (dcs && dcs->type == CONF_MAP)
        rename_old(dcs, KEY_DYNAMIC, dcs_prefix, findings);
}
