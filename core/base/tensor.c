/* core/base/tensor.c - see tensor.h. */
#include "core/base/tensor.h"

#include <stdio.h>
#include <string.h>

static const struct { const char *name; size_t bytes; int onnx; } dtypes[LMB_DTYPE_COUNT] = {
#define X(name, text, type, bytes, onnx) [LMB_##name] = { text, bytes, onnx },
    LMB_DTYPE_MAP(X)
#undef X
};

size_t lmb_dtype_bytes(lmb_dtype t) { return dtypes[t].bytes; }
const char *lmb_dtype_name(lmb_dtype t) { return dtypes[t].name; }
int lmb_dtype_onnx(lmb_dtype t) { return dtypes[t].onnx; }

bool lmb_dtype_from_onnx(int onnx, lmb_dtype *out)
{
    for (int i = 0; i < LMB_DTYPE_COUNT; i++)
        if (dtypes[i].onnx == onnx) {
            *out = (lmb_dtype)i;
            return true;
        }
    return false;
}

int64_t lmb_shape_count(const lmb_shape *s)
{
    int64_t n = 1;
    for (int i = 0; i < s->n; i++)
        n *= s->d[i];
    return n;
}

size_t lmb_shape_bytes(const lmb_shape *s, lmb_dtype t)
{
    return (size_t)lmb_shape_count(s) * dtypes[t].bytes;
}

bool lmb_shape_equal(const lmb_shape *a, const lmb_shape *b)
{
    if (a->n != b->n)
        return false;
    for (int i = 0; i < a->n; i++)
        if (a->d[i] != b->d[i])
            return false;
    return true;
}

lmb_status lmb_shape_check(const lmb_shape *s, lmb_dtype t, lmb_error *err)
{
    const int64_t limit = (int64_t)1 << 46;
    int64_t bytes = (int64_t)dtypes[t].bytes;

    if (s->n < 0 || s->n > LMB_MAX_DIMS)
        return LMB_FAIL(err, LMB_E_SHAPE, "a tensor of %d dimensions; at most %d are supported", s->n, LMB_MAX_DIMS);
    for (int i = 0; i < s->n; i++) {
        if (s->d[i] < 0 || s->d[i] > INT32_MAX)
            return LMB_FAIL(err, LMB_E_SHAPE, "dimension %d is %lld; it must be in [0, 2^31)", i, (long long)s->d[i]);
        if (s->d[i] && bytes > limit / s->d[i])
            return LMB_FAIL(err, LMB_E_SHAPE, "a tensor of more than 2^46 bytes (dimension %d is %lld)", i,
                            (long long)s->d[i]);
        bytes *= s->d[i] ? s->d[i] : 1; /* products of some of the dimensions must not overflow either */
    }
    return LMB_OK;
}

lmb_shape lmb_shape_of(int n, const int64_t *d)
{
    lmb_shape s;
    memset(&s, 0, sizeof s);
    s.n = n;
    for (int i = 0; i < n && i < LMB_MAX_DIMS; i++)
        s.d[i] = d[i];
    return s;
}

const char *lmb_shape_text(const lmb_shape *s, char *buf, size_t cap)
{
    size_t at = 0;
    int w = snprintf(buf, cap, "[");

    for (int i = 0; i < s->n && w > 0 && (at += (size_t)w) < cap; i++)
        w = snprintf(buf + at, cap - at, "%s%lld", i ? ", " : "", (long long)s->d[i]);
    if (w > 0 && s->n > 0)
        at += (size_t)w;
    else if (s->n == 0)
        at = 1;
    if (at < cap)
        snprintf(buf + at, cap - at, "]");
    return buf;
}

lmb_status lmb_shape_broadcast(const lmb_shape *a, const lmb_shape *b, lmb_shape *out, lmb_error *err)
{
    lmb_shape s;
    memset(&s, 0, sizeof s);
    s.n = a->n > b->n ? a->n : b->n;
    for (int i = 0; i < s.n; i++) {
        int ia = i - (s.n - a->n), ib = i - (s.n - b->n);
        int64_t da = ia < 0 ? 1 : a->d[ia], db = ib < 0 ? 1 : b->d[ib];
        if (da != db && da != 1 && db != 1) {
            char ta[LMB_SHAPE_TEXT], tb[LMB_SHAPE_TEXT];
            return LMB_FAIL(err, LMB_E_SHAPE, "shapes %s and %s do not broadcast (dimension %d: %lld and %lld)",
                            lmb_shape_text(a, ta, sizeof ta), lmb_shape_text(b, tb, sizeof tb), i, (long long)da,
                            (long long)db);
        }
        s.d[i] = da == 1 ? db : da;
    }
    *out = s;
    return LMB_OK;
}
