/* Mirrors core/edge/time/energy.c: counters are added up over packages, come round, and where there is nothing to
 * read it says so. The folder is made here, as Linux' powercap.rst describes it. */
#include "core/edge/time/energy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "tests/check_main.h"
#include "tests/temp_dir.h"

static lmb_error err;
static char root[200], why[LMB_ENERGY_PATH + 80];
static lmb_energy e;

static void put(const char *zone, const char *file, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", root, zone);
    ck_ok(lmb_file_make_dirs(path, &err));
    snprintf(path, sizeof path, "%s/%s/%s", root, zone, file);
    FILE *f = fopen(path, "w");
    ck_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void zone(const char *name, const char *called, const char *at, const char *range)
{
    put(name, "name", called);
    put(name, "energy_uj", at);
    put(name, "max_energy_range_uj", range);
}

START_TEST(packages_are_added_up_and_come_round)
{
    double used;

    temp_make(root, sizeof root);
    zone("intel-rapl:0", "package-0\n", "1000\n", "2000\n");
    zone("intel-rapl:1", "package-1\n", "50\n", "2000\n");
    zone("intel-rapl:0:0", "core\n", "7\n", "2000\n");  /* a part of package 0 */
    zone("intel-rapl:2", "psys\n", "7\n", "2000\n");    /* the whole machine: counts the packages again */
    zone("intel-rapl-mmio:0", "package-0\n", "7\n", "9\n"); /* the same package by another way */
    ck_assert_msg(lmb_energy_open(root, &e, why, sizeof why), "%s", why);
    ck_assert_int_eq(e.n, 2);
    ck_assert(lmb_energy_read(&e, &used) && used == 0);
    put("intel-rapl:0", "energy_uj", "1400\n");
    put("intel-rapl:1", "energy_uj", "60\n");
    ck_assert(lmb_energy_read(&e, &used) && used == 410);
    put("intel-rapl:0", "energy_uj", "100\n"); /* 1400 to 2000, and 100 */
    ck_assert(lmb_energy_read(&e, &used) && used == 1110);
    put("intel-rapl:1", "energy_uj", "\n");
    ck_assert(!lmb_energy_read(&e, &used));
    temp_remove(root);
}
END_TEST

START_TEST(it_says_why_not)
{
    char none[300];

    temp_make(root, sizeof root);
    snprintf(none, sizeof none, "%s/powercap", root);
    ck_assert(!lmb_energy_open(none, &e, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "there is no "));
    ck_assert(!lmb_energy_open(root, &e, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "has no counter"));
    put("intel-rapl:0", "name", "package-0\n");
    ck_assert(!lmb_energy_open(root, &e, why, sizeof why));
    ck_assert_msg(strstr(why, "intel-rapl:0/energy_uj can not be read (No such file"), "%s", why);
    if (geteuid() != 0) {
        zone("intel-rapl:0", "package-0\n", "1\n", "2\n");
        snprintf(none, sizeof none, "%s/intel-rapl:0/energy_uj", root);
        ck_assert_int_eq(chmod(none, 0), 0);
        ck_assert(!lmb_energy_open(root, &e, why, sizeof why));
        ck_assert_ptr_nonnull(strstr(why, "only root may"));
    }
    temp_remove(root);
}
END_TEST

LMB_TEST_MAIN("core/edge/energy", add(packages_are_added_up_and_come_round); add(it_says_why_not);)
