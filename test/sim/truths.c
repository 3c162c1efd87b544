#include "test/sim/truths.h"

#include "base/check.h"
#include "base/str.h"

static const struct {
    const char *name, *text;
} all[] = {
#define TRUTH(name, text) {#name, text},
#include "test/sim/hazards.def"
#include "test/sim/truths.def"
#undef TRUTH
};

static bool off[TRUTH_COUNT] = {[TRUTH_NAMES_MISSED_AT_START] = true};

bool truth(enum truth t)
{
    return !off[t];
}

void truth_set(enum truth t, bool in_force)
{
    CHECK(t < TRUTH_COUNT);
    off[t] = !in_force;
}

const char *truth_name(enum truth t)
{
    CHECK(t < TRUTH_COUNT);
    return all[t].name;
}

const char *truth_text(enum truth t)
{
    CHECK(t < TRUTH_COUNT);
    return all[t].text;
}

bool truth_find(const char *name, enum truth *ret_truth)
{
    for (int i = 0; i < TRUTH_COUNT; i++) {
        if (!str_eq(all[i].name, name))
            continue;
        *ret_truth = (enum truth)i;
        return true;
    }
    return false;
}
