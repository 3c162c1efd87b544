#include "wire/when.h"

#include <ctype.h>

/* Two or four digits. */
static bool digits(const char **at, int count, int *ret_value)
{
    int value = 0;

    for (int i = 0; i < count; i++) {
        if (!isdigit((unsigned char)(*at)[i]))
            return false;
        value = value * 10 + ((*at)[i] - '0');
    }
    *at += count;
    *ret_value = value;
    return true;
}

static bool literal(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = y / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "Z", "+02", "+0200", "+02:00" → minutes east. */
static bool zone_parse(const char *at, int *ret_minutes)
{
    int hours = 0;
    int minutes = 0;

    if ((*at == 'Z' || *at == 'z') && !at[1]) {
        *ret_minutes = 0;
        return true;
    }
    int sign = *at == '-' ? -1 : *at == '+' ? 1 : 0;
    at++;
    if (!sign || !digits(&at, 2, &hours))
        return false;
    (void)literal(&at, ':'); /* optional */
    if (*at && !digits(&at, 2, &minutes))
        return false;
    if (*at || hours > 15 || minutes > 59)
        return false;
    *ret_minutes = sign * (hours * 60 + minutes);
    return true;
}

bool when_parse(const char *at, int64_t *ret_epoch_ms)
{
    int year, month, day, hour, minute, second = 0, milli = 0, zone;

    if (!digits(&at, 4, &year) || !literal(&at, '-') || !digits(&at, 2, &month) || !literal(&at, '-') ||
        !digits(&at, 2, &day) || !(literal(&at, 'T') || literal(&at, ' ')) || !digits(&at, 2, &hour) ||
        !literal(&at, ':') || !digits(&at, 2, &minute))
        return false;
    if (literal(&at, ':')) {
        if (!digits(&at, 2, &second))
            return false;
        if (literal(&at, '.')) {
            for (int scale = 100; isdigit((unsigned char)*at); at++, scale /= 10)
                milli += (*at - '0') * scale;
        }
    }
    (void)literal(&at, ' '); /* some write a blank before the zone */
    if (!zone_parse(at, &zone) || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
        second > 60)
        return false;

    int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone * 60;
    *ret_epoch_ms = seconds * 1000 + milli;
    return true;
}
