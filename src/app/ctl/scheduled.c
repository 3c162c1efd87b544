#include "app/ctl/scheduled.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/str.h"

struct moment {
    int year, month, day, hour, minute, second, micros;
    bool has_offset;
    int offset_s;
};

/* Exactly `digits` digits. */
static bool take_digits(const char **at, int digits, int *ret)
{
    int value = 0;

    for (int i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)(*at)[i]))
            return false;
        value = value * 10 + ((*at)[i] - '0');
    }
    *at += digits;
    *ret = value;
    return true;
}

static bool take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

/* "2026-11-24" or "20261124" */
static bool take_date(const char **at, struct moment *m)
{
    const char *try = *at;

    if (!take_digits(&try, 4, &m->year))
        return false;
    bool dashes = take_char(&try, '-');
    if (!take_digits(&try, 2, &m->month) || (dashes && !take_char(&try, '-')) || !take_digits(&try, 2, &m->day))
        return false;
    *at = try;
    return true;
}

static void take_fraction(const char **at, struct moment *m)
{
    int scale = 100000;

    for (; isdigit((unsigned char)**at); (*at)++) {
        m->micros += (**at - '0') * scale;
        scale /= 10;
    }
}

/* "10:00", "10:00:30", "10:00:30.5", and without colons "1000", "100030". */
static bool take_time(const char **at, struct moment *m)
{
    if (!take_digits(at, 2, &m->hour))
        return false;
    bool colons = take_char(at, ':');
    if (!take_digits(at, 2, &m->minute))
        return false;
    if (colons ? take_char(at, ':') : isdigit((unsigned char)**at)) {
        if (!take_digits(at, 2, &m->second))
            return false;
        if (take_char(at, '.'))
            take_fraction(at, m);
    }
    return true;
}

/* "Z", "UTC", "+01:00", "+0100", "-3", or nothing. */
static bool take_offset(const char **at, struct moment *m)
{
    int hours = 0, minutes = 0;

    while (take_char(at, ' '))
        ;
    if (!**at)
        return true;

    m->has_offset = true;
    if (str_eq_nocase(*at, "z") || str_eq_nocase(*at, "utc") || str_eq_nocase(*at, "gmt")) {
        *at += strlen(*at);
        return true;
    }
    int sign = **at == '+' ? 1 : **at == '-' ? -1 : 0;
    if (!sign)
        return false;
    (*at)++;
    if (!take_digits(at, 2, &hours) && !take_digits(at, 1, &hours))
        return false;
    if (take_char(at, ':') || **at)
        if (!take_digits(at, 2, &minutes))
            return false;
    m->offset_s = sign * (hours * 3600 + minutes * 60);
    return hours <= 14 && minutes < 60;
}

static bool in_range(const struct moment *m)
{
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (m->year % 4 == 0 && m->year % 100 != 0) || m->year % 400 == 0;

    if (m->month < 1 || m->month > 12 || m->year < 1970)
        return false;
    if (m->day < 1 || m->day > month_days[m->month - 1] || (m->month == 2 && m->day == 29 && !leap))
        return false;
    return m->hour < 24 && m->minute < 60 && m->second < 60;
}

static bool parse_moment(const char *text, int64_t now_ms, struct moment *m)
{
    if (take_date(&text, m)) {
        bool has_time = take_char(&text, 'T') || take_char(&text, ' ');
        if (has_time ? !take_time(&text, m) : *text != '\0')
            return false;
    } else {
        struct tm today;
        time_t now = (time_t)(now_ms / 1000);
        if (!localtime_r(&now, &today) || !take_time(&text, m))
            return false;
        m->year = today.tm_year + 1900;
        m->month = today.tm_mon + 1;
        m->day = today.tm_mday;
    }
    return take_offset(&text, m) && !*text && in_range(m);
}

static void write_iso(const struct moment *m, struct scheduled *to)
{
    char fraction[16] = "";
    int minutes = (m->offset_s < 0 ? -m->offset_s : m->offset_s) / 60;

    if (m->micros)
        (void)snprintf(fraction, sizeof(fraction), ".%06u", (unsigned int)m->micros % 1000000);
    (void)snprintf(to->iso, sizeof(to->iso), "%04d-%02d-%02dT%02d:%02d:%02d%s%c%02d:%02d", m->year, m->month, m->day,
                   m->hour, m->minute, m->second, fraction, m->offset_s < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

enum scheduled_result scheduled_parse(const char *text, int64_t now_ms, struct scheduled *ret)
{
    struct moment m = {0};

    if (str_empty(text) || str_eq(text, "now"))
        return SCHEDULED_NOW;
    if (!parse_moment(text, now_ms, &m))
        return SCHEDULED_BAD;

    struct tm tm = {.tm_year = m.year - 1900,
                    .tm_mon = m.month - 1,
                    .tm_mday = m.day,
                    .tm_hour = m.hour,
                    .tm_min = m.minute,
                    .tm_sec = m.second,
                    .tm_isdst = -1};
    time_t epoch;
    if (m.has_offset) {
        epoch = timegm(&tm) - m.offset_s;
    } else {
        epoch = mktime(&tm); /* moves a time that daylight saving skips */
        m.hour = tm.tm_hour;
        m.minute = tm.tm_min;
        m.offset_s = (int)tm.tm_gmtoff;
    }
    ret->epoch_ms = (int64_t)epoch * 1000 + m.micros / 1000;
    write_iso(&m, ret);
    return SCHEDULED_AT;
}
