/*
 * What the tests of wire/conf share: text in, settings and findings out.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/auto.h"
#include "base/str.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

AUTO_DEFINE(json, json_t, json_decref)

static inline UNUSED void findings_freep(struct findings *f)
{
    findings_deinit(f);
}

/* The least that is a node's configuration; what a test says is merged over it, as a folder's second file. */
static const char base_yaml[] = "scope: demo\n"
                                "name: n1\n"
                                "restapi: {listen: '127.0.0.1:8008'}\n"
                                "etcd3: {hosts: 'e1:2379'}\n"
                                "postgresql:\n"
                                "  listen: 127.0.0.1:5432\n"
                                "  data_dir: /srv/pg/main\n"
                                "  authentication: {replication: {username: rep}}\n";

static inline UNUSED struct settings *settings_of_env(const char *yaml, const char *const *environment,
                                                      struct findings *f)
{
    struct conf_source sources[] = {
        {"base.yml", base_yaml, strlen(base_yaml)},
        {"node.yml", yaml, strlen(yaml)},
    };

    return settings_read(sources, 2, environment, f);
}

static inline UNUSED struct settings *settings_of(const char *yaml, struct findings *f)
{
    return settings_of_env(yaml, NULL, f);
}

static inline UNUSED struct dynamic *dynamic_of(const char *json, const struct settings *local, struct findings *f)
{
    AUTO(json) json_t *config = json_loads(json, JSON_DECODE_ANY, NULL);

    assert_non_null(config);
    return dynamic_read(config, local, f);
}

/* How many findings of this level have `part` in their text. */
static inline UNUSED int findings_with(const struct findings *f, enum finding_level level, const char *part)
{
    int count = 0;

    for (size_t i = 0; i < f->count; i++)
        count += f->at[i].level == level && strstr(f->at[i].text, part) != NULL;
    return count;
}

static inline UNUSED void findings_print(const struct findings *f)
{
    for (size_t i = 0; i < f->count; i++)
        print_message("%s: %s\n", f->at[i].level == FINDING_ERROR ? "error" : "warning", f->at[i].text);
}

/* The only finding is this one. */
static inline UNUSED void assert_finding(const struct findings *f, enum finding_level level, const char *text)
{
    if (f->count != 1)
        findings_print(f);
    assert_int_equal(f->count, 1);
    assert_string_equal(f->at[0].text, text);
    assert_int_equal(f->at[0].level, level);
}

static inline UNUSED void assert_no_finding(const struct findings *f)
{
    findings_print(f);
    assert_int_equal(f->count, 0);
}

/* What the configuration `yaml` (over the base) is answered with, and nothing else. */
static inline UNUSED void assert_answer(const char *yaml, enum finding_level level, const char *text)
{
    AUTO(findings) struct findings f = {0};
    AUTO(settings) struct settings *s = settings_of(yaml, &f);

    assert_finding(&f, level, text);
    assert_int_equal(s != NULL, level == FINDING_WARNING);
}

static inline UNUSED void assert_json(const json_t *json, const char *want)
{
    AUTO(json) json_t *wanted = json_loads(want, JSON_DECODE_ANY, NULL);

    assert_non_null(wanted);
    if (json_equal(json, wanted))
        return;
    AUTO(cstr) char *found = json ? json_dumps(json, JSON_ENCODE_ANY | JSON_SORT_KEYS) : str_dup("NULL");
    assert_string_equal(found, want);
}
