/* core/store/store.c - what all store formats share: names, gathering items, finding them again. See store.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/store/format.h"

enum { MAX_NAME = 200, MAX_ITEMS = 1 << 20 };

/* ---- items ------------------------------------------------------------------------------------- */

static bool good_part(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            return false;
    return n > 0 && !(n == 1 && p[0] == '.') && !(n == 2 && p[0] == '.' && p[1] == '.');
}

static lmb_status check_name(const char *name, lmb_error *err)
{
    bool good = strnlen(name, MAX_NAME + 1) <= MAX_NAME && strncmp(name, "limbeck.", 8) != 0;

    for (const char *p = name, *slash; good && p; p = slash ? slash + 1 : NULL) {
        slash = strchr(p, '/');
        good = good_part(p, slash ? (size_t)(slash - p) : strlen(p));
    }
    if (!good)
        return LMB_FAIL(err, LMB_E_ARG, "'%.200s' cannot name a stored value: use 1 to %d printable bytes, parts "
                        "separated by single slashes, not beginning with 'limbeck.'", name, MAX_NAME);
    return LMB_OK;
}

lmb_status lmbi_items_add(lmbi_items *items, const lmb_store_item *item, lmb_error *err)
{
    lmb_store_item copy = *item;

    LMB_TRY(check_name(item->name, err));
    if (item->kind == LMB_STORE_TENSOR) {
        lmb_status st = lmb_shape_check(&item->shape, item->dtype, err);
        if (st != LMB_OK) {
            lmb_error_context(err, "'%s'", item->name);
            return st;
        }
    }
    if (items->n == MAX_ITEMS)
        return LMB_FAIL(err, LMB_E_ARG, "a store of more than %d values", MAX_ITEMS);
    if (items->n == items->cap) {
        size_t cap = items->cap ? items->cap * 2 : 32;
        lmb_store_item *v = realloc(items->v, cap * sizeof *v);
        if (!v)
            return LMB_FAIL(err, LMB_E_NOMEM, "out of memory for %zu stored values", cap);
        items->v = v;
        items->cap = cap;
    }
    copy.name = strdup(item->name);
    copy.text = item->kind == LMB_STORE_TEXT ? strdup(item->text) : NULL;
    if (!copy.name || (item->kind == LMB_STORE_TEXT && !copy.text)) {
        free((void *)copy.name);
        free((void *)copy.text);
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory for '%s'", item->name);
    }
    items->v[items->n++] = copy;
    return LMB_OK;
}

void lmbi_items_free(lmbi_items *items)
{
    for (size_t i = 0; i < items->n; i++) {
        free((void *)items->v[i].name);
        free((void *)items->v[i].text);
    }
    free(items->v);
    memset(items, 0, sizeof *items);
}

/* A slash sorts before every other byte, so that a folder is followed by what is in it. */
static int compare_names(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    if (*a == *b)
        return 0;
    if (!*a || !*b)
        return *a ? 1 : -1;
    if (*a == '/' || *b == '/')
        return *a == '/' ? -1 : 1;
    return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

static int by_name(const void *a, const void *b)
{
    const lmb_store_item *const *x = a, *const *y = b;
    return compare_names((*x)->name, (*y)->name);
}

lmb_status lmbi_items_sort(const lmbi_items *items, const lmb_store_item ***sorted, lmb_error *err)
{
    const lmb_store_item **v = malloc((items->n + 1) * sizeof *v);

    if (!v)
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory for %zu stored values", items->n);
    for (size_t i = 0; i < items->n; i++)
        v[i] = &items->v[i];
    qsort(v, items->n, sizeof *v, by_name);
    for (size_t i = 1; i < items->n; i++) {
        const char *a = v[i - 1]->name, *b = v[i]->name;
        size_t n = strlen(a);
        if (strncmp(a, b, n) != 0 || (b[n] && b[n] != '/'))
            continue;
        LMB_FAIL(err, LMB_E_ARG, b[n] ? "'%s' names both a stored value and the folder of '%s'"
                                      : "the name '%s' is used for two stored values", a, b);
        free(v);
        return LMB_E_ARG;
    }
    *sorted = v;
    return LMB_OK;
}

lmb_status lmbi_as_format(lmb_status st, lmb_error *err)
{
    if (st != LMB_E_ARG && st != LMB_E_SHAPE)
        return st;
    if (err && err->status == st)
        err->status = LMB_E_FORMAT;
    return LMB_E_FORMAT;
}

/* ---- writer ------------------------------------------------------------------------------------ */

lmb_status lmbi_store_writer_new(const lmb_store_format *format, const char *path, lmb_store_writer **out,
                                 lmb_error *err)
{
    lmb_store_writer *w = calloc(1, sizeof *w);

    if (w)
        w->path = path ? strdup(path) : NULL;
    if (!w || (path && !w->path)) {
        free(w);
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory for a store");
    }
    w->format = format;
    *out = w;
    return LMB_OK;
}

void lmb_store_writer_destroy(lmb_store_writer *w)
{
    if (!w)
        return;
    lmbi_items_free(&w->items);
    free(w->path);
    free(w);
}

lmb_status lmb_store_put_tensor(lmb_store_writer *w, const char *name, lmb_dtype dtype, const lmb_shape *shape,
                                const void *data, lmb_error *err)
{
    lmb_store_item it = { .kind = LMB_STORE_TENSOR, .name = name, .dtype = dtype, .shape = *shape, .data = data };
    return lmbi_items_add(&w->items, &it, err);
}

lmb_status lmb_store_put_text(lmb_store_writer *w, const char *name, const char *text, lmb_error *err)
{
    lmb_store_item it = { .kind = LMB_STORE_TEXT, .name = name, .text = text };
    return lmbi_items_add(&w->items, &it, err);
}

lmb_status lmb_store_put_int(lmb_store_writer *w, const char *name, int64_t v, lmb_error *err)
{
    lmb_store_item it = { .kind = LMB_STORE_INT, .name = name, .integer = v };
    return lmbi_items_add(&w->items, &it, err);
}

lmb_status lmb_store_put_real(lmb_store_writer *w, const char *name, double v, lmb_error *err)
{
    lmb_store_item it = { .kind = LMB_STORE_REAL, .name = name, .real = v };
    return lmbi_items_add(&w->items, &it, err);
}

/* ---- reader ------------------------------------------------------------------------------------ */

struct lmb_store {
    const lmb_store_format *format;
    void *state;
    lmbi_items items;
    const lmb_store_item **sorted;
};

lmb_status lmbi_store_new(const lmb_store_format *format, lmbi_items *items, void *state, lmb_store **out,
                          lmb_error *err)
{
    lmb_store *s = calloc(1, sizeof *s);
    lmb_status st = s ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "out of memory for a store");

    if (st == LMB_OK)
        st = lmbi_as_format(lmbi_items_sort(items, &s->sorted, err), err);
    if (st != LMB_OK) {
        free(s);
        lmbi_items_free(items);
        format->close(state);
        return st;
    }
    s->format = format;
    s->state = state;
    s->items = *items;
    *out = s;
    return LMB_OK;
}

void lmb_store_close(lmb_store *s)
{
    if (!s)
        return;
    s->format->close(s->state);
    lmbi_items_free(&s->items);
    free(s->sorted);
    free(s);
}

size_t lmb_store_count(const lmb_store *s) { return s->items.n; }

const lmb_store_item *lmb_store_at(const lmb_store *s, size_t i) { return &s->items.v[i]; }

const lmb_store_item *lmb_store_find(const lmb_store *s, const char *name)
{
    size_t lo = 0, hi = s->items.n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int d = compare_names(name, s->sorted[mid]->name);
        if (d == 0)
            return s->sorted[mid];
        if (d < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static lmb_status find_kind(const lmb_store *s, const char *name, lmb_store_kind kind, const lmb_store_item **out,
                            lmb_error *err)
{
    static const char *const kinds[] = { "?", "a tensor", "a text", "an integer", "a real number" };
    const lmb_store_item *it = lmb_store_find(s, name);

    if (!it)
        return LMB_FAIL(err, LMB_E_FORMAT, "'%.200s', %s, is not stored here", name, kinds[kind]);
    if (it->kind != kind)
        return LMB_FAIL(err, LMB_E_FORMAT, "'%s' is stored as %s, not as %s", name, kinds[it->kind], kinds[kind]);
    *out = it;
    return LMB_OK;
}

lmb_status lmb_store_get_tensor(const lmb_store *s, const char *name, lmb_dtype dtype, const lmb_shape *shape,
                                void *data, lmb_error *err)
{
    const lmb_store_item *it = NULL;
    size_t n = lmb_shape_bytes(shape, dtype);

    LMB_TRY(find_kind(s, name, LMB_STORE_TENSOR, &it, err));
    if (it->dtype != dtype || !lmb_shape_equal(&it->shape, shape)) {
        char have[LMB_SHAPE_TEXT], want[LMB_SHAPE_TEXT];
        return LMB_FAIL(err, LMB_E_SHAPE, "'%s' is stored as %s %s, but %s %s is wanted", name,
                        lmb_dtype_name(it->dtype), lmb_shape_text(&it->shape, have, sizeof have),
                        lmb_dtype_name(dtype), lmb_shape_text(shape, want, sizeof want));
    }
    if (n == 0)
        return LMB_OK;
    if (!it->data)
        return s->format->fetch(s->state, it, data, err);
    memcpy(data, it->data, n);
    return LMB_OK;
}

lmb_status lmb_store_get_text(const lmb_store *s, const char *name, const char **out, lmb_error *err)
{
    const lmb_store_item *it = NULL;
    LMB_TRY(find_kind(s, name, LMB_STORE_TEXT, &it, err));
    *out = it->text;
    return LMB_OK;
}

lmb_status lmb_store_get_int(const lmb_store *s, const char *name, int64_t *out, lmb_error *err)
{
    const lmb_store_item *it = NULL;
    LMB_TRY(find_kind(s, name, LMB_STORE_INT, &it, err));
    *out = it->integer;
    return LMB_OK;
}

lmb_status lmb_store_get_real(const lmb_store *s, const char *name, double *out, lmb_error *err)
{
    const lmb_store_item *it = NULL;
    LMB_TRY(find_kind(s, name, LMB_STORE_REAL, &it, err));
    *out = it->real;
    return LMB_OK;
}
