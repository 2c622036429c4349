/* launch/inspect_store.c - into a checkpoint or another store: where the training stands, and every tensor with its
 * range. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/store/store.h"
#include "launch/inspect.h"

static bool is_store(const char *path, const unsigned char *head, size_t n)
{
    (void)head, (void)n;
    return lmb_store_is(path);
}

/* Smallest, largest, norm; numbers that are not finite are counted apart. */
static lmb_status print_range(const lmb_store *s, const lmb_store_item *it, lmb_error *err)
{
    size_t n = (size_t)lmb_shape_count(&it->shape), bad = 0;
    double lo = INFINITY, hi = -INFINITY, sum = 0;
    float *v;

    if (it->dtype != LMB_F32)
        return LMB_OK;
    v = malloc(sizeof *v * (n + 1));
    if (!v)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %s", it->name);
    lmb_status st = lmb_store_get_tensor(s, it->name, LMB_F32, &it->shape, v, err);
    for (size_t i = 0; i < n && st == LMB_OK; i++) {
        if (!isfinite(v[i])) {
            bad++;
            continue;
        }
        lo = fmin(lo, v[i]);
        hi = fmax(hi, v[i]);
        sum += (double)v[i] * v[i];
    }
    if (st == LMB_OK && n > bad)
        printf("  %.4g to %.4g, norm %.4g", lo, hi, sqrt(sum));
    if (bad)
        printf("  %zu NOT FINITE", bad);
    free(v);
    return st;
}

/* The first line of a text, and how many follow. */
static void print_text(const char *text)
{
    int lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    printf("%.*s", (int)strcspn(text, "\n"), text);
    if (lines > 1)
        printf(" ... (%d lines; --texts shows all)", lines);
}

static lmb_status print(const char *path, const lmb_args *a, lmb_error *err)
{
    bool texts = lmb_args_get(a, "texts", NULL) != NULL;
    lmb_store *s = NULL;
    size_t numbers = 0;
    lmb_status st = LMB_OK;
    char shape[LMB_SHAPE_TEXT];

    LMB_TRY(lmb_store_open(path, &s, err));
    printf("%s: a store of %zu values\n", path, lmb_store_count(s));
    for (size_t i = 0; i < lmb_store_count(s) && st == LMB_OK; i++) {
        const lmb_store_item *it = lmb_store_at(s, i);
        printf("  %-28s ", it->name);
        switch (it->kind) {
        case LMB_STORE_INT: printf("%lld", (long long)it->integer); break;
        case LMB_STORE_REAL: printf("%.9g", it->real); break;
        case LMB_STORE_TEXT:
            if (texts)
                printf("\n%s", it->text);
            else
                print_text(it->text);
            break;
        case LMB_STORE_TENSOR:
            printf("%s %s", lmb_dtype_name(it->dtype), lmb_shape_text(&it->shape, shape, sizeof shape));
            numbers += (size_t)lmb_shape_count(&it->shape);
            st = print_range(s, it, err);
            break;
        }
        printf("\n");
    }
    if (st == LMB_OK)
        printf("%zu numbers in tensors\n", numbers);
    lmb_store_close(s);
    return st;
}

const lmb_inspector lmbi_inspect_store = { "store", is_store, print };
