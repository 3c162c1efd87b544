#include "test/lib/tls_files.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"

enum { COMMAND_MAX = 1024 };

static void PRINTF_LIKE(1, 2) shell(const char *fmt, ...)
{
    char command[COMMAND_MAX];
    va_list args;

    va_start(args, fmt);
    int len = vsnprintf(command, sizeof(command), fmt, args);
    va_end(args);
    CHECK(len > 0 && len < COMMAND_MAX);
    int status = system(command); /* NOLINT(cert-env33-c): a test runs openssl(1) */
    CHECK(status == 0);
}

static void name(char *to, const struct tls_files *t, const char *file)
{
    int len = snprintf(to, TLS_PATH_MAX, "%s/%s", t->dir, file);
    CHECK(len > 0 && len < TLS_PATH_MAX);
}

static void authority(const char *cert, const char *key, const char *cn)
{
    shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=%s' "
          "-addext basicConstraints=critical,CA:TRUE -keyout %s -out %s 2>/dev/null",
          cn, key, cert);
}

static void issue(const struct tls_files *t, const char *ca, const char *ca_key, const char *cert, const char *key,
                  const char *cn, const char *extension)
{
    shell("cd %s && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=%s' "
          "-addext subjectAltName=IP:127.0.0.1 %s -keyout %s -out request 2>/dev/null && "
          "openssl x509 -req -in request -CA %s -CAkey %s -CAcreateserial -copy_extensions copy -days 2 "
          "-out %s 2>/dev/null",
          t->dir, cn, extension, key, ca, ca_key, cert);
}

struct tls_files *tls_files_new(void)
{
    struct tls_files *t = mem_zero(1, sizeof(*t));
    char ca_key[TLS_PATH_MAX];
    char alien_ca[TLS_PATH_MAX];
    char alien_ca_key[TLS_PATH_MAX];

    str_copy(t->dir, sizeof(t->dir), "/tmp/pgkeep-test-tls-XXXXXX");
    const char *made = mkdtemp(t->dir);
    CHECK(made);
    name(t->ca, t, "ca.crt");
    name(ca_key, t, "ca.key");
    name(t->cert, t, "node.crt");
    name(t->key, t, "node.key");
    name(t->locked_key, t, "locked.key");
    name(t->client_cert, t, "client.crt");
    name(t->client_key, t, "client.key");
    name(alien_ca, t, "alien-ca.crt");
    name(alien_ca_key, t, "alien-ca.key");
    name(t->alien_cert, t, "alien.crt");
    name(t->alien_key, t, "alien.key");
    authority(t->ca, ca_key, "authority");
    authority(alien_ca, alien_ca_key, "alien authority");
    issue(t, t->ca, ca_key, t->client_cert, t->client_key, "admin", "");
    issue(t, alien_ca, alien_ca_key, t->alien_cert, t->alien_key, "admin", "");
    tls_files_renew(t, "node");
    shell("openssl ec -aes128 -passout pass:sesame -in %s -out %s 2>/dev/null", t->key, t->locked_key);
    return t;
}

void tls_files_renew(struct tls_files *t, const char *cn)
{
    char ca_key[TLS_PATH_MAX];

    name(ca_key, t, "ca.key");
    issue(t, t->ca, ca_key, t->cert, t->key, cn, "");
}

void tls_files_for_servers_only(struct tls_files *t)
{
    char ca_key[TLS_PATH_MAX];

    name(ca_key, t, "ca.key");
    issue(t, t->ca, ca_key, t->cert, t->key, "node", "-addext extendedKeyUsage=serverAuth");
}

void tls_files_free(struct tls_files *t)
{
    if (!t)
        return;

    shell("rm -rf %s", t->dir);
    free(t);
}
