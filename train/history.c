/* train/history.c - see history.h. */
#include "train/history.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"

static void field(lmb_str *s, const char *key, double v)
{
    lmb_str_addf(s, ", \"%s\": ", key);
    lmb_str_add_number(s, v);
}

lmb_status lmb_history_add(const char *path, const lmb_epoch *e, lmb_error *err)
{
    lmb_str s = LMB_STR_INIT;

    lmb_str_addf(&s, "{\"epoch\": %lld", (long long)e->epoch);
    field(&s, "loss", e->loss);
    field(&s, "accuracy", e->accuracy);
    field(&s, "valid_loss", e->valid_accuracy < 0 ? NAN : e->valid_loss);
    field(&s, "valid_accuracy", e->valid_accuracy < 0 ? NAN : e->valid_accuracy);
    field(&s, "lr", e->lr);
    field(&s, "seconds", e->seconds);
    field(&s, "images_per_second", e->images_per_second);
    field(&s, "waited", e->waited);
    if (e->steps) {
        lmb_str_add(&s, ", \"steps\": ");
        lmb_str_add_json(&s, e->steps);
    }
    lmb_str_add(&s, "}\n");
    lmb_status st = lmb_str_check(&s, err);
    if (st == LMB_OK)
        st = lmb_file_append(path, s.text, s.n, err);
    lmb_str_free(&s);
    return st;
}

/* The line is whole and one of ours, of an epoch (or round) before n. A crash may have torn the last one. */
static bool stays(const char *line, size_t bytes, const char *key, int64_t n)
{
    char begin[32];
    size_t first = (size_t)snprintf(begin, sizeof begin, "{\"%.20s\": ", key), at = first;
    int64_t number = 0;

    if (bytes <= at || memcmp(line, begin, at) != 0)
        return false;
    for (; at < bytes && line[at] >= '0' && line[at] <= '9' && number < n; at++)
        number = number * 10 + (line[at] - '0');
    return at > first && at < bytes && line[at] == ',' && number < n;
}

lmb_status lmb_history_cut(const char *path, const char *key, int64_t n, lmb_error *err)
{
    size_t bytes, keep = 0;
    const char *end;
    void *text;

    if (!lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, (size_t)1 << 28, &text, &bytes, err));
    const char *lines = text;
    while (keep < bytes && (end = memchr(lines + keep, '\n', bytes - keep)) &&
           stays(lines + keep, (size_t)(end - lines) - keep, key, n))
        keep = (size_t)(end - lines) + 1;
    lmb_status st = keep == bytes ? LMB_OK : lmb_file_write(path, text, keep, err);
    free(text);
    return st;
}
