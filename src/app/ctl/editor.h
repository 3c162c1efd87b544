/*
 * A text, changed by the operator in the editor of their choice.
 */
#pragma once

#include "base/auto.h"
#include "base/err.h"

/*
 * $EDITOR, else `editor`, else `vi`, on a private temporary file whose name starts with `name`. The editor owns the
 * terminal until it ends; that is the one wait here without a deadline. free() *ret_text.
 */
MUST_USE bool editor_run(const char *name, const char *text, char **ret_text, struct err *err);
