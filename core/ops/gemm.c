/* core/ops/gemm.c - matrix products.
 *
 *   Gemm     y = alpha A' B' + beta C     A' [M, K] and B' [K, N] after transA, transB; C broadcasts to [M, N]
 *   MatMul   y = a b                      NumPy rules: leading dimensions broadcast, vectors are promoted
 *   grad     both in terms of MatMul, Gemm and Transpose
 *   source   ONNX Gemm-13, MatMul-13; f32 (forward also f64)
 *
 * The inner loop runs along a row of B, so that it vectorises; sums run over K in order.
 */
#include <string.h>

#include "core/base/compiler.h"
#include "core/ops/common.h"
#include "core/ops/gemm.h"

static const lmb_attr_row gemm_rows[] = {
    LMB_A_REAL(lmb_gemm_attr, alpha, 1.0f), LMB_A_REAL(lmb_gemm_attr, beta, 1.0f), LMB_A_INT(lmb_gemm_attr, transA, 0),
    LMB_A_INT(lmb_gemm_attr, transB, 0), LMB_A_END
};

static lmb_status float_type(const lmb_call *c, lmb_error *err)
{
    lmb_dtype t = c->in[0].dtype;
    if (t != LMB_F32 && t != LMB_F64)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s of %s; f32 and f64 are supported", c->op->name, lmb_dtype_name(t));
    for (int i = 1; i < c->n_in; i++)
        if (c->in[i].present && c->in[i].dtype != t)
            return LMB_FAIL(err, LMB_E_SHAPE, "operand %d has type %s, operand 0 %s", i, lmb_dtype_name(c->in[i].dtype),
                            lmb_dtype_name(t));
    c->out[0].dtype = t;
    return LMB_OK;
}

static lmb_status gemm_infer(const lmb_call *c, lmb_error *err)
{
    const lmb_gemm_attr *a = c->attr;
    const lmb_shape *sa = &c->in[0].shape, *sb = &c->in[1].shape;
    lmb_shape both;

    LMB_TRY(float_type(c, err));
    if (sa->n != 2 || sb->n != 2)
        return LMB_FAIL(err, LMB_E_SHAPE, "A has %d and B %d dimensions; both must have 2", sa->n, sb->n);
    int64_t m = sa->d[a->transA != 0], k = sa->d[a->transA == 0], k2 = sb->d[a->transB != 0], n = sb->d[a->transB == 0];
    if (k != k2)
        return LMB_FAIL(err, LMB_E_SHAPE, "A has %lld columns, B has %lld rows", (long long)k, (long long)k2);
    c->out[0].shape = LMB_SHAPE(m, n);
    if (c->n_in > 2 && c->in[2].present) {
        LMB_TRY(lmb_shape_broadcast(&c->in[2].shape, &c->out[0].shape, &both, err));
        if (!lmb_shape_equal(&both, &c->out[0].shape))
            return LMB_FAIL(err, LMB_E_SHAPE, "C does not broadcast to [%lld, %lld]", (long long)m, (long long)n);
    }
    return LMB_OK;
}

static void gemm_cost(const lmb_call *c, lmb_cost *out)
{
    const lmb_gemm_attr *a = c->attr;
    out->macs = (double)lmb_shape_count(&c->out[0].shape) * (double)c->in[0].shape.d[a->transA == 0];
    out->flops = 2 * out->macs;
}

static void gemm_axes(const lmb_call *c, const lmb_axes *a)
{
    const lmb_gemm_attr *t = c->attr;
    a->tie(a->ctx, 0, t->transA != 0, LMB_OUT(c, 0), 0, 0, 1);
    a->tie(a->ctx, 1, t->transB == 0, LMB_OUT(c, 0), 1, 0, 1);
    a->tie(a->ctx, 0, t->transA == 0, 1, t->transB != 0, 0, 1);
    if (c->n_in > 2 && c->in[2].present) {
        int last = c->in[2].shape.n - 1;
        if (last >= 0 && c->in[2].shape.d[last] == c->out[0].shape.d[1])
            a->tie(a->ctx, 2, last, LMB_OUT(c, 0), 1, 0, 1);
    }
}

/* y [m, n] += alpha * a b; strides say how A and B are walked. */
#define PRODUCT(name, type, hot)                                                                        \
    hot static void name(const type *a, const type *b, type *y, int64_t m, int64_t n, int64_t k,        \
                         int64_t a_row, int64_t a_col, int64_t b_row, int64_t b_col, type alpha)        \
    {                                                                                                   \
        for (int64_t i = 0; i < m; i++)                                                                 \
            for (int64_t p = 0; p < k; p++) {                                                           \
                type f = alpha * a[i * a_row + p * a_col];                                              \
                const type *row = b + p * b_row;                                                        \
                type *out = y + i * n;                                                                  \
                if (b_col == 1)                                                                         \
                    for (int64_t j = 0; j < n; j++)                                                     \
                        out[j] += f * row[j];                                                           \
                else                                                                                    \
                    for (int64_t j = 0; j < n; j++)                                                     \
                        out[j] += f * row[j * b_col];                                                   \
            }                                                                                           \
    }
PRODUCT(product_f32, float, LMB_HOT)
PRODUCT(product_f64, double, )

#define GEMM(type, product)                                                                             \
    do {                                                                                                \
        type *y = r->out[0].data;                                                                       \
        const type *bias = r->n_in > 2 ? r->in[2].data : NULL;                                          \
        lmbi_walk w;                                                                                    \
        memset(y, 0, (size_t)(m * n) * sizeof *y);                                                      \
        product(r->in[0].data, r->in[1].data, y, m, n, k, a->transA ? 1 : k, a->transA ? m : 1,         \
                a->transB ? 1 : n, a->transB ? k : 1, (type)a->alpha);                                  \
        if (bias)                                                                                       \
            lmbi_walk_begin(&w, &r->out[0].shape, &r->in[2].shape);                                     \
        for (int64_t i = 0; bias && i < m * n; i++, lmbi_walk_next(&w))                                 \
            y[i] += (type)a->beta * bias[w.offset];                                                     \
    } while (0)

static lmb_status gemm_run(const lmb_run *r, lmb_error *err)
{
    const lmb_gemm_attr *a = r->attr;
    int64_t m = r->out[0].shape.d[0], n = r->out[0].shape.d[1], k = r->in[0].shape.d[a->transA == 0];

    (void)err;
    if (r->in[0].dtype == LMB_F64)
        GEMM(double, product_f64);
    else
        GEMM(float, product_f32);
    return LMB_OK;
}

static lmb_vid gemm(lmb_grad *g, lmb_vid a, lmb_vid b, int ta, int tb, float alpha)
{
    return lmb_emit(g->b, "Gemm", NULL, LMB_IN(a, b),
                    LMB_ATTRS(LMB_AINT("transA", ta), LMB_AINT("transB", tb), LMB_AREAL("alpha", alpha)));
}

static lmb_status gemm_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_gemm_attr *a = g->node->attr;
    lmb_vid A = g->node->in[0], B = g->node->in[1], dy = g->dout[0];

    (void)err;
    if (g->wanted[0])
        g->din[0] = a->transA ? gemm(g, B, dy, a->transB != 0, 1, a->alpha) : gemm(g, dy, B, 0, !a->transB, a->alpha);
    if (g->wanted[1])
        g->din[1] = a->transB ? gemm(g, dy, A, 1, a->transA != 0, a->alpha) : gemm(g, A, dy, !a->transA, 0, a->alpha);
    if (g->node->n_in > 2 && g->wanted[2]) {
        lmb_vid d = lmbi_sum_to_like(g->b, dy, g->node->in[2]);
        if (a->beta != 1.0f)
            d = lmb_emit(g->b, "Mul", NULL, LMB_IN(d, lmb_emit_scalar(g->b, a->beta)), LMB_NO_ATTRS);
        g->din[2] = d;
    }
    return LMB_OK;
}

const lmb_op lmb_op_gemm = {
    .name = "Gemm", .domain = "", .summary = "y = alpha A B + beta C", .source = "ONNX Gemm-13", .since = 13,
    .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1, .attr_size = sizeof(lmb_gemm_attr), .attrs = gemm_rows,
    .infer = gemm_infer, .grad = gemm_grad, .cost = gemm_cost, .axes = gemm_axes, .run = gemm_run,
};

/* ---- MatMul ---- */

/* Both operands as [batch..., rows, columns]: a vector on the left is a row, on the right a column. */
static void matrices(const lmb_shape *sa, const lmb_shape *sb, lmb_shape *a, lmb_shape *b)
{
    *a = *sa;
    *b = *sb;
    if (a->n == 1)
        *a = LMB_SHAPE(1, sa->d[0]);
    if (b->n == 1)
        *b = LMB_SHAPE(sb->d[0], 1);
}

static lmb_shape leading(const lmb_shape *s) { return lmb_shape_of(s->n - 2, s->d); }

static lmb_status matmul_infer(const lmb_call *c, lmb_error *err)
{
    lmb_shape a, b, out;

    LMB_TRY(float_type(c, err));
    if (c->in[0].shape.n < 1 || c->in[1].shape.n < 1)
        return LMB_FAIL(err, LMB_E_SHAPE, "scalars can not be multiplied as matrices");
    matrices(&c->in[0].shape, &c->in[1].shape, &a, &b);
    if (a.d[a.n - 1] != b.d[b.n - 2])
        return LMB_FAIL(err, LMB_E_SHAPE, "a has %lld columns, b has %lld rows", (long long)a.d[a.n - 1],
                        (long long)b.d[b.n - 2]);
    lmb_shape la = leading(&a), lb = leading(&b);
    LMB_TRY(lmb_shape_broadcast(&la, &lb, &out, err));
    if (c->in[0].shape.n > 1)
        out.d[out.n++] = a.d[a.n - 2];
    if (c->in[1].shape.n > 1)
        out.d[out.n++] = b.d[b.n - 1];
    c->out[0].shape = out;
    return LMB_OK;
}

static void matmul_cost(const lmb_call *c, lmb_cost *out)
{
    out->macs = (double)lmb_shape_count(&c->out[0].shape) * (double)c->in[0].shape.d[c->in[0].shape.n - 1];
    out->flops = 2 * out->macs;
}

static void matmul_axes(const lmb_call *c, const lmb_axes *x)
{
    int na = c->in[0].shape.n, nb = c->in[1].shape.n, no = c->out[0].shape.n;
    if (na < 2 || nb != 2)
        return;
    for (int i = 0; i < na - 1; i++)
        x->tie(x->ctx, 0, i, LMB_OUT(c, 0), i, 0, 1);
    x->tie(x->ctx, 0, na - 1, 1, 0, 0, 1);
    x->tie(x->ctx, 1, 1, LMB_OUT(c, 0), no - 1, 0, 1);
}

#define MATMUL(type, product)                                                                               \
    do {                                                                                                    \
        type *y = r->out[0].data;                                                                           \
        memset(y, 0, lmb_shape_bytes(&r->out[0].shape, r->out[0].dtype));                                   \
        for (int64_t i = 0; i < count; i++, lmbi_walk_next(&wa), lmbi_walk_next(&wb))                       \
            product((const type *)r->in[0].data + wa.offset * m * k, (const type *)r->in[1].data + wb.offset * k * n, \
                    y + i * m * n, m, n, k, k, 1, n, 1, (type)1);                                           \
    } while (0)

static lmb_status matmul_run(const lmb_run *r, lmb_error *err)
{
    lmb_shape a, b, la, lb, lead;
    lmbi_walk wa, wb;

    matrices(&r->in[0].shape, &r->in[1].shape, &a, &b);
    la = leading(&a), lb = leading(&b);
    LMB_TRY(lmb_shape_broadcast(&la, &lb, &lead, err));
    int64_t m = a.d[a.n - 2], k = a.d[a.n - 1], n = b.d[b.n - 1], count = lmb_shape_count(&lead);
    lmbi_walk_begin(&wa, &lead, &la);
    lmbi_walk_begin(&wb, &lead, &lb);
    if (r->in[0].dtype == LMB_F64)
        MATMUL(double, product_f64);
    else
        MATMUL(float, product_f32);
    return LMB_OK;
}

static lmb_vid swap_last(lmb_grad *g, lmb_vid v)
{
    int n = lmb_builder_value(g->b, v)->shape.n;
    lmb_attr perm = { .name = "perm", .kind = LMB_ATTR_INTS };

    perm.ints.n = n;
    for (int i = 0; i < n; i++)
        perm.ints.v[i] = i < n - 2 ? i : 2 * n - 3 - i;
    return lmb_emit(g->b, "Transpose", NULL, LMB_IN(v), &perm, 1);
}

/* v as a matrix: [.., 1, k] for a vector on the left, [.., k, 1] on the right. */
static lmb_vid reshaped(lmb_grad *g, lmb_vid v, const lmb_shape *s)
{
    if (lmb_shape_equal(&lmb_builder_value(g->b, v)->shape, s))
        return v;
    return lmb_emit(g->b, "Reshape", NULL, LMB_IN(v, lmb_emit_ints(g->b, s->d, s->n)), LMB_NO_ATTRS);
}

static lmb_status matmul_grad(lmb_grad *g, lmb_error *err)
{
    lmb_shape sa = lmb_builder_value(g->b, g->node->in[0])->shape, sb = lmb_builder_value(g->b, g->node->in[1])->shape;
    lmb_shape a, b, y;

    matrices(&sa, &sb, &a, &b);
    lmb_shape la = leading(&a), lb = leading(&b);
    LMB_TRY(lmb_shape_broadcast(&la, &lb, &y, err));
    y.d[y.n++] = a.d[a.n - 2];
    y.d[y.n++] = b.d[b.n - 1];
    lmb_vid dy = reshaped(g, g->dout[0], &y);
    if (g->wanted[0]) {
        lmb_vid bt = swap_last(g, reshaped(g, g->node->in[1], &b));
        lmb_vid d = lmb_emit(g->b, "MatMul", NULL, LMB_IN(dy, bt), LMB_NO_ATTRS);
        g->din[0] = reshaped(g, lmbi_sum_to_like(g->b, d, reshaped(g, g->node->in[0], &a)), &sa);
    }
    if (g->wanted[1]) {
        lmb_vid at = swap_last(g, reshaped(g, g->node->in[0], &a));
        lmb_vid d = lmb_emit(g->b, "MatMul", NULL, LMB_IN(at, dy), LMB_NO_ATTRS);
        g->din[1] = reshaped(g, lmbi_sum_to_like(g->b, d, reshaped(g, g->node->in[1], &b)), &sb);
    }
    return LMB_OK;
}

const lmb_op lmb_op_matmul = {
    .name = "MatMul", .domain = "", .summary = "matrix product, leading dimensions broadcast",
    .source = "ONNX MatMul-13", .since = 13, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .infer = matmul_infer, .grad = matmul_grad, .cost = matmul_cost, .axes = matmul_axes, .run = matmul_run,
};
