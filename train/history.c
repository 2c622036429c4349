/* train/history.c - see history.h. */
#include "train/history.h"

#include <math.h>
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
    lmb_str_add(&s, "}\n");
    lmb_status st = lmb_str_check(&s, err);
    if (st == LMB_OK)
        st = lmb_file_append(path, s.text, s.n, err);
    lmb_str_free(&s);
    return st;
}

lmb_status lmb_history_cut(const char *path, int64_t n, lmb_error *err)
{
    void *text;
    size_t bytes, keep = 0;

    if (!lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, (size_t)1 << 28, &text, &bytes, err));
    for (int64_t line = 0; line < n && keep < bytes; line++) {
        const char *end = memchr((char *)text + keep, '\n', bytes - keep);
        if (!end)
            break;
        keep = (size_t)(end - (char *)text) + 1;
    }
    lmb_status st = keep == bytes ? LMB_OK : lmb_file_write(path, text, keep, err);
    free(text);
    return st;
}
