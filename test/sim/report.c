#include "test/sim/report.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "test/sim/points.h"
#include "test/sim/schedule.h"

void report_closing(const struct score *s, double seconds)
{
    (void)printf("%llu seeds, %llu failovers, %llu findings, %.1f seeds per second (%.1f failovers); %llu faults, "
                 "%llu reigns, %llu commits acknowledged, %llu lost, %llu excused, %.0f hours simulated\n",
                 (unsigned long long)s->seeds, (unsigned long long)s->failovers, (unsigned long long)s->findings,
                 (double)s->seeds / seconds, (double)s->failovers / seconds, (unsigned long long)s->faults,
                 (unsigned long long)s->reigns, (unsigned long long)s->acknowledged, (unsigned long long)s->lost,
                 (unsigned long long)s->excused, (double)s->simulated / 3.6e9);
}

/* Of the points whose names begin so: how many there are, were reached, were killed at. */
static void count_points(const struct score *s, const char *prefix, size_t *ret_all, size_t *ret_reached,
                         size_t *ret_killed)
{
    *ret_all = *ret_reached = *ret_killed = 0;
    for (size_t i = 0; i < points_count(); i++) {
        if (!str_starts(point_name(i), prefix))
            continue;
        (*ret_all)++;
        *ret_reached += s->points[i].reached > 0;
        *ret_killed += s->points[i].killed > 0;
    }
}

static void tell_group(const struct score *s, const char *prefix, const char *what)
{
    size_t all, reached, killed;

    count_points(s, prefix, &all, &reached, &killed);
    (void)printf("%-28s %3zu of %3zu reached, %3zu killed at\n", what, reached, all, killed);
}

int report_coverage(const struct score *s)
{
    size_t all, reached, killed;

    for (int i = 0; i < FAULT_COUNT; i++)
        (void)printf("fault %-20s %10llu\n", fault_kind_text((enum fault_kind)i), (unsigned long long)s->fault[i]);
    (void)printf("\n%-40s %12s %8s %8s %8s %8s\n", "fault point", "reached", "kill", "cut", "hang", "fail");
    for (size_t i = 0; i < points_count(); i++) {
        const struct score_point *p = &s->points[i];
        (void)printf("%-40s %12llu %8llu %8llu %8llu ", point_name(i), (unsigned long long)p->reached,
                     (unsigned long long)p->killed, (unsigned long long)p->cut, (unsigned long long)p->hung);
        if (point_can_fail(i))
            (void)printf("%8llu\n", (unsigned long long)p->failed);
        else
            (void)printf("%8s\n", "-");
    }
    (void)printf("\n");
    tell_group(s, "act.", "actions of plans");
    tell_group(s, "job.", "steps of jobs");
    tell_group(s, "", "all fault points");
    count_points(s, "", &all, &reached, &killed);
    return all ? (int)(100 * killed / all) : 0;
}
