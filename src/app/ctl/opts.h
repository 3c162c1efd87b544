/*
 * Options of one verb, parsed by a table.
 *
 * Options and arguments may be mixed, "--" ends the options; `--name value`, `--name=value`, `-n value`,
 * `-nvalue` and `-ek` are understood. Errors are worded as patronictl's users know them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/err.h"

enum { OPT_MANY_MAX = 64 }; /* of one option on a command line; more is a mistake of a script */

struct opt_many {
    const char *at[OPT_MANY_MAX];
    size_t count;
};

/* Exactly one of flag, text, many is set: it says the kind and takes the value. */
struct opt {
    char letter;       /* 0: none */
    const char *names; /* long names without dashes, aliases separated by spaces: "leader primary master"; "": none */
    const char *meta;  /* "TEXT", "[leader|replica]"; NULL for flags */
    const char *help;  /* NULL: accepted, not shown */
    bool *flag;
    const char **text;
    struct opt_many *many;
    const char *choices; /* separated by '|'; NULL: any text */
};

#define OPT_END       \
    {                 \
        .names = NULL \
    }

/*
 * Reads argv[0..*argc). Values are stored as they come; what is no option is moved to the front of
 * argv and counted in *argc. `--help` sets *ret_help and ends the parsing.
 */
MUST_USE bool opts_parse(const struct opt *opts, int *argc, char **argv, bool *ret_help, struct err *err);

/*
 * Reads the options in front of the first argument (those of the whole program, before the verb);
 * *ret_used words belong to them.
 */
MUST_USE bool opts_parse_leading(const struct opt *opts, int argc, char **argv, int *ret_used, bool *ret_help,
                                 struct err *err);

/* The "Options:" part of a help text. */
void opts_describe(const struct opt *opts, struct buf *out);

/* True if text is one of choices ("a|b|c"). */
bool opts_choice(const char *choices, const char *text);
