#include "store/backend.h"

#include <stdlib.h>

void store_kvs_free(struct store_kv *kvs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(kvs[i].key);
        free(kvs[i].value);
    }
    free(kvs);
}
