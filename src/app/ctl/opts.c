#include "app/ctl/opts.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

/* "-f" and "--format" as people write them; the first long name if there are aliases. */
static void opt_label(const struct opt *o, char *to, size_t cap)
{
    int len = (int)strcspn(o->names, " ");

    if (o->letter)
        (void)snprintf(to, cap, "'--%.*s' / '-%c'", len, o->names, o->letter);
    else
        (void)snprintf(to, cap, "'--%.*s'", len, o->names);
}

static bool names_have(const char *names, const char *name, size_t name_len)
{
    while (*names) {
        size_t len = strcspn(names, " ");
        if (len == name_len && memcmp(names, name, len) == 0)
            return true;
        names += len;
        names += *names == ' ';
    }
    return false;
}

static const struct opt *find_long(const struct opt *opts, const char *name, size_t len)
{
    for (const struct opt *o = opts; o->names; o++)
        if (names_have(o->names, name, len))
            return o;
    return NULL;
}

static const struct opt *find_letter(const struct opt *opts, char letter)
{
    for (const struct opt *o = opts; o->names; o++)
        if (o->letter == letter)
            return o;
    return NULL;
}

bool opts_choice(const char *choices, const char *text)
{
    size_t text_len = strlen(text);

    for (const char *at = choices;; at++) {
        size_t len = strcspn(at, "|");
        if (len == text_len && memcmp(at, text, len) == 0)
            return true;
        at += len;
        if (!*at)
            return false;
    }
}

static bool bad_choice(const struct opt *o, const char *value, struct err *err)
{
    AUTO(buf) struct buf list = BUF_EMPTY;
    char label[64];

    for (const char *at = o->choices; *at;) {
        size_t len = strcspn(at, "|");
        buf_printf(&list, "%s'%.*s'", list.len ? ", " : "", (int)len, at);
        at += len;
        at += *at == '|';
    }
    opt_label(o, label, sizeof(label));
    return err_set(err, ERR_INPUT, "Invalid value for %s: '%s' is not one of %s.", label, value, buf_cstr(&list));
}

static bool store_value(const struct opt *o, const char *value, struct err *err)
{
    char label[64];

    if (o->choices && !opts_choice(o->choices, value))
        return bad_choice(o, value, err);
    if (o->text) {
        *o->text = value;
        return true;
    }

    CHECK(o->many);
    opt_label(o, label, sizeof(label));
    if (o->many->count == OPT_MANY_MAX)
        return err_set(err, ERR_INPUT, "Option %s is given more than %d times.", label, OPT_MANY_MAX);
    o->many->at[o->many->count++] = value;
    return true;
}

/* `--name`, `--name=value`; next is the following word (NULL: none). */
static bool take_long(const struct opt *opts, const char *word, const char *next, bool *ret_used_next, struct err *err)
{
    const char *name = word + 2;
    size_t len = strcspn(name, "=");
    const struct opt *o = find_long(opts, name, len);

    if (!o)
        return err_set(err, ERR_INPUT, "No such option: --%.*s", (int)len, name);
    if (o->flag) {
        if (name[len])
            return err_set(err, ERR_INPUT, "Option '--%.*s' does not take a value.", (int)len, name);
        *o->flag = true;
        return true;
    }
    if (name[len])
        return store_value(o, name + len + 1, err);
    if (!next)
        return err_set(err, ERR_INPUT, "Option '--%.*s' requires an argument.", (int)len, name);
    *ret_used_next = true;
    return store_value(o, next, err);
}

/* `-e`, `-ek`, `-fjson`, `-f json` */
static bool take_letters(const struct opt *opts, const char *word, const char *next, bool *ret_used_next,
                         struct err *err)
{
    for (const char *at = word + 1; *at; at++) {
        const struct opt *o = find_letter(opts, *at);

        if (!o)
            return err_set(err, ERR_INPUT, "No such option: -%c", *at);
        if (o->flag) {
            *o->flag = true;
            continue;
        }
        if (at[1])
            return store_value(o, at + 1, err);
        if (!next)
            return err_set(err, ERR_INPUT, "Option '-%c' requires an argument.", *at);
        *ret_used_next = true;
        return store_value(o, next, err);
    }
    return true;
}

/* One option at argv[0]; *ret_used is 1, or 2 with its value. */
static bool take_option(const struct opt *opts, int argc, char **argv, int *ret_used, struct err *err)
{
    const char *next = argc > 1 ? argv[1] : NULL;
    bool used_next = false;
    bool ok = argv[0][1] == '-' ? take_long(opts, argv[0], next, &used_next, err)
                                : take_letters(opts, argv[0], next, &used_next, err);

    *ret_used = 1 + used_next;
    return ok;
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1];
}

bool opts_parse(const struct opt *opts, int *argc, char **argv, bool *ret_help, struct err *err)
{
    int kept = 0, used = 1;
    bool only_arguments = false;

    for (int i = 0; i < *argc; i += used) {
        used = 1;
        if (only_arguments || !is_option(argv[i])) {
            argv[kept++] = argv[i];
        } else if (str_eq(argv[i], "--")) {
            only_arguments = true;
        } else if (str_eq(argv[i], "--help")) {
            *ret_help = true;
            return true;
        } else if (!take_option(opts, *argc - i, argv + i, &used, err)) {
            return false;
        }
    }
    *argc = kept;
    return true;
}

bool opts_parse_leading(const struct opt *opts, int argc, char **argv, int *ret_used, bool *ret_help, struct err *err)
{
    int at = 0, used = 0;

    for (; at < argc && is_option(argv[at]); at += used) {
        if (str_eq(argv[at], "--help")) {
            *ret_help = true;
            break;
        }
        if (!take_option(opts, argc - at, argv + at, &used, err))
            return false;
    }
    *ret_used = at;
    return true;
}

static void option_left_side(const struct opt *o, struct buf *out)
{
    if (o->letter)
        buf_printf(out, "-%c", o->letter);
    for (const char *at = o->names; *at;) {
        int len = (int)strcspn(at, " ");
        buf_printf(out, "%s--%.*s", out->len ? ", " : "", len, at);
        at += len;
        at += *at == ' ';
    }
    if (o->meta)
        buf_printf(out, " %s", o->meta);
}

void opts_describe(const struct opt *opts, struct buf *out)
{
    enum { LEFT = 30 }; /* columns of the option itself; a longer one gets a line of its own */

    buf_add_str(out, "Options:\n");
    for (const struct opt *o = opts; o->names; o++) {
        AUTO(buf) struct buf left = BUF_EMPTY;
        if (!o->help)
            continue;
        option_left_side(o, &left);
        if (left.len <= LEFT)
            buf_printf(out, "  %-*s  %s\n", LEFT, buf_cstr(&left), o->help);
        else
            buf_printf(out, "  %s\n  %-*s  %s\n", buf_cstr(&left), LEFT, "", o->help);
    }
    buf_printf(out, "  %-*s  %s\n", LEFT, "--help", "Show this message and exit.");
}
