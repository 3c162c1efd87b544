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

static bool changes(const struct record_key *r)
{
    return r->joining && !MUTANT(JOINT_IGNORED);
}

bool cohort_counts(const struct record_key *r, const char *name, uint64_t incarnation)
{
    return cohort_has(&r->open, name, incarnation) || (changes(r) && cohort_has(&r->joint, name, incarnation));
}

size_t cohort_counted(const struct record_key *r)
{
    size_t count = r->open.count;

    for (size_t i = 0; changes(r) && i < r->joint.count; i++)
        count += !cohort_has(&r->open, r->joint.at[i].name, r->joint.at[i].incarnation);
    return count;
}

static bool somebody(const struct record_cohort *c)
{
    return c->count && c->k > 0 && (size_t)c->k <= c->count;
}

static int smaller(int a, int b)
{
    return (a < b) == !MUTANT(JOINT_APART) ? a : b;
}

size_t cohort_settling(const struct record_key *r)
{
    if (!somebody(&r->open) || (changes(r) && !somebody(&r->joint)))
        return SIZE_MAX;
    size_t count = cohort_counted(r);
    size_t k = (size_t)(changes(r) ? smaller(r->open.k, r->joint.k) : r->open.k);
    return count - k + (MUTANT(COVER_ONE_LESS) && k < count ? 0 : 1);
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
