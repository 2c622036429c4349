/* tests/temp_dir.h - a fresh folder for one test, and its removal. */
#ifndef LMB_TESTS_TEMP_DIR_H
#define LMB_TESTS_TEMP_DIR_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int temp_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

/* `dir` becomes /tmp/limbeck-XXXXXX (or under TMPDIR). */
static inline void temp_make(char *dir, size_t cap)
{
    const char *base = getenv("TMPDIR");
    snprintf(dir, cap, "%s/limbeck-XXXXXX", base && *base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static inline void temp_remove(const char *dir) { nftw(dir, temp_remove_one, 16, FTW_DEPTH | FTW_PHYS); }

#endif
