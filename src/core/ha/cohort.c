#include "core/ha/cohort.h"

#include "base/mutant.h"
#include "base/str.h"

bool cohort_has(const struct record_cohort *c, const char *name, uint64_t incarnation)
{
    for (size_t i = 0; i < c->count; i++)
        if (str_eq_nocase(c->at[i].name, name))
            return c->at[i].incarnation == incarnation || MUTANT(INCARNATION_IGNORED);
    return false;
}

bool cohort_has_name(const struct record_cohort *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (str_eq_nocase(c->at[i].name, name))
            return true;
    return false;
}

size_t cohort_settling(const struct record_cohort *c)
{
    if (!c->count || c->k <= 0 || (size_t)c->k > c->count)
        return SIZE_MAX;
    return c->count - (size_t)c->k + (MUTANT(COVER_ONE_LESS) && (size_t)c->k < c->count ? 0 : 1);
}

bool cohort_equal(const struct record_cohort *a, const struct record_cohort *b)
{
    if (a->count != b->count || a->k != b->k)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!cohort_has(b, a->at[i].name, a->at[i].incarnation))
            return false;
    return true;
}
