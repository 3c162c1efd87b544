/*
 * Reading one value as Patroni would: numbers in quotes, on/off as words, sizes with units.
 *
 * Every function takes NULL or a node of any type; false means that the value is not of that kind
 * and *ret is untouched.
 */
#pragma once

#include "wire/conf/node.h"
#include "wire/conf/settings.h"

/* on/off, true/false, yes/no, 1/0, as text in any case too. */
MUST_USE bool value_bool(const struct conf_node *n, bool *ret_value);

enum value_unit { UNIT_NONE, UNIT_SECONDS, UNIT_BYTES, UNIT_MEGABYTES };

/*
 * A whole number; as text also hexadecimal, octal and, with a unit to convert to, "30min" or "16MB".
 * Fractions are rounded only where a unit stands behind them ("4097.5kB"), as Patroni does.
 */
MUST_USE bool value_int(const struct conf_node *n, enum value_unit unit, int64_t *ret_value);
MUST_USE bool value_text_to_int(const char *text, enum value_unit unit, int64_t *ret_value);

/* Texts and numbers as Python's str() prints them (010 is "8"); free() it. NULL for anything else. */
char *value_text(const struct conf_node *n);

/*
 * "host:port", the host possibly a comma-separated list (`listen`) or an IPv6 address, in brackets or
 * not. Without a port default_port counts; 0: a port is required. *ret is owned by the caller.
 */
MUST_USE bool value_endpoint(const char *text, int default_port, struct endpoint *ret);
void endpoint_deinit(struct endpoint *e);

/* http(s)://[user[:password]@]host[:port][/…] */
struct value_url {
    char *protocol;            /* "http" or "https" */
    char *username, *password; /* decoded; NULL: none */
    char *host;
    int port;
};
MUST_USE bool value_url(const char *text, int default_port, struct value_url *ret);
void value_url_deinit(struct value_url *url);

/* A list of texts, or one text with commas; empty parts are left out. False: neither. */
MUST_USE bool value_text_list(const struct conf_node *n, struct string_list *ret);
void string_list_add(struct string_list *l, const char *text);
void string_list_deinit(struct string_list *l);

/*
 * Options for initdb, pg_basebackup, pg_rewind: a list of names and one-key mappings, or a mapping.
 * New reference: always a list, its values always texts. NULL: not of that form.
 */
json_t *value_options(const struct conf_node *n);

/* What stands there, for a complaint: `"foo"`, `12`, `a list`. Cut and made printable. free() it. */
char *value_shown(const struct conf_node *n, bool secret);
