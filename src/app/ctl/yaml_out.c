#include "app/ctl/yaml_out.h"

#include <string.h>
#include <yaml.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "wire/conf/scalar.h"

enum { YAML_WIDTH = 200 }; /* what patronictl uses: long pg_hba lines stay in one piece */

static int write_piece(void *arg, unsigned char *bytes, size_t len)
{
    buf_add(arg, bytes, len);
    return 1;
}

/* The emitter fails only without memory or on a wrong order of events: neither is anybody's input. */
static void emit(yaml_emitter_t *emitter, yaml_event_t *event)
{
    int emitted = yaml_emitter_emit(emitter, event);
    CHECK(emitted);
}

/* True if the text, written without quotes, would be read as itself: no number, no date, no `=` or `<<`. */
static bool plain_is_text(const char *text)
{
    if (scalar_resolve(text).type != CONF_STRING || str_eq(text, "=") || str_eq(text, "<<"))
        return false;

    bool date = strspn(text, "0123456789") == 4 && text[4] == '-' && strspn(text + 5, "0123456789") >= 1;
    return !date || text[strspn(text, "0123456789-+:.TtZ \t")];
}

static void emit_scalar(yaml_emitter_t *emitter, const char *text, bool plain)
{
    yaml_event_t event;

    CHECK(yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), plain, 1,
                                       plain ? YAML_ANY_SCALAR_STYLE : YAML_SINGLE_QUOTED_SCALAR_STYLE));
    emit(emitter, &event);
}

static void emit_text(yaml_emitter_t *emitter, const char *text)
{
    emit_scalar(emitter, text, plain_is_text(text));
}

static void emit_value(yaml_emitter_t *emitter, const json_t *value, enum yaml_style style);

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void emit_object(yaml_emitter_t *emitter, const json_t *object, enum yaml_style style)
{
    size_t count = json_object_size(object), i = 0;
    const char **keys = mem_zero(count, sizeof(*keys));
    yaml_event_t event;

    for (void *it = json_object_iter((json_t *)object); it; it = json_object_iter_next((json_t *)object, it))
        keys[i++] = json_object_iter_key(it);
    qsort(keys, count, sizeof(*keys), by_key);

    bool flow = style == YAML_FLOW || count == 0;
    CHECK(yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
                                              flow ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE));
    emit(emitter, &event);
    for (i = 0; i < count; i++) {
        emit_text(emitter, keys[i]);
        emit_value(emitter, json_object_get(object, keys[i]), style);
    }
    CHECK(yaml_mapping_end_event_initialize(&event));
    emit(emitter, &event);
    free(keys);
}

static void emit_array(yaml_emitter_t *emitter, const json_t *array, enum yaml_style style)
{
    bool flow = style == YAML_FLOW || json_array_size(array) == 0;
    yaml_event_t event;

    CHECK(yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                               flow ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE));
    emit(emitter, &event);
    for (size_t i = 0; i < json_array_size(array); i++)
        emit_value(emitter, json_array_get(array, i), style);
    CHECK(yaml_sequence_end_event_initialize(&event));
    emit(emitter, &event);
}

static void emit_value(yaml_emitter_t *emitter, const json_t *value, enum yaml_style style)
{
    char number[32];
    AUTO(cstr) char *real = NULL;

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        emit_object(emitter, value, style);
        return;
    case JSON_ARRAY:
        emit_array(emitter, value, style);
        return;
    case JSON_STRING:
        emit_text(emitter, json_string_value(value));
        return;
    case JSON_INTEGER:
        (void)snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        emit_scalar(emitter, number, true);
        return;
    case JSON_REAL:
        real = scalar_float_text(json_real_value(value));
        emit_scalar(emitter, real, true);
        return;
    case JSON_TRUE:
        emit_scalar(emitter, "true", true);
        return;
    case JSON_FALSE:
        emit_scalar(emitter, "false", true);
        return;
    case JSON_NULL:
        emit_scalar(emitter, "null", true);
        return;
    }
    UNREACHABLE();
}

char *yaml_text(const json_t *value, enum yaml_style style)
{
    AUTO(buf) struct buf out = BUF_EMPTY;
    yaml_emitter_t emitter;
    yaml_event_t event;

    CHECK(yaml_emitter_initialize(&emitter));
    yaml_emitter_set_output(&emitter, write_piece, &out);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, YAML_WIDTH);

    CHECK(yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    emit(&emitter, &event);
    CHECK(yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    emit(&emitter, &event);
    emit_value(&emitter, value, style);
    CHECK(yaml_document_end_event_initialize(&event, 1));
    emit(&emitter, &event);
    CHECK(yaml_stream_end_event_initialize(&event));
    emit(&emitter, &event);
    yaml_emitter_delete(&emitter);

    char *text = buf_take(&out);
    if (str_ends(text, "\n...\n"))
        text[strlen(text) - 4] = '\0';
    return text;
}
