/* federated/local_time.c - see local_time.h. */
#include "federated/local_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/scan.h"

enum { DAY = 86400, HEADER = 44, FILE_MAX = 1 << 20, FEW = 1 << 16 };

/* ---- days ---- */

/* Days from 1970-01-01 to a day of the proleptic Gregorian calendar; years begin in March, so that February is last. */
static int64_t day_number(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
static int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }

static int64_t year_of(int64_t day)
{
    int64_t year = 1970 + floor_div(day, 366); /* too early by a day in each year but leap years */
    if (day < 0)
        year = 1970 + floor_div(day, 365);
    while (day_number(year + 1, 1, 1) <= day)
        year++;
    while (day_number(year, 1, 1) > day)
        year--;
    return year;
}

/* ---- rules ---- */

/* hh[:mm[:ss]] with or without a sign, in seconds; at most a week (RFC 8536 §3.3.1). */
static bool read_time(const char **at, int64_t *out)
{
    int64_t sign = lmb_scan_char(at, '-') ? -1 : 1;
    uint64_t part;

    if (sign > 0)
        (void)lmb_scan_char(at, '+');
    *out = 0;
    for (int64_t unit = 3600; unit >= 1; unit /= 60) {
        if (!lmb_scan_count(at, 3, &part) || part > (unit == 3600 ? 167 : 59))
            return false;
        *out += sign * unit * (int64_t)part;
        if (unit > 1 && !lmb_scan_char(at, ':'))
            break;
    }
    return true;
}

static bool skip_name(const char **at)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *p = *at;

    if (*p == '<') {
        p = strchr(p, '>');
        if (!p)
            return false;
        *at = p + 1;
        return true;
    }
    *at += strspn(p, letters);
    return *at - p >= 3;
}

/* Jn, n or Mm.w.d, then perhaps a time: seconds from the beginning of 1970 by the clock on the wall. */
static bool read_date(const char **at, int64_t year, int64_t *out)
{
    uint64_t month, week, day;
    int64_t first = day_number(year, 1, 1), time = 7200;

    if (lmb_scan_char(at, 'M')) {
        if (!lmb_scan_count(at, 2, &month) || !lmb_scan_char(at, '.') || !lmb_scan_count(at, 1, &week) ||
            !lmb_scan_char(at, '.') || !lmb_scan_count(at, 1, &day) || month < 1 || month > 12 || week < 1 ||
            week > 5 || day > 6)
            return false;
        first = day_number(year, (int64_t)month, 1);
        int64_t next = month < 12 ? day_number(year, (int64_t)month + 1, 1) : day_number(year + 1, 1, 1);
        first += floor_mod((int64_t)day - (first + 4), 7) + 7 * ((int64_t)week - 1); /* 1970 began on a Thursday */
        first -= first >= next ? 7 : 0;                                              /* the fifth is the last   */
    } else {
        bool julian = lmb_scan_char(at, 'J'); /* from 1, and never the 29th of February */
        if (!lmb_scan_count(at, 3, &day) || day > 365 || (julian && day < 1))
            return false;
        bool leap = day_number(year, 3, 1) - first == 60;
        first += (int64_t)day - (julian && !(leap && day >= 60));
    }
    if (lmb_scan_char(at, '/') && !read_time(at, &time))
        return false;
    *out = first * DAY + time;
    return true;
}

bool lmbi_offset_by_rule(const char *rule, int64_t now, int64_t *offset)
{
    int64_t winter, summer, from, to;

    if (!skip_name(&rule) || !read_time(&rule, &winter))
        return false;
    *offset = winter = -winter; /* written as what is missing to UTC */
    if (!*rule)
        return true;
    summer = winter + 3600;
    if (!skip_name(&rule))
        return false;
    if (*rule && *rule != ',') {
        if (!read_time(&rule, &summer))
            return false;
        summer = -summer;
    }
    if (!*rule)
        rule = ",M3.2.0,M11.1.0";
    int64_t year = year_of(floor_div(now + winter, DAY));
    if (!lmb_scan_char(&rule, ',') || !read_date(&rule, year, &from) || !lmb_scan_char(&rule, ',') ||
        !read_date(&rule, year, &to) || *rule)
        return false;
    from -= winter;
    to -= summer;
    if (from < to ? now >= from && now < to : now >= from || now < to)
        *offset = summer;
    return true;
}

/* ---- files ---- */

static int64_t number(const uint8_t *p, int bytes)
{
    uint64_t v = p[0] & 0x80 ? UINT64_MAX : 0;
    for (int i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

/* A block of a TZif file: how often time changed, and to what. */
typedef struct block {
    int64_t times, types, wide; /* wide: bytes of a time */
    const uint8_t *time, *type, *kind, *end;
} block;

static bool read_block(const uint8_t *p, const uint8_t *end, int64_t wide, block *b)
{
    int64_t count[6]; /* of UTC marks, standard marks, leap seconds, times, types, letters */

    if (end - p < HEADER || memcmp(p, "TZif", 4) != 0)
        return false;
    for (int i = 0; i < 6; i++) {
        count[i] = number(p + 20 + 4 * i, 4);
        if (count[i] < 0 || count[i] > FEW)
            return false;
    }
    *b = (block){ .times = count[3], .types = count[4], .wide = wide, .time = p + HEADER };
    int64_t bytes =
        HEADER + count[3] * (wide + 1) + count[4] * 6 + count[5] + count[2] * (wide + 4) + count[1] + count[0];
    if (end - p < bytes || count[4] < 1)
        return false;
    b->type = b->time + b->times * wide;
    b->kind = b->type + b->times;
    b->end = p + bytes;
    for (int64_t i = 0; i < b->times; i++)
        if (b->type[i] >= b->types)
            return false;
    return true;
}

bool lmbi_offset_by_file(const uint8_t *file, size_t n, int64_t now, int64_t *offset)
{
    const uint8_t *end = file + n;
    char rule[128];
    block b;

    if (!read_block(file, end, 4, &b))
        return false;
    bool late = file[4] >= '2';
    if (late && !read_block(b.end, end, 8, &b)) /* the same once more in 64 bits */
        return false;
    int64_t past = 0; /* changes before now */
    while (past < b.times && number(b.time + past * b.wide, (int)b.wide) <= now)
        past++;
    *offset = number(b.kind + 6 * (past ? b.type[past - 1] : 0), 4);
    if (past < b.times || !late || b.end == end || *b.end != '\n')
        return true;
    const uint8_t *from = b.end + 1,
                  *to = memchr(from, '\n', (size_t)(end - from)); /* after the last change a rule holds */
    if (!to || to == from || (size_t)(to - from) >= sizeof rule)
        return true;
    memcpy(rule, from, (size_t)(to - from));
    rule[to - from] = 0;
    return lmbi_offset_by_rule(rule, now, offset);
}

static bool offset_of(const char *path, int64_t now, int64_t *offset)
{
    lmb_error ignored = LMB_ERROR_INIT;
    void *file;
    size_t n;

    if (lmb_file_read(path, FILE_MAX, &file, &n, &ignored) != LMB_OK)
        return false;
    bool good = lmbi_offset_by_file(file, n, now, offset);
    free(file);
    return good;
}

int lmbi_local_minute(int64_t now)
{
    const char *zone = getenv("TZ");
    int64_t offset = 0;
    char path[512];

    if (zone)
        zone += *zone == ':';
    if (!zone || *zone == '/')
        snprintf(path, sizeof path, "%s", zone ? zone : "/etc/localtime");
    else
        snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", zone);
    if ((zone && !*zone) || (!offset_of(path, now, &offset) && !(zone && lmbi_offset_by_rule(zone, now, &offset))))
        offset = 0;
    return (int)(floor_mod(now + offset, DAY) / 60);
}
