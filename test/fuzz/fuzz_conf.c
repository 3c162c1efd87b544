/*
 * Any bytes as a node's file, as a variable, and as the store's `config` key: findings or settings,
 * never a crash, a leak, or a CHECK.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/check.h"
#include "base/str.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_dynamic(const json_t *config, const struct settings *local)
{
    struct findings f = {0};
    struct dynamic *d = dynamic_read(config, local, &f);

    CHECK(d->loop_wait_ms + 2 * d->retry_timeout_ms <= d->ttl_ms);
    CHECK(d->ttl_ms >= 20000);
    CHECK(dynamic_shared_parameter(d, "max_connections"));
    dynamic_unref(d);
    findings_deinit(&f);
}

static void read_file(const uint8_t *data, size_t size)
{
    struct conf_source source = {"fuzz.yml", (const char *)data, size};
    struct findings f = {0};
    struct settings *s = settings_read(&source, 1, NULL, &f);

    CHECK((s != NULL) == (f.error_count == 0));
    if (s) {
        json_t *seed = dynamic_seed(s);
        read_dynamic(seed, s);
        json_decref(seed);
    }
    settings_unref(s);
    findings_deinit(&f);
}

static void read_variables(const uint8_t *data, size_t size)
{
    AUTO(cstr) char *text = mem_zero(size + 1, 1);

    memcpy(text, data, size);
    AUTO(cstr) char *list = str_fmt("PATRONI_ETCD3_HOSTS=%s", text);
    AUTO(cstr) char *map = str_fmt("PATRONI_TAGS=%s", text);
    AUTO(cstr) char *address = str_fmt("PATRONI_POSTGRESQL_LISTEN=%s", text);
    AUTO(cstr) char *url = str_fmt("PATRONI_ETCD3_URL=%s", text);
    const char *const environment[] = {list, map, address, url, NULL};
    struct findings f = {0};

    settings_unref(settings_read_ctl(NULL, 0, environment, &f));
    findings_deinit(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *config = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);

    read_file(data, size);
    read_variables(data, size);
    if (config)
        read_dynamic(config, NULL);
    json_decref(config);
    return 0;
}
