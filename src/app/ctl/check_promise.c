/* What breaks the promise of a synchronous mode: in the configuration, and in the PostgreSQL that runs here. */
#include <stdlib.h>

#include "app/ctl/checks.h"
#include "base/str.h"
#include "io/loop.h"
#include "pg/bin.h"
#include "pg/breach_ask.h"
#include "pg/guc.h"
#include "pg/instance.h"
#include "wire/conf/dynamic.h"

enum { ASK_MS = 5000 };

static bool is_off(const json_t *value)
{
    bool on = true;

    return json_is_false(value) || (json_is_integer(value) && json_integer_value(value) == 0) ||
           (json_is_string(value) && guc_parse_bool(json_string_value(value), &on) && !on);
}

/* As breach_ask.c has it for what PostgreSQL shows. */
static bool is_weak(const json_t *value)
{
    const char *text = json_string_value(value);

    return is_off(value) || str_eq_nocase(text, "local") || str_eq_nocase(text, "remote_write");
}

static void check_parameters(struct check *c, const struct dynamic *d)
{
    static const char *const crash[] = {"fsync", "full_page_writes"};

    if (is_weak(json_object_get(d->parameters, "synchronous_commit")))
        check_warn(c, "postgresql.parameters.synchronous_commit", "below \"on\": %s", breach_words(BREACH_COMMIT));
    for (size_t i = 0; i < ARRAY_LEN(crash); i++) {
        AUTO(cstr) char *key = str_fmt("postgresql.parameters.%s", crash[i]);
        if (is_off(json_object_get(d->parameters, crash[i])))
            check_warn(c, key, "is off: %s", breach_words(BREACH_DURABILITY));
    }
}

struct promise_answer {
    bool done, answered;
    struct breaches found;
    struct err err;
};

static void on_answer(const struct sql_result *result, void *arg)
{
    struct promise_answer *a = arg;

    a->done = true;
    a->answered = breach_read(result, &a->found);
    a->err = result->err;
}

static void tell_found(struct check *c, const struct breaches *b)
{
    for (size_t i = 0; i < b->count; i++)
        check_warn(c, "synchronous_mode", "%s: %s", b->at[i].text, breach_words(b->at[i].reason));
    if (b->left_out)
        check_warn(c, "synchronous_mode", "and %zu more of the kind", b->left_out);
    if (!b->count)
        check_passed(c, "no role, database or file asks PostgreSQL for less than the synchronous mode promises");
}

static bool find_instance(const struct check *c, struct dynamic *d, struct pg_instance **ret_instance, struct err *err)
{
    const struct pg_bin_spec spec = {
        .bin_dir = d->bin_dir, .bin_name = d->bin_name, .data_major = c->data_major, .path_env = getenv("PATH")};
    struct pg_bin *bin = NULL;

    return pg_bin_find(&spec, &bin, err) && pg_instance_new(c->settings, d, bin, ret_instance, err);
}

static void check_server(struct check *c, struct dynamic *d)
{
    AUTO(pg_instance) struct pg_instance *instance = NULL;
    struct promise_answer a = {0};

    if (!find_instance(c, d, &instance, &a.err)) {
        check_warn(c, "synchronous_mode", "what users have set inside PostgreSQL is not known: %s", a.err.text);
        return;
    }
    struct sql_target target = pg_instance_local(instance, NULL);
    struct sql *asking = breach_ask(c->loop, &target, ASK_MS, on_answer, &a);
    msec deadline_ms = loop_clock_ms() + 2 * ASK_MS; /* it has a budget of its own, well below */
    while (!a.done && loop_clock_ms() < deadline_ms)
        loop_turn(c->loop, 100);
    if (!a.done)
        sql_free(asking);
    if (a.answered)
        tell_found(c, &a.found);
    else
        check_warn(c, "synchronous_mode", "what users have set inside PostgreSQL is not known: %s",
                   a.done ? a.err.text : "no answer");
}

void check_promise(struct check *c)
{
    struct dynamic *d = c->in_force ? c->in_force : c->dynamic;

    if (!d || d->synchronous_mode == SYNC_MODE_OFF)
        return;
    check_parameters(c, d);
    if (check_postmaster(c))
        check_server(c, d);
}
