/* Mirrors federated/local_time.c: every zone of this machine against libc. */
#include "federated/local_time.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/file.h"
#include "core/base/random.h"
#include "tests/check_main.h"

static lmb_error err;
static int zones;

static void compare(const char *zone, int64_t now)
{
    time_t t = (time_t)now;
    struct tm tm;
    ck_assert(localtime_r(&t, &tm) != NULL);
    ck_assert_msg(lmbi_local_minute(now) == 60 * tm.tm_hour + tm.tm_min, "%s at %lld: %d, libc %02d:%02d", zone,
                  (long long)now, lmbi_local_minute(now), tm.tm_hour, tm.tm_min);
}

static void compare_often(const char *zone, bool file)
{
    lmb_rand r = lmb_rand_at(7, LMB_RAND_TEST, 0, 0);
    setenv("TZ", zone, 1);
    tzset();
    for (uint32_t i = 0; i < 40; i++)
        compare(zone, (file ? -2000000000 : 0) +
                          (int64_t)(lmb_rand_uniform(&r, i) * 5e9)); /* before 1970 libc knows no rules */
    for (int64_t hour = 0; hour < 366 * 24; hour += 11)
        compare(zone, 1767225600 + hour * 3600); /* 2026 */
}

static int visit(const char *path, const struct stat *s, int kind, struct FTW *at)
{
    unsigned char magic[4] = { 0 };
    FILE *f = kind == FTW_F ? fopen(path, "rb") : NULL;
    (void)s, (void)at;
    if (f && fread(magic, 1, 4, f) == 4 && memcmp(magic, "TZif", 4) == 0 && !strstr(path, "/right/") &&
        zones++ % 10 == 0)
        compare_often(path, true);
    if (f)
        fclose(f);
    return 0;
}

START_TEST(as_libc_in_all_zones)
{
    nftw("/usr/share/zoneinfo", visit, 16, FTW_PHYS);
    unsetenv("TZ");
    tzset();
    compare("", 1700000000);
}
END_TEST

START_TEST(as_libc_by_rules)
{
    static const char *rules[] = { "CET-1CEST,M3.5.0,M10.5.0/3",
                                   "EST5EDT",
                                   "EST5EDT,M3.2.0,M11.1.0",
                                   "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
                                   "IST-5:30",
                                   "AAA-1BBB-3:15,J60/1,J300/23:30",
                                   "AAA1BBB,59/-3,299/26",
                                   "NZST-12NZDT,M9.5.0,M4.1.0/3",
                                   "UTC0",
                                   "",
                                   "<-02>2<-01>,M3.5.0/-1,M10.5.0/0" };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        compare_often(rules[i], false);
}
END_TEST

START_TEST(nonsense_is_utc)
{
    static const char *rules[] = { "x",
                                   "QQQ",
                                   "CET-1CEST,",
                                   "CET-1CEST,M3.5.0",
                                   "CET-1CEST,M13.5.0,M10.5.0",
                                   "CET-1CEST,M3.6.0,M10.5.0",
                                   "CET-1CEST,M3.5.0,M10.5.0x",
                                   "CET-1:99",
                                   "<CET-1",
                                   "CET-1CEST,J0,J1",
                                   "CET-1CEST,366,1",
                                   "../../etc/passwd" };
    int64_t offset;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        ck_assert_msg(!lmbi_offset_by_rule(rules[i], 1700000000, &offset), "%s", rules[i]);
        setenv("TZ", rules[i], 1);
        ck_assert_int_eq(lmbi_local_minute(61), 1);
    }
    unsetenv("TZ");
}
END_TEST

/* Every prefix of a real file, and every byte of its counts turned round: an answer or none, and nothing read beyond
 * the end. */
START_TEST(damaged_files)
{
    void *file;
    size_t n;
    int64_t offset;
    if (lmb_file_read("/usr/share/zoneinfo/Europe/Berlin", 1 << 20, &file, &n, &err) != LMB_OK)
        return; /* no zones here */
    ck_assert(lmbi_offset_by_file(file, n, 1700000000, &offset) && offset == 3600);
    ck_assert(lmbi_offset_by_file(file, n, 1690000000, &offset) && offset == 7200);
    for (size_t k = 0; k < n; k += k < 600 ? 1 : 13) {
        uint8_t *part = malloc(k ? k : 1);
        memcpy(part, file, k);
        (void)lmbi_offset_by_file(part, k, 4000000000, &offset);
        free(part);
    }
    for (size_t k = 0; k < n && k < 200; k++) {
        ((uint8_t *)file)[k] ^= 0xff;
        (void)lmbi_offset_by_file(file, n, 4000000000, &offset);
        ((uint8_t *)file)[k] ^= 0xff;
    }
    free(file);
}
END_TEST

LMB_TEST_MAIN("federated/local_time", add(as_libc_in_all_zones); add(as_libc_by_rules); add(nonsense_is_utc);
              add(damaged_files);)
