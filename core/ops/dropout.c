/* core/ops/dropout.c - zero a random share of the elements while training.
 *
 *   Dropout      x [, ratio f32 constant, training_mode bool constant] -> y [, mask bool]
 *                training: y = x mask / (1 - ratio); inference (the default): y = x, mask all true
 *   DropoutGrad  dy -> dx with the same mask, drawn again rather than kept
 *
 * The mask of row n of the batch is a function of (seed, epoch, global sample index of the row, attribute
 * `seed`, element): the same on any rank and thread, and after a resume. The attribute tells apart the
 * dropouts of one model; builders number them.
 *   source   ONNX Dropout-13; Srivastava et al. 2014
 */
#include "core/ops/dropout.h"

#include <string.h>

static const lmb_attr_row rows[] = { LMB_A_INT(lmb_dropout_attr, seed, 0), LMB_A_END };
static const lmb_attr_row grad_rows[] = { LMB_A_INT(lmb_dropout_attr, seed, 0),
                                          LMB_A_REAL(lmb_dropout_attr, ratio, 0.5f), LMB_A_END };

static lmb_status dropout_infer(const lmb_call *c, lmb_error *err)
{
    if (c->in[0].dtype != LMB_F32 && c->in[0].dtype != LMB_F64)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "Dropout of %s", lmb_dtype_name(c->in[0].dtype));
    if (c->n_in > 1 && c->in[1].present) {
        bool one = c->in[1].data && lmb_shape_count(&c->in[1].shape) == 1;
        float ratio = one && c->in[1].dtype == LMB_F32   ? *(const float *)c->in[1].data
                      : one && c->in[1].dtype == LMB_F64 ? (float)*(const double *)c->in[1].data
                                                         : -1.0f;
        if (!(ratio >= 0 && ratio < 1))
            return LMB_FAIL(err, LMB_E_ARG, "the ratio must be one constant number in [0, 1)");
    }
    if (c->n_in > 2 && c->in[2].present &&
        (c->in[2].dtype != LMB_BOOL || lmb_shape_count(&c->in[2].shape) != 1 || !c->in[2].data))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "training_mode must be one constant bool");
    LMB_TRY(lmbi_infer_same(c, err));
    if (c->n_out > 1) {
        c->out[1].dtype = LMB_BOOL;
        c->out[1].shape = c->in[0].shape;
    }
    return LMB_OK;
}

static float ratio_of(const lmb_tensor *t)
{
    return t->dtype == LMB_F64 ? (float)*(const double *)t->data : *(const float *)t->data;
}

lmb_rand lmbi_dropout_row(const lmb_run *r, int64_t seed, int64_t n)
{
    uint64_t sample = r->step->sample ? r->step->sample[n] : (uint64_t)n;
    return lmb_rand_at(r->step->seed, LMB_RAND_DROPOUT, r->step->epoch, sample | (uint64_t)seed << 32);
}

static lmbi_dropout shape_of(const lmb_run *r, float ratio, int64_t seed, uint8_t *mask)
{
    const lmb_shape *s = &r->in[0].shape;
    lmbi_dropout d = { r->in[0].data, r->out[0].data, 1.0f / (1.0f - ratio), mask, s->n ? s->d[0] : 1, 0, seed,
                       (uint32_t)(ratio * 16777216.0f) << 8 };

    d.width = d.rows ? lmb_shape_count(s) / d.rows : 0;
    return d;
}

static bool drops(const lmb_run *r, float *ratio)
{
    *ratio = r->n_in > 1 && r->in[1].data ? ratio_of(&r->in[1]) : 0.5f;
    return r->n_in > 2 && r->in[2].data && *(const uint8_t *)r->in[2].data && *ratio > 0;
}

bool lmbi_dropout_of(const lmb_run *r, lmbi_dropout *out)
{
    const lmb_dropout_attr *a = r->attr;
    float ratio;

    if (!drops(r, &ratio) || r->in[0].dtype != LMB_F32)
        return false;
    *out = shape_of(r, ratio, a->seed, r->n_out > 1 ? r->out[1].data : NULL);
    return true;
}

void lmbi_dropout_grad_of(const lmb_run *r, lmbi_dropout *out)
{
    const lmb_dropout_attr *a = r->attr;

    *out = shape_of(r, a->ratio, a->seed, NULL);
}

static void drop(const lmb_run *r, const lmbi_dropout *d)
{
    for (int64_t n = 0; n < d->rows; n++) {
        lmb_rand s = lmbi_dropout_row(r, d->seed, n);
        uint32_t word[4];
        for (int64_t i = 0; i < d->width; i++) {
            if (i % 4 == 0) {
                s.counter[0] = (uint32_t)(i / 4);
                lmb_philox(s.counter, s.key, word);
            }
            bool kept = word[i % 4] >= d->threshold;
            d->y[n * d->width + i] = kept ? d->x[n * d->width + i] * d->keep : 0.0f;
            if (d->mask)
                d->mask[n * d->width + i] = kept;
        }
    }
}

static lmb_status dropout_run(const lmb_run *r, lmb_error *err)
{
    uint8_t *mask = r->n_out > 1 ? r->out[1].data : NULL;
    lmbi_dropout d;
    float ratio;

    if (lmbi_dropout_of(r, &d)) {
        drop(r, &d);
        return LMB_OK;
    }
    if (drops(r, &ratio))
        return lmbi_unsupported("Dropout in training", r->in[0].dtype, err);
    memmove(r->out[0].data, r->in[0].data, lmb_shape_bytes(&r->in[0].shape, r->in[0].dtype));
    if (mask)
        memset(mask, 1, (size_t)lmb_shape_count(&r->in[0].shape));
    return LMB_OK;
}

static lmb_status dropout_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_node *n = g->node;
    const lmb_value *ratio = n->n_in > 1 ? lmb_builder_value(g->b, n->in[1]) : NULL;
    const lmb_value *training = n->n_in > 2 ? lmb_builder_value(g->b, n->in[2]) : NULL;
    float f = !ratio || !ratio->data    ? 0.5f
              : ratio->dtype == LMB_F64 ? (float)*(const double *)ratio->data
                                        : *(const float *)ratio->data;

    (void)err;
    if (!g->wanted[0] || g->dout[0] == LMB_NONE)
        return LMB_OK;
    if (!training || !training->data || !*(const uint8_t *)training->data || f == 0) {
        g->din[0] = g->dout[0];
        return LMB_OK;
    }
    g->din[0] = lmb_emit(g->b, "DropoutGrad", NULL, LMB_IN(g->dout[0]),
                         LMB_ATTRS(LMB_AINT("seed", ((const lmb_dropout_attr *)n->attr)->seed), LMB_AREAL("ratio", f)));
    return LMB_OK;
}

const lmb_op lmb_op_dropout = {
    .name = "Dropout", .domain = "", .summary = "zero a random share while training", .source = "ONNX Dropout-13",
    .since = 13, .min_in = 1, .max_in = 3, .min_out = 1, .max_out = 2, .flags = LMB_OP_RANDOM,
    .attr_size = sizeof(lmb_dropout_attr), .attrs = rows, .infer = dropout_infer, .grad = dropout_grad,
    .cost = lmbi_cost_elementwise, .axes = lmbi_axes_same, .run = dropout_run,
};

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    float ratio = ((const lmb_dropout_attr *)c->attr)->ratio;
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    if (!(ratio >= 0 && ratio < 1))
        return LMB_FAIL(err, LMB_E_ARG, "ratio %g; it must be in [0, 1)", (double)ratio);
    return lmbi_infer_same(c, err);
}

static lmb_status grad_run(const lmb_run *r, lmb_error *err)
{
    lmbi_dropout d;

    (void)err;
    lmbi_dropout_grad_of(r, &d);
    drop(r, &d);
    return LMB_OK;
}

const lmb_op lmb_op_dropout_grad = {
    .name = "DropoutGrad", .domain = "limbeck", .summary = "dy through the mask of the forward pass",
    .source = "gradient of Dropout", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .flags = LMB_OP_RANDOM,
    .attr_size = sizeof(lmb_dropout_attr), .attrs = grad_rows, .infer = grad_infer, .cost = lmbi_cost_elementwise,
    .run = grad_run,
};
