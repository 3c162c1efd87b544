#include "wire/conf/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/conf/scalar.h"

struct anchor {
    char *name;
    struct conf_node *node; /* a copy of our own: the tree's may be replaced by a later key */
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one, if have_event */
    bool have_event;
    const char *file; /* counted */
    const char *text;
    size_t len;
    struct findings *findings;
    struct anchor *anchors;
    size_t anchor_count;
    size_t node_count;
    unsigned int depth;
};

static struct conf_node *read_node(struct reader *r);

static unsigned int event_line(const struct reader *r)
{
    return (unsigned int)r->event.start_mark.line + 1;
}

/* Always NULL, so that failing is one line. */
static struct conf_node *bad(struct reader *r, unsigned int line, const char *what)
{
    findings_add(r->findings, FINDING_ERROR, "%s:%u: %s", r->file, line, what);
    return NULL;
}

/* libyaml's own complaint. */
static void bad_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    unsigned int line = (unsigned int)p->problem_mark.line + 1;

    CHECK(p->error != YAML_MEMORY_ERROR);
    if (p->error == YAML_READER_ERROR) { /* knows only an offset */
        line = 1;
        for (size_t i = 0; i < p->problem_offset && i < r->len; i++)
            line += r->text[i] == '\n';
    }
    findings_add(r->findings, FINDING_ERROR, "%s:%u: %s%s%s", r->file, line, p->problem ? p->problem : "not YAML",
                 p->context ? " " : "", p->context ? p->context : "");
}

static bool next_event(struct reader *r)
{
    if (r->have_event)
        yaml_event_delete(&r->event);
    r->have_event = yaml_parser_parse(&r->parser, &r->event);
    if (!r->have_event)
        bad_syntax(r);
    return r->have_event;
}

/* Every node is paid for, copies too. */
static bool pay_for(struct reader *r, size_t count)
{
    r->node_count += count;
    if (r->node_count <= YAML_NODES_MAX)
        return true;
    bad(r, event_line(r), "more values than a configuration can have (aliases included)");
    return false;
}

static bool anchor_add(struct reader *r, const char *name, const struct conf_node *n)
{
    if (!name)
        return true;
    if (!pay_for(r, conf_node_count(n)))
        return false;

    r->anchors = mem_grow(r->anchors, r->anchor_count + 1, sizeof(*r->anchors));
    r->anchors[r->anchor_count++] = (struct anchor){.name = str_dup(name), .node = conf_node_copy(n)};
    return true;
}

static const struct conf_node *anchor_find(const struct reader *r, const char *name)
{
    for (size_t i = 0; i < r->anchor_count; i++)
        if (str_eq(r->anchors[i].name, name))
            return r->anchors[i].node;
    return NULL;
}

static unsigned int depth_of(const struct conf_node *n)
{
    unsigned int deepest = 0;

    if (n->type != CONF_LIST && n->type != CONF_MAP)
        return 0;
    for (size_t i = 0; i < n->children.count; i++) {
        unsigned int depth = depth_of(n->children.at[i]);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

static struct conf_node *read_alias(struct reader *r)
{
    const char *name = (const char *)r->event.data.alias.anchor;
    const struct conf_node *target = anchor_find(r, name);

    if (!target) {
        AUTO(cstr) char *what = str_fmt("*%s names no value that is complete before this line", name);
        return bad(r, event_line(r), what);
    }
    if (r->depth + depth_of(target) > YAML_DEPTH_MAX)
        return bad(r, event_line(r), "nested too deep");
    return pay_for(r, conf_node_count(target)) ? conf_node_copy(target) : NULL;
}

struct tag {
    const char *name;
    enum conf_type type;
};

static const struct tag tags[] = {
    {YAML_NULL_TAG, CONF_NULL},  {YAML_BOOL_TAG, CONF_BOOL}, {YAML_INT_TAG, CONF_INT}, {YAML_FLOAT_TAG, CONF_FLOAT},
    {YAML_STR_TAG, CONF_STRING}, {YAML_SEQ_TAG, CONF_LIST},  {YAML_MAP_TAG, CONF_MAP},
};

/* What an explicit tag asks for; a finding if it is none of ours. */
static bool tag_type(struct reader *r, const char *name, enum conf_type *ret_type)
{
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        if (str_eq(tags[i].name, name)) {
            *ret_type = tags[i].type;
            return true;
        }
    }
    AUTO(cstr) char *what = str_fmt("the tag \"%s\" means nothing here", name);
    bad(r, event_line(r), what);
    return false;
}

static bool scalar_of_event(struct reader *r, const char *text, struct scalar *ret)
{
    const char *tag = (const char *)r->event.data.scalar.tag;
    enum conf_type type = CONF_STRING;

    if (r->event.data.scalar.plain_implicit) {
        *ret = scalar_resolve(text);
        return true;
    }
    if (tag && !r->event.data.scalar.quoted_implicit && !tag_type(r, tag, &type))
        return false;
    if (scalar_resolve_as(text, type, ret))
        return true;

    AUTO(cstr) char *what = str_fmt("the value is not %s, as its tag says", conf_type_name(type));
    bad(r, event_line(r), what);
    return false;
}

static struct conf_node *read_scalar(struct reader *r)
{
    const char *text = (const char *)r->event.data.scalar.value;
    struct scalar s;

    if (strlen(text) != r->event.data.scalar.length)
        return bad(r, event_line(r), "a text with a NUL in it");
    if (!scalar_of_event(r, text, &s))
        return NULL;

    struct conf_node *n = conf_node_new(s.type, r->file, event_line(r));
    n->text = str_dup(text);
    switch (s.type) {
    case CONF_NULL:
        break;
    case CONF_BOOL:
        n->boolean = s.boolean;
        break;
    case CONF_INT:
        n->integer = s.integer;
        break;
    case CONF_FLOAT:
        n->number = s.number;
        break;
    case CONF_STRING:
        n->string = str_dup(text);
        break;
    case CONF_LIST:
    case CONF_MAP:
        UNREACHABLE();
    }
    return n;
}

/* A tag on a list or mapping has to be that of lists or mappings. */
static bool collection_tag_fits(struct reader *r, const yaml_char_t *tag, enum conf_type type)
{
    enum conf_type asked = type;

    if (tag && !str_eq((const char *)tag, "!") && !tag_type(r, (const char *)tag, &asked))
        return false;
    if (asked == type)
        return true;
    bad(r, event_line(r), "the tag does not fit the value");
    return false;
}

static struct conf_node *read_list(struct reader *r)
{
    AUTO(conf_node) struct conf_node *list = conf_node_new(CONF_LIST, r->file, event_line(r));

    if (!collection_tag_fits(r, r->event.data.sequence_start.tag, CONF_LIST))
        return NULL;

    for (;;) {
        if (!next_event(r))
            return NULL;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return TAKE(list);
        struct conf_node *item = read_node(r);
        if (!item)
            return NULL;
        conf_append(list, item);
    }
}

/* A mapping under construction: what << brings is put under what is written out. */
struct mapping {
    struct conf_node *own;
    struct conf_node *merged;
};

static void merge_map(struct mapping *m, const struct conf_node *from)
{
    for (size_t i = 0; i < from->children.count; i++)
        conf_set(m->merged, from->children.at[i]->key, conf_node_copy(from->children.at[i]));
}

/* <<: a mapping, or a list of mappings of which the first counts most. */
static bool merge_value(struct reader *r, struct mapping *m, const struct conf_node *value)
{
    if (!pay_for(r, conf_node_count(value)))
        return false;
    if (value->type == CONF_MAP) {
        merge_map(m, value);
        return true;
    }
    bool fits = value->type == CONF_LIST;
    for (size_t i = fits ? value->children.count : 0; fits && i > 0; i--) {
        const struct conf_node *item = value->children.at[i - 1];
        fits = item->type == CONF_MAP;
        if (fits)
            merge_map(m, item);
    }
    if (!fits)
        bad(r, value->line, "<< takes a mapping or a list of mappings");
    return fits;
}

/*
 * The key of the current event, as JSON would write it: Patroni hands mappings on as JSON, where
 * the number 1 and the text "1" are the same key. NULL with a finding if it cannot be one.
 */
static char *read_key(struct reader *r, bool *ret_merge)
{
    if (r->event.type != YAML_SCALAR_EVENT && r->event.type != YAML_ALIAS_EVENT) {
        bad(r, event_line(r), "a key has to be a plain name");
        return NULL;
    }
    *ret_merge = r->event.type == YAML_SCALAR_EVENT && r->event.data.scalar.plain_implicit &&
                 str_eq((const char *)r->event.data.scalar.value, "<<");

    AUTO(conf_node) struct conf_node *key = read_node(r);
    if (!key)
        return NULL;
    switch (key->type) {
    case CONF_NULL:
        return str_dup("null");
    case CONF_BOOL:
        return str_dup(key->boolean ? "true" : "false");
    case CONF_INT:
        return str_fmt("%lld", (long long)key->integer);
    case CONF_FLOAT:
        return scalar_float_text(key->number);
    case CONF_STRING:
        return str_dup(key->string);
    case CONF_LIST:
    case CONF_MAP:
        break;
    }
    bad(r, key->line, "a key has to be a plain name");
    return NULL;
}

static bool read_entry(struct reader *r, struct mapping *m)
{
    unsigned int line = event_line(r);
    bool merge = false;
    AUTO(cstr) char *key = read_key(r, &merge);

    if (!key || !next_event(r))
        return false;
    AUTO(conf_node) struct conf_node *value = read_node(r);
    if (!value)
        return false;
    if (merge)
        return merge_value(r, m, value);

    const struct conf_node *old = conf_get(m->own, key);
    if (old)
        findings_add(r->findings, FINDING_WARNING, "%s:%u: %s: given again (first in line %u); this one counts",
                     r->file, line, key, old->line);
    if (m->own->children.count == YAML_KEYS_MAX) {
        bad(r, line, "more keys than a mapping can have");
        return false;
    }
    value->line = line;
    conf_set(m->own, key, TAKE(value));
    return true;
}

static struct conf_node *read_map(struct reader *r)
{
    unsigned int line = event_line(r);
    AUTO(conf_node) struct conf_node *own = conf_node_new(CONF_MAP, r->file, line);
    AUTO(conf_node) struct conf_node *merged = conf_node_new(CONF_MAP, r->file, line);
    struct mapping m = {.own = own, .merged = merged};

    if (!collection_tag_fits(r, r->event.data.mapping_start.tag, CONF_MAP))
        return NULL;

    for (;;) {
        if (!next_event(r))
            return NULL;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            break;
        if (!read_entry(r, &m))
            return NULL;
    }
    if (merged->children.count == 0)
        return TAKE(own);

    for (size_t i = 0; i < own->children.count; i++)
        conf_set(merged, own->children.at[i]->key, own->children.at[i]);
    own->children.count = 0; /* all handed over */
    return TAKE(merged);
}

/* The anchor of the current event; NULL if it has none. */
static const char *event_anchor(const struct reader *r)
{
    if (r->event.type == YAML_SCALAR_EVENT)
        return (const char *)r->event.data.scalar.anchor;
    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        return (const char *)r->event.data.sequence_start.anchor;
    if (r->event.type == YAML_MAPPING_START_EVENT)
        return (const char *)r->event.data.mapping_start.anchor;
    return NULL;
}

static struct conf_node *read_value(struct reader *r)
{
    if (r->event.type == YAML_ALIAS_EVENT)
        return read_alias(r);
    if (!pay_for(r, 1))
        return NULL;
    if (r->event.type == YAML_SCALAR_EVENT)
        return read_scalar(r);
    if (r->depth == YAML_DEPTH_MAX)
        return bad(r, event_line(r), "nested too deep");

    r->depth++;
    struct conf_node *n = r->event.type == YAML_SEQUENCE_START_EVENT ? read_list(r) : read_map(r);
    r->depth--;
    return n;
}

/* The value that begins at the current event; afterwards the current event is its last. */
static struct conf_node *read_node(struct reader *r)
{
    AUTO(cstr) char *anchor = str_dup(event_anchor(r));

    if (anchor && anchor_find(r, anchor)) {
        AUTO(cstr) char *what = str_fmt("&%s names a second value", anchor);
        return bad(r, event_line(r), what);
    }
    AUTO(conf_node) struct conf_node *n = read_value(r);
    if (!n || !anchor_add(r, anchor, n))
        return NULL;
    return TAKE(n);
}

/* Move on over the end of something to what follows. */
static bool skip_event(struct reader *r)
{
    if (!next_event(r))
        return false;
    return next_event(r);
}

static struct conf_node *read_document(struct reader *r)
{
    if (!skip_event(r)) /* the stream's start, then a document's or the end */
        return NULL;
    if (r->event.type == YAML_STREAM_END_EVENT)
        return conf_node_new(CONF_NULL, r->file, 1);
    if (!next_event(r))
        return NULL;

    AUTO(conf_node) struct conf_node *root = read_node(r);
    if (!root || !skip_event(r)) /* the document's end, then the stream's */
        return NULL;
    if (r->event.type != YAML_STREAM_END_EVENT)
        return bad(r, event_line(r), "a second document begins here; one is expected");
    return TAKE(root);
}

struct conf_node *conf_yaml_read(const char *file, const char *text, size_t len, struct findings *findings)
{
    if (len > YAML_TEXT_MAX) {
        findings_add(findings, FINDING_ERROR, "%s: larger than a configuration can be (%d bytes)", file, YAML_TEXT_MAX);
        return NULL;
    }

    struct reader r = {.file = conf_file_new(file), .text = text, .len = len, .findings = findings};
    CHECK(yaml_parser_initialize(&r.parser));
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    struct conf_node *root = read_document(&r);

    if (r.have_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    for (size_t i = 0; i < r.anchor_count; i++) {
        free(r.anchors[i].name);
        conf_node_free(r.anchors[i].node);
    }
    free(r.anchors);
    conf_file_unref(r.file);
    return root;
}
