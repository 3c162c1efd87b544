/*
 * Any bytes as what an etcd's gateway sends: read or refused, never a crash or a leak, and the same
 * objects however the stream is cut.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "store/etcd_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_as_everything(const char *bytes, size_t len)
{
    json_t *json = json_loadb(bytes, len, 0, NULL);
    struct etcd_answer answer = {0};
    struct etcd_watch_message message = {0};
    struct etcd_error error = {0};
    char version[32];

    if (!json)
        return;

    if (etcd_read_answer(json, &answer)) {
        CHECK(answer.ttl_s >= 0);
        for (size_t i = 0; i < answer.kv_count; i++)
            CHECK(answer.kvs[i].value[answer.kvs[i].value_len] == '\0');
    }
    etcd_answer_deinit(&answer);
    if (etcd_read_watch_message(json, &message)) {
        for (size_t i = 0; i < message.event_count; i++)
            CHECK(message.events[i].kv.key);
    }
    etcd_watch_message_deinit(&message);
    if (etcd_read_error(json, &error))
        (void)etcd_judge(&error); /* any verdict will do */
    (void)etcd_read_version(json, version, sizeof(version));
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct etcd_scan scan = {0};
    size_t begin = 0;
    size_t len;

    read_as_everything(bytes, size);
    while ((len = etcd_scan_object(&scan, bytes + begin, size - begin)) > 0) {
        struct etcd_scan slow = {0};

        for (size_t got = 1; got < len; got++)
            CHECK(etcd_scan_object(&slow, bytes + begin, got) == 0);
        CHECK(etcd_scan_object(&slow, bytes + begin, len) == len);
        read_as_everything(bytes + begin, len);
        begin += len;
    }
    return 0;
}
