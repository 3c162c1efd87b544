#include "web/auth.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "io/resolver.h"
#include "wire/ip.h"

#define SCHEME "Basic "

struct auth {
    char *username;    /* NULL: open */
    char *credentials; /* base64 of "username:password"; NULL: open. Secret. */
    bool asks_certificate;
    bool has_allowlist; /* even if it is all names that are not known yet */
    bool include_members;
    struct ip_net *nets;
    size_t net_count;
    struct string_list names;
};

/* Takes as long for a wrong text as for the right one of the same length. */
static bool same_secret(const char *secret, const char *given)
{
    size_t secret_len = strlen(secret);
    size_t given_len = strlen(given);
    volatile unsigned char differ = secret_len != given_len;

    for (size_t i = 0; i < given_len; i++)
        differ |= (unsigned char)(given[i] ^ secret[secret_len ? i % secret_len : 0]);
    return !differ;
}

static void forget(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

/* The alphabet of host names, and a letter: what has none is an address with a slip. */
static bool looks_like_name(const char *text)
{
    bool letter = false;

    for (const char *at = text; *at; at++) {
        if (!isalnum((unsigned char)*at) && (at == text || !strchr("-._", *at)))
            return false;
        letter = letter || isalpha((unsigned char)*at);
    }
    return letter;
}

static bool add_allowed(struct auth *a, const char *entry, struct err *err)
{
    struct ip_net net;

    if (ip_net_parse(entry, &net)) {
        a->nets = mem_grow(a->nets, a->net_count + 1, sizeof(*a->nets));
        a->nets[a->net_count++] = net;
        return true;
    }
    /* Patroni skips what it cannot read; with nothing left, everybody would be let in. */
    if (!looks_like_name(entry))
        return err_set(err, ERR_INPUT, "restapi.allowlist: \"%s\" is neither an address nor a network nor a name",
                       entry);

    a->names.at = mem_grow(a->names.at, a->names.count + 1, sizeof(*a->names.at));
    a->names.at[a->names.count++] = str_dup(entry);
    return true;
}

bool auth_new(const struct settings *settings, struct auth **ret_auth, struct err *err)
{
    const char *username = settings->restapi.username;
    const char *password = settings->restapi.password;
    AUTO(auth) struct auth *a = mem_zero(1, sizeof(*a));

    if (username || password) {
        char *plain = str_fmt("%s:%s", username ? username : "", password ? password : "");
        a->username = str_dup(username ? username : "");
        struct buf text = BUF_EMPTY;
        base64_encode(&text, plain, strlen(plain));
        a->credentials = buf_take(&text);
        forget(plain);
    }
    a->asks_certificate = settings->restapi.certfile && settings->restapi.verify_client != VERIFY_CLIENT_NONE;
    a->has_allowlist = settings->restapi.allowlist.count > 0;
    a->include_members = settings->restapi.allowlist_include_members;
    for (size_t i = 0; i < settings->restapi.allowlist.count; i++) {
        if (!add_allowed(a, settings->restapi.allowlist.at[i], err))
            return false;
    }
    *ret_auth = TAKE(a);
    return true;
}

void auth_free(struct auth *a)
{
    if (!a)
        return;

    free(a->username);
    forget(a->credentials);
    free(a->nets);
    for (size_t i = 0; i < a->names.count; i++)
        free(a->names.at[i]);
    free(a->names.at);
    free(a);
}

const char *auth_username(const struct auth *a)
{
    return a->username;
}

/* Where the members' REST is: what allowlist_include_members means. To be freed each by itself. */
static size_t member_hosts(const struct snapshot *s, char **hosts, size_t max)
{
    const struct cluster *c = s->cluster;
    size_t count = 0;

    for (size_t i = 0; c && i < c->member_count && count < max; i++) {
        int port;
        if (c->members[i].api_url && url_host_port(c->members[i].api_url, &hosts[count], &port))
            count++;
    }
    return count;
}

static void hosts_free(char **hosts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(hosts[i]);
}

void auth_watch(const struct auth *a, const struct snapshot *s, struct resolver *names)
{
    const char *wanted[RESOLVER_NAMES_MAX];
    char *hosts[RESOLVER_NAMES_MAX];
    size_t count = 0;
    struct ip ip;

    for (size_t i = 0; i < a->names.count && count < ARRAY_LEN(wanted); i++)
        wanted[count++] = a->names.at[i];
    size_t host_count = a->include_members ? member_hosts(s, hosts, ARRAY_LEN(hosts)) : 0;
    for (size_t i = 0; i < host_count && count < ARRAY_LEN(wanted); i++) {
        if (!ip_parse(hosts[i], &ip))
            wanted[count++] = hosts[i];
    }
    resolver_watch(names, wanted, count);
    hosts_free(hosts, host_count);
}

static bool in_allowlist(const struct auth *a, const struct ip *ip, const char *peer, struct resolver *names)
{
    for (size_t i = 0; i < a->net_count; i++) {
        if (ip_net_has(&a->nets[i], ip))
            return true;
    }
    for (size_t i = 0; i < a->names.count; i++) {
        if (resolver_has(names, a->names.at[i], peer))
            return true;
    }
    return false;
}

static bool is_member(const struct snapshot *s, const struct ip *ip, const char *peer, struct resolver *names)
{
    char *hosts[RESOLVER_NAMES_MAX];
    size_t count = member_hosts(s, hosts, ARRAY_LEN(hosts));
    bool found = false;

    for (size_t i = 0; i < count && !found; i++) {
        struct ip theirs;
        found = ip_parse(hosts[i], &theirs) ? memcmp(&theirs, ip, sizeof(theirs)) == 0
                                            : resolver_has(names, hosts[i], peer);
    }
    hosts_free(hosts, count);
    return found;
}

static bool good_address(const struct auth *a, const struct auth_request *request, const struct snapshot *s,
                         struct resolver *names)
{
    bool members = a->include_members && !request->no_members;
    struct ip ip;

    if (!a->has_allowlist && !members)
        return true;
    if (!ip_parse(request->peer, &ip))
        return false;
    return in_allowlist(a, &ip, request->peer, names) || (members && is_member(s, &ip, request->peer, names));
}

enum auth_verdict auth_check(const struct auth *a, const struct auth_request *request, const struct snapshot *s,
                             struct resolver *names)
{
    const char *given = request->authorization;

    if (!good_address(a, request, s, names))
        return AUTH_BAD_ADDRESS;
    if (a->asks_certificate && request->tls && !request->has_certificate)
        return AUTH_NO_CERTIFICATE;
    if (!a->credentials)
        return AUTH_OK;
    if (!given)
        return AUTH_NO_CREDENTIALS;
    if (strncasecmp(given, SCHEME, strlen(SCHEME)) != 0 || !same_secret(a->credentials, given + strlen(SCHEME)))
        return AUTH_BAD_CREDENTIALS;
    return AUTH_OK;
}
