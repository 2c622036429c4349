/* core/cpu/onednn.c - convolutions and matrix products by oneDNN 2 (C API).
 *
 * Idea: activations are NHWC in and out; weights stay in canonical OIHW order and are reordered into the
 * layout the primitive likes at each run, which costs under a percent because weights are small. A primitive
 * that would be oneDNN's own reference is refused: our portable kernels or the op's reference run instead.
 *
 * All of the oneDNN API is in this file and onednn_primitive.c: version 3 changed it.
 *   source   oneDNN 2.6 C API reference
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bf16.h"
#include "core/cpu/onednn_primitive.h"
#include "core/ops/conv.h"
#include "core/ops/gemm.h"

/* ---- convolution ---- */

/* Descriptors of a convolution: as the plan has them, and open for the primitive to choose. kept: of activations;
 * weights are f32 in the plan, what the products take is of the same type as activations, and gradients of weights are
 * f32. */
typedef struct conv_descs {
    dnnl_memory_desc_t x, w, w_any, b, y;
    dnnl_memory_desc_t w_hint; /* of the forward lmbi_primitive */
    dnnl_dims_t stride, dilation, before, after;
} conv_descs;

static void conv_descs_of(const lmb_conv *v, dnnl_data_type_t kept, bool gradient, conv_descs *d)
{
    dnnl_data_type_t taken = gradient ? dnnl_f32 : kept;
    dnnl_dims_t x = { v->n, v->c, v->h, v->w }, y = { v->n, v->k, v->oh, v->ow }, b = { v->k };
    dnnl_dims_t w4 = { v->k, v->c, v->kh, v->kw };
    dnnl_dims_t w5 = { v->group, v->k / v->group, v->c / v->group, v->kh, v->kw };

    dnnl_memory_desc_init_by_tag(&d->x, 4, x, kept, dnnl_nhwc);
    dnnl_memory_desc_init_by_tag(&d->y, 4, y, kept, dnnl_nhwc);
    dnnl_memory_desc_init_by_tag(&d->b, 1, b, dnnl_f32, dnnl_x);
    if (v->group == 1) {
        dnnl_memory_desc_init_by_tag(&d->w, 4, w4, dnnl_f32, dnnl_oihw);
        dnnl_memory_desc_init_by_tag(&d->w_any, 4, w4, taken, dnnl_format_tag_any);
    } else {
        dnnl_memory_desc_init_by_tag(&d->w, 5, w5, dnnl_f32, dnnl_goihw);
        dnnl_memory_desc_init_by_tag(&d->w_any, 5, w5, taken, dnnl_format_tag_any);
    }
    d->w_hint = d->w_any;
    d->w_hint.data_type = kept;
    d->stride[0] = v->sh, d->stride[1] = v->sw;
    d->dilation[0] = v->dh - 1, d->dilation[1] = v->dw - 1;
    d->before[0] = v->ph, d->before[1] = v->pw;
    /* the library wants pads that give exactly this output size */
    d->after[0] = (v->oh - 1) * v->sh + (v->kh - 1) * v->dh + 1 - v->h - v->ph;
    d->after[1] = (v->ow - 1) * v->sw + (v->kw - 1) * v->dw + 1 - v->w - v->pw;
}

static bool conv_ok(const lmb_call *c, const char **why)
{
    lmb_conv v = lmb_conv_of_call(c);
    *why = "only 2-D convolutions of non-empty tensors";
    return c->in[0].shape.n == 4 && v.n > 0 && v.oh > 0 && v.ow > 0 && v.c > 0 && v.k > 0;
}

/* Does some row of the output see padding alone? */
static bool row_of_padding(const lmb_conv *v)
{
    for (int64_t y = 0; y < v->oh; y++) {
        bool seen = false;
        for (int64_t t = 0, at = y * v->sh - v->ph; t < v->kh; t++, at += v->dh)
            seen |= at >= 0 && at < v->h;
        if (!seen)
            return true;
    }
    return false;
}

/* The library leaves what is added out of such rows (2.6). */
static bool conv_act_ok(const lmb_call *c, const char **why)
{
    if (!conv_ok(c, why))
        return false;
    lmb_conv v = lmb_conv_of_call(c);
    *why = "not where a row sees padding alone";
    return !row_of_padding(&v);
}

/* Does some tap of the kernel meet padding alone, along one dimension? */
static bool tap_of_padding(int64_t taps, int64_t out, int64_t in, int64_t stride, int64_t dilation, int64_t before)
{
    for (int64_t t = 0; t < taps; t++) {
        int64_t lo, hi;
        lmbi_conv_inside(in, out, stride, t * dilation - before, &lo, &hi);
        if (lo >= hi)
            return true;
    }
    return false;
}

/* Gradients of such taps the library leaves as they lie in memory, in bf16 (2.6). */
static bool weights_bf16_ok(const lmb_call *c, const char **why)
{
    if (!conv_ok(c, why))
        return false;
    lmb_conv v = lmb_conv_of_call(c);
    *why = "not where a tap meets padding alone";
    return !tap_of_padding(v.kh, v.oh, v.h, v.sh, v.dh, v.ph) && !tap_of_padding(v.kw, v.ow, v.w, v.sw, v.dw, v.pw);
}

/* What ConvAct does after the convolution; NULL for nothing. Input 3 is added by letting the output begin with it. */
static bool after_conv(const lmb_call *c, lmbi_primitive *s, dnnl_post_ops_t *after)
{
    const lmb_conv_act_attr *a = c->attr;
    bool ok = true;

    *after = NULL;
    if (strcmp(c->op->name, "ConvAct") != 0)
        return true;
    if (dnnl_post_ops_create(after) != dnnl_success)
        return false;
    if (c->n_in > 3 && c->in[3].present) {
        s->sum = 3;
        ok = dnnl_post_ops_append_sum(*after, 1) == dnnl_success;
    }
    if (*a->function == 'R')
        ok = ok && dnnl_post_ops_append_eltwise(*after, 1, dnnl_eltwise_relu, 0, 0) == dnnl_success;
    if (*a->function == 'C')
        ok = ok && dnnl_post_ops_append_eltwise(*after, 1, dnnl_eltwise_clip, a->lo, a->hi) == dnnl_success;
    return ok;
}

static lmb_status conv_create_as(const lmb_call *c, dnnl_data_type_t kept, void **state, size_t *scratch,
                                 lmb_error *err)
{
    lmb_conv v = lmb_conv_of_call(c);
    bool bias = c->n_in > 2 && c->in[2].present, ok;
    dnnl_post_ops_t after = NULL;
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t pd;
    conv_descs d;
    lmbi_primitive *s = lmbi_primitive_begin();

    conv_descs_of(&v, kept, false, &d);
    ok = s && after_conv(c, s, &after) &&
         dnnl_dilated_convolution_forward_desc_init(&op, dnnl_forward_training, dnnl_convolution_direct, &d.x,
                  &d.w_any, bias ? &d.b : NULL, &d.y, d.stride, d.dilation, d.before, d.after) == dnnl_success &&
         lmbi_primitive_make(s, &op, NULL, after, &pd);
    dnnl_post_ops_destroy(after);
    if (ok) {
        ok = lmbi_primitive_add(s, DNNL_ARG_SRC, 0, false, &d.x, lmbi_primitive_desc(pd, DNNL_ARG_SRC)) &&
             lmbi_primitive_add(s, DNNL_ARG_WEIGHTS, 1, false, &d.w, lmbi_primitive_desc(pd, DNNL_ARG_WEIGHTS)) &&
             lmbi_primitive_fix(s, &s->op[1], c->in[1].data) &&
             (!bias || lmbi_primitive_add(s, DNNL_ARG_BIAS, 2, false, &d.b, &d.b)) &&
             lmbi_primitive_add(s, DNNL_ARG_DST, LMB_OUT(c, 0), true, &d.y, lmbi_primitive_desc(pd, DNNL_ARG_DST));
        dnnl_primitive_desc_destroy(pd);
    }
    return lmbi_primitive_finish(s, ok, state, scratch, err);
}

/* Backward primitives want a forward descriptor as a hint. */
static bool forward_hint(lmbi_primitive *s, const conv_descs *d, dnnl_primitive_desc_t *hint)
{
    dnnl_convolution_desc_t op;
    return dnnl_dilated_convolution_forward_desc_init(&op, dnnl_forward_training, dnnl_convolution_direct, &d->x,
               &d->w_hint, NULL, &d->y, d->stride, d->dilation, d->before, d->after) == dnnl_success &&
           dnnl_primitive_desc_create(hint, &op, NULL, s->engine, NULL) == dnnl_success;
}

static lmb_status data_create_as(const lmb_call *c, dnnl_data_type_t kept, void **state, size_t *scratch,
                                 lmb_error *err)
{
    lmb_conv v = lmb_conv_of_call(c);
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t pd, hint = NULL;
    conv_descs d;
    lmbi_primitive *s = lmbi_primitive_begin();
    bool ok;

    conv_descs_of(&v, kept, false, &d);
    ok = s && forward_hint(s, &d, &hint) &&
         dnnl_dilated_convolution_backward_data_desc_init(&op, dnnl_convolution_direct, &d.x, &d.w_any, &d.y, d.stride,
                                                          d.dilation, d.before, d.after) == dnnl_success &&
         lmbi_primitive_make(s, &op, hint, NULL, &pd);
    if (ok) {
        ok = lmbi_primitive_add(s, DNNL_ARG_DIFF_DST, 0, false, &d.y, lmbi_primitive_desc(pd, DNNL_ARG_DIFF_DST)) &&
             lmbi_primitive_add(s, DNNL_ARG_WEIGHTS, 1, false, &d.w, lmbi_primitive_desc(pd, DNNL_ARG_WEIGHTS)) &&
             lmbi_primitive_add(s, DNNL_ARG_DIFF_SRC, LMB_OUT(c, 0), true, &d.x,
                                lmbi_primitive_desc(pd, DNNL_ARG_DIFF_SRC));
        dnnl_primitive_desc_destroy(pd);
    }
    dnnl_primitive_desc_destroy(hint);
    return lmbi_primitive_finish(s, ok, state, scratch, err);
}

static lmb_status weights_create_as(const lmb_call *c, dnnl_data_type_t kept, void **state, size_t *scratch,
                                    lmb_error *err)
{
    lmb_conv v = lmb_conv_of_call(c);
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t pd, hint = NULL;
    conv_descs d;
    lmbi_primitive *s = lmbi_primitive_begin();
    bool ok;

    conv_descs_of(&v, kept, true, &d);
    ok = s && forward_hint(s, &d, &hint) &&
         dnnl_dilated_convolution_backward_weights_desc_init(&op, dnnl_convolution_direct, &d.x, &d.w_any, NULL, &d.y,
                                                             d.stride, d.dilation, d.before, d.after) == dnnl_success &&
         lmbi_primitive_make(s, &op, hint, NULL, &pd);
    if (ok) {
        ok = lmbi_primitive_add(s, DNNL_ARG_DIFF_DST, 0, false, &d.y, lmbi_primitive_desc(pd, DNNL_ARG_DIFF_DST)) &&
             lmbi_primitive_add(s, DNNL_ARG_SRC, 1, false, &d.x, lmbi_primitive_desc(pd, DNNL_ARG_SRC)) &&
             lmbi_primitive_add(s, DNNL_ARG_DIFF_WEIGHTS, LMB_OUT(c, 0), true, &d.w,
                                lmbi_primitive_desc(pd, DNNL_ARG_DIFF_WEIGHTS));
        dnnl_primitive_desc_destroy(pd);
    }
    dnnl_primitive_desc_destroy(hint);
    return lmbi_primitive_finish(s, ok, state, scratch, err);
}

#define CREATE(which)                                                                                              \
    static lmb_status which##_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)             \
    {                                                                                                              \
        return which##_create_as(c, dnnl_f32, state, scratch, err);                                                \
    }                                                                                                              \
    static lmb_status which##_create_bf16(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)        \
    {                                                                                                              \
        return which##_create_as(c, dnnl_bf16, state, scratch, err);                                               \
    }
CREATE(conv)
CREATE(data)
CREATE(weights)

#define CONV(lower, text, Op, Domain, make, ok, ok_bf16)                                                               \
    static const lmb_kernel lower = { .name = "onednn:" text,                                                          \
                                      .op = Op,                                                                        \
                                      .domain = Domain,                                                                \
                                      .accepts = ok,                                                                   \
                                      .layout = lmbi_conv_layout,                                                      \
                                      .create = make##_create,                                                         \
                                      .run = lmbi_primitive_run,                                                       \
                                      .destroy = lmbi_primitive_destroy };                                             \
    static const lmb_kernel lower##_bf16 = { .name = "onednn-bf16:" text,                                              \
                                             .op = Op,                                                                 \
                                             .domain = Domain,                                                         \
                                             .accepts = ok_bf16,                                                       \
                                             .layout = lmbi_conv_layout,                                               \
                                             .storage = lmbi_conv_bf16,                                                \
                                             .create = make##_create_bf16,                                             \
                                             .run = lmbi_primitive_run,                                                \
                                             .destroy = lmbi_primitive_destroy }
CONV(conv, "conv", "Conv", "", conv, conv_ok, conv_ok);
CONV(conv_act, "conv_act", "ConvAct", "limbeck", conv, conv_act_ok, conv_act_ok);
CONV(conv_data, "conv_data", "ConvGradData", "limbeck", data, conv_ok, conv_ok);
CONV(conv_weights, "conv_weights", "ConvGradWeights", "limbeck", weights, conv_ok, weights_bf16_ok);

/* ---- Gemm ---- */


static bool gemm_ok(const lmb_call *c, const char **why)
{
    *why = "only f32 with C a row";
    if (c->in[0].dtype != LMB_F32 || lmb_shape_count(&c->out[0].shape) == 0)
        return false;
    if (c->n_in < 3 || !c->in[2].present)
        return true;
    const lmb_shape *s = &c->in[2].shape;
    return lmb_shape_count(s) == c->out[0].shape.d[1] && s->n > 0 && s->d[s->n - 1] == c->out[0].shape.d[1];
}

static lmb_status gemm_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_gemm_attr *a = r->attr;
    const float *bias = r->n_in > 2 ? r->in[2].data : NULL;
    float *y = r->out[0].data;
    int64_t m = r->out[0].shape.d[0], n = r->out[0].shape.d[1], k = r->in[0].shape.d[a->transA == 0];

    (void)state;
    for (int64_t i = 0; bias && i < m; i++)
        for (int64_t j = 0; j < n; j++)
            y[i * n + j] = bias[j];
    lmbi_onednn_alone();
    dnnl_status_t st = dnnl_sgemm(a->transA ? 'T' : 'N', a->transB ? 'T' : 'N', m, n, k, a->alpha, r->in[0].data,
                                  a->transA ? m : k, r->in[1].data, a->transB ? k : n, bias ? a->beta : 0, y, n);
    return st == dnnl_success ? LMB_OK : LMB_FAIL(err, LMB_E_DEVICE, "oneDNN reports status %d", (int)st);
}

static const lmb_kernel gemm = {
    .name = "onednn:gemm", .op = "Gemm", .domain = "", .accepts = gemm_ok, .run = gemm_run
};

/* ---- 1x1 convolutions without bias: with channels last each is one matrix product over all pixels ----
 *   y [pixels, k] = x w'      dx [pixels, c] = dy w      dw [k, c] = dy' x       where w is [k, c] */

static bool pointwise_ok(const lmb_call *c, const char **why)
{
    if (!conv_ok(c, why))
        return false;
    lmb_conv v = lmb_conv_of_call(c);
    *why = "only 1x1, stride 1, no padding, groups or bias";
    return v.kh == 1 && v.kw == 1 && v.sh == 1 && v.sw == 1 && v.group == 1 && v.oh == v.h && v.ow == v.w &&
           !(c->n_in > 2 && c->in[2].present);
}

static int64_t pixels_of(const lmb_shape *s) { return s->d[0] * s->d[2] * s->d[3]; }

/* out [m, n] = a [m, k] b [k, n], either transposed in memory; rows of all are dense */
static lmb_status multiply(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const void *a, const void *b, void *out,
                           lmb_error *err)
{
    lmbi_onednn_alone();
    dnnl_status_t st = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1, a, ta ? m : k, b, tb ? k : n, 0, out, n);
    return st == dnnl_success ? LMB_OK : LMB_FAIL(err, LMB_E_DEVICE, "oneDNN reports status %d", (int)st);
}

static lmb_status pointwise_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_shape *x = &r->in[0].shape, *y = &r->out[0].shape;
    (void)state;
    return multiply(false, true, pixels_of(y), y->d[1], x->d[1], r->in[0].data, r->in[1].data, r->out[0].data, err);
}

static lmb_status pointwise_data_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_shape *dy = &r->in[0].shape, *dx = &r->out[0].shape;
    (void)state;
    return multiply(false, false, pixels_of(dy), dx->d[1], dy->d[1], r->in[0].data, r->in[1].data, r->out[0].data, err);
}

static lmb_status pointwise_weights_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_shape *dy = &r->in[0].shape, *x = &r->in[1].shape;
    (void)state;
    return multiply(true, false, dy->d[1], x->d[1], pixels_of(dy), r->in[0].data, r->in[1].data, r->out[0].data, err);
}

#define POINTWISE(lower, text, Op, Domain)                                                                             \
    static const lmb_kernel lower = { .name = "onednn:" text,                                                          \
                                      .op = Op,                                                                        \
                                      .domain = Domain,                                                                \
                                      .accepts = pointwise_ok,                                                         \
                                      .layout = lmbi_conv_layout,                                                      \
                                      .run = lower##_run }
POINTWISE(pointwise, "gemm_conv", "Conv", "");
POINTWISE(pointwise_data, "gemm_conv_data", "ConvGradData", "limbeck");
POINTWISE(pointwise_weights, "gemm_conv_weights", "ConvGradWeights", "limbeck");

#define ALL &pointwise, &pointwise_data, &pointwise_weights, &conv, &conv_act, &conv_data, \
            &conv_weights, &gemm
static const lmb_kernel *const kernels[] = { ALL, NULL };
const lmb_kernel *const lmbi_best_kernels[] = { LMBI_AHEAD, ALL, LMBI_OWN, NULL };
static const lmb_kernel *const kernels_bf16[] = { &conv_bf16, &conv_act_bf16, &conv_data_bf16, &conv_weights_bf16,
                                                  NULL };
static const lmb_backend backend = { .name = "onednn",
                                     .summary = "convolutions and matrix products by oneDNN",
                                     .kernels = kernels };
static const lmb_backend backend_bf16 = { .name = "onednn-bf16",
                                          .summary = "convolutions of feature maps in bf16 by oneDNN",
                                          .kernels = kernels_bf16,
                                          .rounding = LMB_BF16_ERROR };

void lmbi_onednn_version(char *text, size_t cap)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, cap, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

const lmb_backend *lmb_backend_onednn(void) { return &backend; }
const lmb_backend *lmbi_backend_onednn_bf16(void) { return &backend_bf16; }
