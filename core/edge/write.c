/* core/edge/write.c - see write.h: bytes, tensors and the heads of ops' records, kept as lmb.h has them from the start;
 * write_ops.c fills the records, write_file.c adds the places and puts the file together. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/edge/write_internal.h"

int lmbi_write_fail(lmb_edge_writer *w, lmb_edge_status s, const char *fmt, ...)
{
    if (w->status == LMB_EDGE_OK) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(w->why, sizeof w->why, fmt, ap);
        va_end(ap);
        w->status = s;
    }
    return -1;
}

/* ---- bytes ------------------------------------------------------------------------------------------------ */

uint8_t *lmbi_write_grow(lmb_edge_buffer *b, size_t n)
{
    if (n > SIZE_MAX / 2 - b->size)
        return NULL;
    if (b->size + n > b->capacity || !b->data) {
        size_t capacity = 2 * (b->size + n) + 64;
        uint8_t *data = (uint8_t *)realloc(b->data, capacity);
        if (!data)
            return NULL;
        b->data = data;
        b->capacity = capacity;
    }
    uint8_t *at = b->data + b->size;
    memset(at, 0, n);
    b->size += n;
    return at;
}

uint8_t *lmbi_write_room(lmb_edge_writer *w, lmb_edge_buffer *b, size_t n)
{
    uint8_t *at = lmbi_write_grow(b, n);
    if (!at)
        lmbi_write_fail(w, LMB_EDGE_E_NOMEM, "out of memory for %llu more bytes", (unsigned long long)n);
    return at;
}

void lmbi_write_u16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

void lmbi_write_u32(uint8_t *p, uint32_t v)
{
    lmbi_write_u16(p, v & 0xffff);
    lmbi_write_u16(p + 2, v >> 16);
}

void lmbi_write_u64(uint8_t *p, uint64_t v)
{
    lmbi_write_u32(p, (uint32_t)v);
    lmbi_write_u32(p + 4, (uint32_t)(v >> 32));
}

void lmbi_write_f32(uint8_t *p, float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    lmbi_write_u32(p, u);
}

/* ---- tensors and ops -------------------------------------------------------------------------------------- */

lmb_edge_writer *lmb_edge_writer_create(void) { return (lmb_edge_writer *)calloc(1, sizeof(lmb_edge_writer)); }

void lmb_edge_writer_destroy(lmb_edge_writer *w)
{
    if (!w)
        return;
    free(w->names.data);
    free(w->weights.data);
    free(w->constants.data);
    free(w->meta.data);
    free(w);
}

lmb_edge_status lmb_edge_write_tensor(const lmb_edge_writer *w, int tensor, lmb_edge_tensor *t)
{
    if (tensor < 0 || tensor >= w->n_tensors)
        return LMB_EDGE_E_ARG;
    *t = w->tensors[tensor];
    t->name = (const char *)w->names.data + w->name_at[tensor];
    return LMB_EDGE_OK;
}

const lmb_edge_tensor *lmbi_write_input_of(lmb_edge_writer *w, int x, const char *name)
{
    if (w->status != LMB_EDGE_OK)
        return NULL;
    if (x >= 0 && x < w->n_tensors)
        return &w->tensors[x];
    lmbi_write_fail(w, LMB_EDGE_E_ARG, "%s reads tensor %d; there are 0..%d", name, x, w->n_tensors - 1);
    return NULL;
}

static int add_tensor(lmb_edge_writer *w, uint64_t h, uint64_t width, uint64_t c, lmb_edge_quant q, const char *name)
{
    if (w->n_tensors > LMB_EDGE_MAX_OPS)
        return lmbi_write_fail(w, LMB_EDGE_E_ARG, "%s: more than %d ops", name, LMB_EDGE_MAX_OPS);
    if (!h || !width || !c || h > LMB_EDGE_MAX_COUNT || width > LMB_EDGE_MAX_COUNT / h ||
        c > LMB_EDGE_MAX_COUNT / (h * width))
        return lmbi_write_fail(w, LMB_EDGE_E_ARG, "%s: shape %llu x %llu x %llu is empty or larger than %d elements",
                               name, (unsigned long long)h, (unsigned long long)width, (unsigned long long)c,
                               LMB_EDGE_MAX_COUNT);
    if (!isfinite(q.scale) || q.scale <= 0 || q.zero_point < 0 || q.zero_point > 255)
        return lmbi_write_fail(w, LMB_EDGE_E_ARG, "%s: scale %g must be positive and zero point %d in 0..255", name,
                               (double)q.scale, q.zero_point);
    if (q.lo < 0 || q.hi > 255 || q.lo > q.hi)
        return lmbi_write_fail(w, LMB_EDGE_E_ARG, "%s: clamp %d..%d must lie in 0..255", name, q.lo, q.hi);
    uint8_t *at = lmbi_write_room(w, &w->names, strlen(name) + 1);
    if (!at)
        return -1;
    memcpy(at, name, strlen(name) + 1);
    lmb_edge_tensor *t = &w->tensors[w->n_tensors];
    t->h = (uint32_t)h;
    t->w = (uint32_t)width;
    t->c = (uint32_t)c;
    t->bytes = t->count = t->h * t->w * t->c;
    t->scale = q.scale;
    t->zero_point = (uint8_t)q.zero_point;
    w->name_at[w->n_tensors] = (uint32_t)(at - w->names.data);
    return w->n_tensors++;
}

uint8_t *lmbi_write_op(lmb_edge_writer *w, lmb_edge_kind kind, const int *x, int n, const uint64_t shape[3],
                       lmb_edge_quant q, const char *name)
{
    int y = add_tensor(w, shape[0], shape[1], shape[2], q, name);
    if (y < 0)
        return NULL;
    uint8_t *r = w->ops[y - 1];
    r[0] = (uint8_t)kind;
    r[1] = (uint8_t)n;
    r[2] = (uint8_t)q.lo;
    r[3] = (uint8_t)q.hi;
    for (int i = 0; i < n; i++)
        lmbi_write_u16(r + 4 + 2 * i, (uint32_t)x[i]);
    lmbi_write_u64(r + 48, w->weights.size);
    lmbi_write_u64(r + 56, w->constants.size);
    return r;
}

int lmbi_write_done(const lmb_edge_writer *w) { return w->status == LMB_EDGE_OK ? w->n_tensors - 1 : -1; }

int lmb_edge_write_input(lmb_edge_writer *w, uint32_t h, uint32_t width, uint32_t c, lmb_edge_layout layout,
                         lmb_edge_quant q, const char *name)
{
    if (w->status != LMB_EDGE_OK)
        return -1;
    if (w->n_tensors)
        return lmbi_write_fail(w, LMB_EDGE_E_ARG, "%s: a model has one input, written first", name);
    w->tensors[0].layout = layout;
    return add_tensor(w, h, width, c, q, name);
}

void lmb_edge_write_output_layout(lmb_edge_writer *w, lmb_edge_layout layout)
{
    if (w->n_tensors < 2)
        lmbi_write_fail(w, LMB_EDGE_E_ARG, "the output has no layout before an op has written it");
    else
        w->tensors[w->n_tensors - 1].layout = layout;
}

void lmb_edge_write_meta(lmb_edge_writer *w, const char *key, const char *value)
{
    size_t k = strlen(key), v = strlen(value);
    if (w->status != LMB_EDGE_OK)
        return;
    if (!k || strpbrk(key, "=\n") || strchr(value, '\n')) {
        lmbi_write_fail(w, LMB_EDGE_E_ARG, "meta key '%s': keys have no '=', keys and values are one line", key);
        return;
    }
    uint8_t *at = lmbi_write_room(w, &w->meta, k + v + 2);
    if (!at)
        return;
    memcpy(at, key, k);
    at[k] = '=';
    memcpy(at + k + 1, value, v);
    at[k + 1 + v] = '\n';
}
