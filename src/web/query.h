/*
 * The query of a URL: "lag=16MB&tag_zone=a%20b". As Patroni reads it: of a key that comes several times
 * the first value counts, and a key without a value does not count at all.
 */
#pragma once

/* The decoded value of a key; NULL: absent or empty. free() it. */
char *query_value(const char *query, const char *key);

/*
 * Walks over the pairs: *at is the rest of the query, NULL at the end. Returns the next key, decoded
 * (free() it), or NULL if there is none left.
 */
char *query_next_key(const char **at);
