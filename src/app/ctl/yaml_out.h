/*
 * JSON values as YAML, laid out as PyYAML's safe_dump lays it out (keys sorted, lines up to 200 columns).
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

enum yaml_style { YAML_BLOCK, YAML_FLOW };

/* free() it. Ends with a newline; a scalar has no document marker behind it. */
char *yaml_text(const json_t *value, enum yaml_style style);
