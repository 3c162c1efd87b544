/*
 * Who may change something: address, client certificate, password, in this order (Patroni's).
 *
 * Reading is open to all (restapi.verify_client: required closes it in the handshake). An `auth` is
 * immutable and belongs to one configuration; host names in it are looked up in the background.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"
#include "web/snapshot.h"
#include "wire/conf/settings.h"

struct auth;
struct resolver;

/* Errors name the entry of restapi.allowlist that is neither address, network nor name. */
MUST_USE bool auth_new(const struct settings *settings, struct auth **ret_auth, struct err *err);
void auth_free(struct auth *a);
AUTO_DEFINE(auth, struct auth, auth_free)

/* Have the names looked up that checks will need: those of the allowlist and of the members. */
void auth_watch(const struct auth *a, const struct snapshot *s, struct resolver *names);

enum auth_verdict {
    AUTH_OK,
    AUTH_BAD_ADDRESS,     /* 403 */
    AUTH_NO_CERTIFICATE,  /* 403 */
    AUTH_NO_CREDENTIALS,  /* 401 */
    AUTH_BAD_CREDENTIALS, /* 401 */
};

struct auth_request {
    const char *peer; /* numeric address */
    bool tls;
    bool has_certificate;      /* a verified one */
    const char *authorization; /* the header; NULL: none */
    bool no_members;           /* allowlist_include_members does not count here (POST /failsafe) */
};

enum auth_verdict auth_check(const struct auth *a, const struct auth_request *request, const struct snapshot *s,
                             struct resolver *names);

/* Whom the password belongs to; NULL: none is asked for. */
const char *auth_username(const struct auth *a);
