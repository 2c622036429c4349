/* tests/datasets/temp_data.h - a folder that a test fills with small files and opens as a data set.
 *
 * begin() and end() stand at the ends of each test: end() removes the folder and all in it. */
#ifndef LMB_TESTS_DATASETS_TEMP_DATA_H
#define LMB_TESTS_DATASETS_TEMP_DATA_H

#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "datasets/dataset.h"
#include "tests/check_main.h"

static lmb_error err;
static char dir[64];

static inline void begin(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    snprintf(dir, sizeof dir, "/tmp/lmb_datasets_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static inline void check_hashes(const lmb_dataset *a, const lmb_dataset *b, bool equal)
{
    lmb_hash x = a->hash(a), y = b->hash(b);
    ck_assert(equal == (memcmp(&x, &y, sizeof x) == 0));
    x = a->hash(a); /* the second time it is the same */
    ck_assert(equal == (memcmp(&x, &y, sizeof x) == 0));
}

static inline int remove_one(const char *path, const struct stat *s, int kind, struct FTW *f)
{
    (void)s, (void)kind, (void)f;
    return remove(path);
}

static inline void end(void) { nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static inline const char *in_dir(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* Write a file, with the folders on the way. */
static inline void put(const char *name, const void *bytes, size_t n)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s", in_dir(name));
    *strrchr(folder, '/') = '\0';
    ck_ok(lmb_file_make_dirs(folder, &err));
    ck_ok(lmb_file_write(in_dir(name), bytes, n, &err));
}

/* Open the data set that `yaml` describes; every %s in it is the folder. */
static inline lmb_status open_from(const char *yaml, lmb_part part, lmb_dataset **d)
{
    lmb_config *c;
    char text[600];
    err = (lmb_error)LMB_ERROR_INIT;
    snprintf(text, sizeof text, yaml, dir, dir);
    ck_ok(lmb_config_parse(text, strlen(text), "data.yaml", &c, &err));
    lmb_status st = lmb_dataset_open(lmb_config_root(c), part, d, &err);
    lmb_config_destroy(c);
    return st;
}

/* Opening must fail with `status` and a sentence that has `says` in it. */
static inline void refused(const char *yaml, lmb_part part, lmb_status status, const char *says)
{
    lmb_dataset *d;
    lmb_status st = open_from(yaml, part, &d);
    ck_assert_msg(st == status, "%s instead of %s: %s", lmb_status_name(st), lmb_status_name(status), err.msg);
    ck_assert_msg(strstr(err.msg, says) != NULL, "'%s' is not in: %s", says, err.msg);
    err = (lmb_error)LMB_ERROR_INIT;
}

#endif
