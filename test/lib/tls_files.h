/*
 * Certificates for a test: one authority, a server for 127.0.0.1, a client, and a client of another authority.
 */
#pragma once

#include "base/auto.h"

enum { TLS_PATH_MAX = 128 };

struct tls_files {
    char dir[TLS_PATH_MAX];
    char ca[TLS_PATH_MAX];
    char cert[TLS_PATH_MAX], key[TLS_PATH_MAX];               /* CN=node */
    char locked_key[TLS_PATH_MAX];                            /* the same key, password "sesame" */
    char client_cert[TLS_PATH_MAX], client_key[TLS_PATH_MAX]; /* CN=admin */
    char alien_cert[TLS_PATH_MAX], alien_key[TLS_PATH_MAX];   /* CN=admin of an authority nobody knows */
};

/* In a new folder under /tmp. Aborts if openssl(1) is missing. */
struct tls_files *tls_files_new(void);
/* Replaces certificate and key of the server by new ones, CN=cn. */
void tls_files_renew(struct tls_files *t, const char *cn);
/* The same for a certificate that says it is a server's (extendedKeyUsage), as many authorities issue them. */
void tls_files_for_servers_only(struct tls_files *t);
/* Removes the folder too. */
void tls_files_free(struct tls_files *t);
AUTO_DEFINE(tls_files, struct tls_files, tls_files_free)
