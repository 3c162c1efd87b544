#include "store/etcd_access.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "wire/conf/settings.h"

static void member_init(struct etcd_member *m, const char *host, const char *protocol)
{
    const char *scheme = strstr(host, "://");

    m->name = str_dup(scheme ? scheme + 3 : host);
    m->url = scheme ? str_dup(host) : str_fmt("%s://%s", protocol ? protocol : "http", host);
    for (size_t len = strlen(m->url); len && m->url[len - 1] == '/'; len--)
        m->url[len - 1] = '\0'; /* paths are added */
}

bool etcd_access_new(struct loop *l, const struct settings *settings, struct etcd_access **ret_access, struct err *err)
{
    const struct string_list *hosts = &settings->store.hosts;

    if (hosts->count == 0)
        return err_set(err, ERR_INPUT, "the configuration names no host of etcd");
    if (hosts->count > ENDPOINTS_MAX)
        return err_set(err, ERR_INPUT, "%zu hosts of etcd are more than the %d that can be used", hosts->count,
                       ENDPOINTS_MAX);

    struct etcd_access *a = mem_zero(1, sizeof(*a));
    a->refs = 1;
    a->loop = l;
    a->endpoints.count = hosts->count;
    a->members = mem_zero(hosts->count, sizeof(*a->members));
    for (size_t i = 0; i < hosts->count; i++)
        member_init(&a->members[i], hosts->at[i], settings->store.protocol);
    a->username = str_dup(settings->store.username);
    a->password = str_dup(settings->store.password);
    a->http = http_client_new(l, &(struct http_client_conf){.cacert = settings->store.cacert,
                                                            .cert = settings->store.cert,
                                                            .key = settings->store.key});
    *ret_access = a;
    return true;
}

struct etcd_access *etcd_access_ref(struct etcd_access *a)
{
    CHECK(a->refs > 0);
    a->refs++;
    return a;
}

void etcd_access_unref(struct etcd_access *a)
{
    if (!a)
        return;

    CHECK(a->refs > 0);
    if (--a->refs > 0)
        return;

    http_client_free(a->http);
    for (size_t i = 0; i < a->endpoints.count; i++) {
        free(a->members[i].name);
        free(a->members[i].url);
    }
    free(a->members);
    free(a->username);
    free(a->password);
    free(a->token);
    free(a);
}

void etcd_access_failed(struct etcd_access *a, size_t member)
{
    endpoints_failed(&a->endpoints, member, loop_clock_ms());
    a->members[member].gateway = NULL; /* it may come back as another version */
    if (a->failed)
        a->failed(member, a->failed_arg);
}
