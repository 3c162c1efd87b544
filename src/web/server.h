/*
 * The REST server: Patroni's endpoints, in a thread of its own, answered from the newest snapshot.
 */
#pragma once

#include "base/auto.h"
#include "base/err.h"
#include "web/op.h"
#include "web/snapshot.h"
#include "wire/conf/settings.h"

struct web_server;

/*
 * Binds restapi.listen and starts the thread. Errors name the address or the file that is wrong. A host name
 * in restapi.listen is looked up here and now; those of the allowlist are looked up in the background.
 */
MUST_USE bool web_server_start(const struct settings *settings, struct snapshot_board *board, op_submit_fn *submit,
                               void *arg, struct web_server **ret_server, struct err *err);
/* New certificates, credentials, allowlist, headers; a changed listen address is bound before the old one is let go. */
MUST_USE bool web_server_reload(struct web_server *s, const struct settings *settings, struct err *err);
/*
 * Nobody is answered any more and submit is not called again (so it is safe to let go of the mailbox behind
 * it only after this); ops that the agent still has may be replied to, unheard. NULL is fine.
 */
void web_server_stop(struct web_server *s);
/* Where it listens, for tests that let the system choose. */
int web_server_port(const struct web_server *s);
