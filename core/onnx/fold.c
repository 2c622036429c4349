/* core/onnx/fold.c - shape arithmetic, done at import.
 *
 * Exporters write what a Reshape or a Pad needs as a chain of nodes on whole numbers: Shape, Gather,
 * Unsqueeze, Concat. Our shapes are static, so such a chain is a constant. Shape, Gather, Cast and
 * ConstantOfShape are evaluated here; any other operator of ours whose inputs are all small constants of
 * whole numbers is run in a graph of its own.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/onnx/internal.h"
#include "core/plan/plan.h"

enum { FOLD_ELEMENTS = 4096 };
static const size_t FOLD_BYTES = (size_t)256 << 20; /* a few bytes of file must not ask for any amount */

static bool whole(lmb_dtype t) { return t != LMB_F32 && t != LMB_F64 && t != LMB_F16 && t != LMB_BF16; }

static lmb_status result(lmbi_import *m, lmbi_node *n, lmb_dtype t, const lmb_shape *s, const void *data, bool *done,
                         lmb_error *err)
{
    size_t bytes = lmb_shape_bytes(s, t);

    if (bytes > FOLD_BYTES - m->folded)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "computed constants take more than %zu bytes in all", FOLD_BYTES);
    m->folded += bytes;
    *done = true;
    return lmb_graph_value(m->g, LMB_ROLE_CONSTANT, n->name, t, s, data, &n->out[0], err);
}

static int64_t clamp(int64_t v, int64_t hi) { return v < 0 ? 0 : v > hi ? hi : v; }

static lmb_status fold_shape(lmbi_import *m, lmbi_node *n, bool *done, lmb_error *err)
{
    const lmb_shape *x = &m->g->value[n->in[0]].shape;
    lmb_attr start = { .i = 0 }, end = { .i = x->n };

    lmbi_take(n, "start", LMB_ATTR_INT, &start);
    lmbi_take(n, "end", LMB_ATTR_INT, &end);
    int64_t lo = clamp(start.i < 0 ? start.i + x->n : start.i, x->n),
            hi = clamp(end.i < 0 ? end.i + x->n : end.i, x->n);
    lmb_shape s = LMB_SHAPE(hi > lo ? hi - lo : 0);
    int64_t dims[LMB_MAX_DIMS];
    memcpy(dims, x->d, sizeof dims);
    return result(m, n, LMB_S64, &s, dims + lo, done, err);
}

/* Elements of a constant list or scalar, by the indices of another. */
static lmb_status fold_gather(lmbi_import *m, lmbi_node *n, bool *done, lmb_error *err)
{
    const lmb_value *x = lmbi_constant(m, n, 0);
    lmb_attr axis = { 0 };
    lmb_ints at;
    bool present;

    if (!x || x->shape.n != 1 || x->shape.d[0] > FOLD_ELEMENTS ||
        (lmbi_take(n, "axis", LMB_ATTR_INT, &axis) && axis.i > 0))
        return LMB_OK;
    LMB_TRY(lmbi_int_list(m, n, 1, &at, &present, err));
    if (!present)
        return LMB_FAIL(err, LMB_E_FORMAT, "input 1 is required");
    size_t size = lmb_dtype_bytes(x->dtype);
    uint8_t data[LMB_MAX_INTS * 8];
    for (int i = 0; i < at.n; i++) {
        int64_t k = at.v[i] < 0 ? at.v[i] + x->shape.d[0] : at.v[i];
        if (k < 0 || k >= x->shape.d[0])
            return LMB_FAIL(err, LMB_E_FORMAT, "index %lld of a list of %lld", (long long)at.v[i],
                            (long long)x->shape.d[0]);
        memcpy(data + (size_t)i * size, (const char *)x->data + (size_t)k * size, size);
    }
    lmb_shape s = lmbi_constant(m, n, 1)->shape;
    return result(m, n, x->dtype, &s, data, done, err);
}

static double number_at(const lmb_value *v, int64_t i)
{
    switch (v->dtype) {
    case LMB_F32: return ((const float *)v->data)[i];
    case LMB_F64: return ((const double *)v->data)[i];
    case LMB_S32: return ((const int32_t *)v->data)[i];
    case LMB_S64: return (double)((const int64_t *)v->data)[i];
    case LMB_S8: return ((const int8_t *)v->data)[i];
    case LMB_BOOL:
    case LMB_U8: return ((const uint8_t *)v->data)[i];
    default: return NAN;
    }
}

/* Between the types that lists of sizes come in; through double, which holds every size we accept. */
static bool store_number(lmb_dtype t, void *out, int64_t i, double v)
{
    bool fits = v >= -9007199254740992.0 && v <= 9007199254740992.0;

    switch (t) {
    case LMB_F32: ((float *)out)[i] = (float)v; return true;
    case LMB_F64: ((double *)out)[i] = v; return true;
    case LMB_S64: ((int64_t *)out)[i] = fits ? (int64_t)v : 0; return fits;
    case LMB_S32:
        fits = v >= INT32_MIN && v <= INT32_MAX;
        ((int32_t *)out)[i] = fits ? (int32_t)v : 0;
        return fits;
    case LMB_BOOL: ((uint8_t *)out)[i] = v != 0; return !isnan(v);
    default: return false;
    }
}

static lmb_status fold_cast(lmbi_import *m, lmbi_node *n, bool *done, lmb_error *err)
{
    const lmb_value *x = lmbi_constant(m, n, 0);
    lmb_attr to = { 0 };
    lmb_dtype t;

    if (!x || lmb_shape_count(&x->shape) > FOLD_ELEMENTS || !lmbi_take(n, "to", LMB_ATTR_INT, &to) || to.i > 16 ||
        !lmb_dtype_from_onnx((int)to.i, &t))
        return LMB_OK;
    int64_t count = lmb_shape_count(&x->shape);
    uint64_t *data = calloc((size_t)count + 1, sizeof *data);
    if (!data)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld numbers", (long long)count);
    bool fits = true;
    for (int64_t i = 0; i < count && fits; i++)
        fits = store_number(t, data, i, number_at(x, i));
    lmb_shape s = x->shape;
    lmb_status st = fits ? result(m, n, t, &s, data, done, err) : LMB_OK;
    free(data);
    return st;
}

static lmb_status fold_constant_of_shape(lmbi_import *m, lmbi_node *n, bool *done, lmb_error *err)
{
    const Onnx__AttributeProto *value = lmbi_attribute(n, "value");
    lmb_dtype t = LMB_F32;
    lmb_shape one = { 0 }, s;
    lmb_ints dims;
    uint64_t element = 0;
    bool present;

    LMB_TRY(lmbi_int_list(m, n, 0, &dims, &present, err));
    if (!present || dims.n > LMB_MAX_DIMS)
        return LMB_FAIL(err, LMB_E_FORMAT, "the shape must be a list of at most %d sizes", LMB_MAX_DIMS);
    if (value && value->t) {
        LMB_TRY(lmbi_tensor_type(value->t, &t, &one, err));
        if (lmb_shape_count(&one) != 1)
            return LMB_FAIL(err, LMB_E_FORMAT, "the value must be one element");
        lmbi_tensor_copy(value->t, t, 1, &element);
    }
    s = lmb_shape_of(dims.n, dims.v);
    LMB_TRY(lmb_shape_check(&s, t, err));
    size_t size = lmb_dtype_bytes(t), bytes = lmb_shape_bytes(&s, t);
    if (bytes > FOLD_BYTES)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "a constant of %zu bytes; at most %zu are computed", bytes, FOLD_BYTES);
    char *data = malloc(bytes + 1);
    if (!data)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a constant of %zu bytes", bytes);
    for (size_t i = 0; i < bytes; i += size)
        memcpy(data + i, &element, size);
    lmb_status st = result(m, n, t, &s, data, done, err);
    free(data);
    return st;
}

static bool all_small_and_whole(const lmbi_import *m, const lmbi_node *n)
{
    if (n->n_in == 0 || n->n_out != 1)
        return false;
    for (int i = 0; i < n->n_in; i++) {
        const lmb_value *v = lmbi_constant(m, n, i);
        if (n->in[i] != LMB_NONE && (!v || !whole(v->dtype) || lmb_shape_count(&v->shape) > FOLD_ELEMENTS))
            return false;
    }
    return true;
}

/* Build the node alone, on copies of its operands, and evaluate it. */
static lmb_status fold_by_running(lmbi_import *m, lmbi_node *n, bool *done, lmb_error *err)
{
    lmbi_import alone = *m;
    lmbi_node copy = *n;
    void *data = NULL;
    lmb_status st;

    LMB_TRY(lmb_graph_create(&alone.g, err));
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] != LMB_NONE) {
            const lmb_value *v = &m->g->value[n->in[i]];
            LMB_TRY_GOTO(st, out, lmb_graph_value(alone.g, LMB_ROLE_CONSTANT, v->name, v->dtype, &v->shape, v->data,
                                                  &copy.in[i], err));
        }
    LMB_TRY_GOTO(st, out, lmbi_emit_form(&alone, &copy, err));
    LMB_TRY_GOTO(st, out, lmb_graph_output_add(alone.g, "y", copy.out[0], err));
    const lmb_value *y = &alone.g->value[copy.out[0]];
    size_t bytes = lmb_shape_bytes(&y->shape, y->dtype);
    if (lmb_shape_count(&y->shape) > FOLD_ELEMENTS || !whole(y->dtype))
        goto out;
    data = malloc(bytes + 1);
    if (!data) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu bytes", bytes);
        goto out;
    }
    LMB_TRY_GOTO(st, out, lmb_plan_eval(alone.g, "y", data, bytes, err));
    st = result(m, n, y->dtype, &y->shape, data, done, err);
out:
    free(data);
    lmb_graph_destroy(alone.g);
    return st;
}

static const struct row {
    const char *type;
    lmb_status (*fold)(lmbi_import *m, lmbi_node *n, bool *done, lmb_error *err);
} rows[] = {
    { "Cast", fold_cast },
    { "ConstantOfShape", fold_constant_of_shape },
    { "Gather", fold_gather },
    { "Shape", fold_shape },
};

bool lmbi_fold_knows(const char *type)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].type, type) == 0)
            return true;
    return false;
}

lmb_status lmbi_fold(lmbi_import *m, lmbi_node *n, bool *done, lmb_error *err)
{
    *done = false;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].type, n->type))
            continue;
        if (n->n_in < 1 || n->in[0] == LMB_NONE)
            return LMB_FAIL(err, LMB_E_FORMAT, "input 0 is required");
        LMB_TRY(rows[i].fold(m, n, done, err));
        if (!*done)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s is supported only where its operands are constant", n->type);
        return LMB_OK;
    }
    return all_small_and_whole(m, n) ? fold_by_running(m, n, done, err) : LMB_OK;
}
