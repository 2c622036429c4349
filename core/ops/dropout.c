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
#include "core/ops/attrs.h"
#include "core/ops/common.h"

#include <string.h>

static const lmb_attr_row rows[] = { LMB_A_INT(lmb_dropout_attr, seed, 0), LMB_A_END };
static const lmb_attr_row grad_rows[] = { LMB_A_INT(lmb_dropout_attr, seed, 0),
                                          LMB_A_REAL(lmb_dropout_attr, ratio, 0.5f), LMB_A_END };

static lmb_status dropout_infer(const lmb_call *c, lmb_error *err)
{
    if (c->in[0].dtype != LMB_F32 && c->in[0].dtype != LMB_F64)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "Dropout of %s", lmb_dtype_name(c->in[0].dtype));
    if (c->n_in > 1 && c->in[1].present) {
        float ratio = c->in[1].data && c->in[1].dtype == LMB_F32 ? *(const float *)c->in[1].data
                      : c->in[1].data && c->in[1].dtype == LMB_F64 ? (float)*(const double *)c->in[1].data : -1.0f;
        if (lmb_shape_count(&c->in[1].shape) != 1 || !(ratio >= 0 && ratio < 1))
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

/* Stream of row n: four elements share one block of the generator. */
static lmb_rand row_stream(const lmb_run *r, int64_t seed, int64_t n)
{
    uint64_t sample = r->step->sample ? r->step->sample[n] : (uint64_t)n;
    return lmb_rand_at(r->step->seed, LMB_RAND_DROPOUT, r->step->epoch, sample | (uint64_t)seed << 32);
}

/* y = x mask / (1 - ratio) over rows of f32; mask may be NULL. */
static void drop(const lmb_run *r, const float *x, float *y, uint8_t *mask, float ratio, int64_t seed)
{
    int64_t rows_n = r->in[0].shape.n ? r->in[0].shape.d[0] : 1;
    int64_t width = rows_n ? lmb_shape_count(&r->in[0].shape) / rows_n : 0;
    float keep = 1.0f / (1.0f - ratio);
    uint32_t threshold = (uint32_t)(ratio * 16777216.0f) << 8;

    for (int64_t n = 0; n < rows_n; n++) {
        lmb_rand s = row_stream(r, seed, n);
        uint32_t word[4];
        for (int64_t i = 0; i < width; i++) {
            if (i % 4 == 0) {
                s.counter[0] = (uint32_t)(i / 4);
                lmb_philox(s.counter, s.key, word);
            }
            bool kept = word[i % 4] >= threshold;
            y[n * width + i] = kept ? x[n * width + i] * keep : 0.0f;
            if (mask)
                mask[n * width + i] = kept;
        }
    }
}

static lmb_status dropout_run(const lmb_run *r, lmb_error *err)
{
    const lmb_dropout_attr *a = r->attr;
    float ratio = r->n_in > 1 && r->in[1].data ? ratio_of(&r->in[1]) : 0.5f;
    bool training = r->n_in > 2 && r->in[2].data && *(const uint8_t *)r->in[2].data;
    uint8_t *mask = r->n_out > 1 ? r->out[1].data : NULL;

    if (training && ratio > 0) {
        if (r->in[0].dtype != LMB_F32)
            return lmbi_unsupported("Dropout in training", r->in[0].dtype, err);
        drop(r, r->in[0].data, r->out[0].data, mask, ratio, a->seed);
        return LMB_OK;
    }
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
    float f = ratio && ratio->data ? *(const float *)ratio->data : 0.5f;

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
    LMB_TRY(lmbi_want(c, 0, LMB_F32, "dy", err));
    return lmbi_infer_same(c, err);
}

static lmb_status grad_run(const lmb_run *r, lmb_error *err)
{
    const lmb_dropout_attr *a = r->attr;
    (void)err;
    drop(r, r->in[0].data, r->out[0].data, NULL, a->ratio, a->seed);
    return LMB_OK;
}

const lmb_op lmb_op_dropout_grad = {
    .name = "DropoutGrad", .domain = "limbeck", .summary = "dy through the mask of the forward pass",
    .source = "gradient of Dropout", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .flags = LMB_OP_RANDOM,
    .attr_size = sizeof(lmb_dropout_attr), .attrs = grad_rows, .infer = grad_infer, .cost = lmbi_cost_elementwise,
    .run = grad_run,
};
