/*
 * Questions to the operator, in the form patronictl asks them.
 *
 * false means that there is nobody to answer (end of input): the caller gives up without acting.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/auto.h"

/* "Question [default]: "; asks again while the answer is empty and there is no default (NULL). free() *ret. */
MUST_USE bool prompt_text(FILE *in, FILE *out, const char *question, const char *default_, char **ret);

/* "Question [y/N]: " */
MUST_USE bool prompt_confirm(FILE *in, FILE *out, const char *question, bool *ret_yes);

/* Without echo where in is a terminal. */
MUST_USE bool prompt_secret(FILE *in, FILE *out, const char *question, char **ret);
