/*
 * docs/patroni-keys.md, from the tables of keys.
 *
 *     keys                       print the page
 *     keys --check PAGE          exit 1 unless PAGE is what would be printed
 *     keys --tests ROOT          exit 1 unless every built key names a test that is there and that
 *                                speaks of the key
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "wire/conf/keys.h"

/* The row where the old name's value goes. */
static const struct key *today_of(const struct key *key)
{
    return key->moved_to ? key_find(key->moved_to, key->scope) : key;
}

static const char *scope_text(enum key_scope scope)
{
    return scope == KEY_BOTH ? "both" : scope == KEY_LOCAL ? "local" : "dynamic";
}

static const char *when_text(const struct key *key)
{
    if (key->state != KEY_BUILT && !key->harmless)
        return "";
    if (key->scope == KEY_DYNAMIC)
        return "at once";
    switch (key->when) {
    case WHEN_RELOAD:
        return "reload";
    case WHEN_RESTART:
        return "restart";
    case WHEN_BOOTSTRAP:
        return "bootstrap";
    }
    return "";
}

static char *state_text(const struct key *key)
{
    struct buf b = BUF_EMPTY;

    if (key->harmless && key->state != KEY_BUILT)
        buf_printf(&b, "`%s` built; else ", key->harmless);
    switch (key->state) {
    case KEY_BUILT:
        buf_add_str(&b, "built");
        break;
    case KEY_LATER:
        buf_add_str(&b, "not built yet: a warning");
        break;
    case KEY_NO_EFFECT:
        buf_add_str(&b, "no effect: a warning");
        break;
    case KEY_REFUSED:
        buf_add_str(&b, "**refused** until built");
        break;
    }
    if (key->refused)
        buf_printf(&b, "; `%s` **refused**", key->refused);
    return buf_take(&b);
}

/* A pipe would end the cell. */
static void add_cell(struct buf *b, const char *text)
{
    buf_add_str(b, " ");
    for (; *text; text++) {
        if (*text == '|')
            buf_add_char(b, '\\');
        buf_add_char(b, *text);
    }
    buf_add_str(b, " |");
}

static const char *file_of_test(const char *test)
{
    const char *slash = strrchr(test, '/');

    return slash ? slash + 1 : test;
}

static void add_row(struct buf *b, const struct key *key)
{
    const struct key *today = today_of(key);
    AUTO(cstr) char *path = str_fmt("`%s`", key->path);
    AUTO(cstr) char *expected = key_expected(today);
    AUTO(cstr) char *fallback = today->fallback ? str_fmt("`%s`", today->fallback) : str_dup("");
    AUTO(cstr) char *variable = key_variable(key);
    AUTO(cstr) char *meaning = key->moved_to ? str_fmt("old name of `%s`", key->moved_to) : str_dup(key->meaning);
    AUTO(cstr) char *set_by = variable ? str_fmt("%s; `%s`", meaning, variable) : str_dup(meaning);
    AUTO(cstr) char *state = state_text(today);

    buf_add_str(b, "|");
    add_cell(b, path);
    add_cell(b, set_by);
    add_cell(b, expected);
    add_cell(b, fallback);
    add_cell(b, scope_text(key->scope));
    add_cell(b, when_text(today));
    add_cell(b, state);
    add_cell(b, today->test ? file_of_test(today->test) : "");
    buf_add_str(b, "\n");
}

static void add_table(struct buf *b, const char *title, const struct key_table *table)
{
    buf_printf(b,
               "\n## %s\n\n"
               "| Key | Meaning; variable | Value | Default | Scope | Takes effect | State | Test |\n"
               "|---|---|---|---|---|---|---|---|\n",
               title);
    for (size_t i = 0; i < table->count; i++)
        add_row(b, &table->rows[i]);
}

static char *page(void)
{
    struct buf b = BUF_EMPTY;

    buf_add_str(
        &b,
        "# The keys of the configuration\n\n"
        "Generated from `src/wire/conf/keys_*.c` by `tools/gen/keys.c`; a test fails when this page is stale.\n\n"
        "pgkeep reads Patroni's YAML and `PATRONI_*` variables. *Scope*: `local` keys stand in each node's file, "
        "`dynamic` ones in the store (first taken from `bootstrap.dcs`, later changed by `pgkeep edit-config` or "
        "REST), "
        "`both` in either, where the local value wins. `*` stands for a name of one's own, `[]` for the items of a "
        "list. "
        "*Takes effect*: after a reload (SIGHUP), a restart of pgkeep, or only when the cluster is made; dynamic keys "
        "at once. *State*: a key that is not built yet is accepted with one warning at start; one that promises safety "
        "is refused by name until it is built. *Test*: what shows that a built key is read (`test/unit/conf`) or does "
        "what it says (`test/cluster`).\n");
    add_table(&b, "The node's own keys", &keys_node);
    add_table(&b, "PostgreSQL", &keys_postgresql);
    add_table(&b, "The dynamic configuration", &keys_dynamic);
    add_table(&b, "Stores", &keys_store);
    return buf_take(&b);
}

/* The whole file; NULL with a message if it cannot be read. */
static char *file_text(const char *path)
{
    FILE *file = fopen(path, "re");
    struct buf b = BUF_EMPTY;
    char piece[4096];

    if (!file) {
        perror(path);
        return NULL;
    }
    for (size_t len; (len = fread(piece, 1, sizeof(piece), file)) > 0;)
        buf_add(&b, piece, len);
    (void)fclose(file); /* only read */
    return buf_take(&b);
}

static int check_page(const char *path)
{
    AUTO(cstr) char *kept = file_text(path);
    AUTO(cstr) char *wanted = page();

    if (str_eq(kept, wanted))
        return 0;
    (void)fprintf(stderr, "%s is stale: write it anew with the keys program\n", path);
    return 1;
}

/* What the test has to say to speak of the key: its own name, or for a name of the operator's that of the section. */
static char *word_of(const struct key *key)
{
    AUTO(cstr) char *path = str_dup(key->path);

    for (size_t len = strlen(path); len > 0 && strchr("*.[]", path[len - 1]); len--)
        path[len - 1] = '\0';
    const char *dot = strrchr(path, '.');
    return str_dup(dot ? dot + 1 : path);
}

/* What the test's function says, from its head to its end; NULL if there is none. */
static char *body_of(const char *path, const char *source, const char *function)
{
    const char *dot = strrchr(path, '.');

    if (str_eq(dot, ".py")) { /* of a cluster's test the keys may stand in its fixture: the whole file */
        AUTO(cstr) char *def = str_fmt("\ndef %s(", function);
        return strstr(source, def) ? str_dup(source) : NULL;
    }
    AUTO(cstr) char *head = str_fmt("\nstatic void %s(void **state)\n{", function);
    const char *at = strstr(source, head);
    const char *end = at ? strstr(at, "\n}\n") : NULL;

    return end ? str_fmt("%.*s", (int)(end - at), at) : NULL;
}

static bool check_test(const struct key *key, const char *root)
{
    const char *colons = key->test ? strstr(key->test, "::") : NULL;

    if (!colons) {
        (void)fprintf(stderr, "%s: is built, but names no test\n", key->path);
        return false;
    }
    AUTO(cstr) char *path = str_fmt("%s/%.*s", root, (int)(colons - key->test), key->test);
    AUTO(cstr) char *source = file_text(path);
    AUTO(cstr) char *body = source ? body_of(path, source, colons + 2) : NULL;
    AUTO(cstr) char *word = word_of(key);

    if (!body) {
        (void)fprintf(stderr, "%s: there is no test %s\n", key->path, key->test);
        return false;
    }
    if (!strstr(body, word)) {
        (void)fprintf(stderr, "%s: the test %s does not speak of it\n", key->path, key->test);
        return false;
    }
    return true;
}

static int check_tests(const char *root)
{
    const struct key *key;
    bool ok = true;

    for (size_t i = 0; (key = key_at(i)); i++)
        if (key->state == KEY_BUILT && !key->moved_to)
            ok = check_test(key, root) && ok;
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 3 && str_eq(argv[1], "--check"))
        return check_page(argv[2]);
    if (argc == 3 && str_eq(argv[1], "--tests"))
        return check_tests(argv[2]);
    if (argc != 1) {
        (void)fprintf(stderr, "usage: keys [--check PAGE | --tests ROOT]\n");
        return 2;
    }
    AUTO(cstr) char *text = page();
    return fputs(text, stdout) < 0 ? 1 : 0;
}
