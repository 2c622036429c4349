/* distill/losses/kl.c - the KL-divergence distillation loss. See distill/loss.h. */
#include "core/passes/rewrite.h"
#include "distill/loss.h"

static const char *const caches[] = { "auto", "false", "true", "plain", NULL };

const lmb_field lmb_distill_fields[] = {
    LMB_REAL(lmb_distill_config, alpha, 0.5, 0, 1, "", "share of the teacher; the labels have the rest"),
    LMB_REAL(lmb_distill_config, temperature, 2, 0.05, 100, "", "softens both predictions; keep it low (1 to 2) with quantisation"),
    LMB_TEXT(lmb_distill_config, teacher, "", "an .onnx file or a checkpoint; default <run>/teacher/model.onnx"),
    LMB_CHOICE(lmb_distill_config, cache, LMB_CACHE_AUTO, caches, "the teacher's logits on disk: true, the same bits as live; plain, of samples "
               "without augmentation; auto, true where an epoch can use them again"), LMB_FIELD_END
};

lmb_status lmb_distill_check(const lmb_distill *d, const lmb_graph *student, lmb_error *err)
{
    const lmb_value *tx = &d->teacher->value[lmb_graph_input(d->teacher, 0)], *sx = &student->value[lmb_graph_input(student, 0)];
    const lmb_value *ty = &d->teacher->value[d->teacher->output[0].value], *sy = &student->value[student->output[0].value];
    lmb_shape a = tx->shape, b = sx->shape;
    char ta[LMB_SHAPE_TEXT], tb[LMB_SHAPE_TEXT];

    if (a.n > 0 && b.n > 0)
        a.d[0] = b.d[0] = 1;
    if (!lmb_shape_equal(&a, &b))
        return LMB_FAIL(err, LMB_E_SHAPE, "the teacher takes %s, the student %s", lmb_shape_text(&a, ta, sizeof ta),
                        lmb_shape_text(&b, tb, sizeof tb));
    if (ty->shape.n != 2 || ty->shape.d[1] != sy->shape.d[1])
        return LMB_FAIL(err, LMB_E_SHAPE, "the teacher has %lld classes, the student %lld",
                        (long long)(ty->shape.n == 2 ? ty->shape.d[1] : 0), (long long)sy->shape.d[1]);
    return LMB_OK;
}

static lmb_vid scaled(lmb_builder *b, lmb_vid v, double f)
{
    return lmb_emit(b, "Mul", NULL, LMB_IN(v, lmb_emit_scalar(b, (float)f)), LMB_NO_ATTRS);
}

/* x [n, ...] with zeros up to `rows` rows. */
static lmb_vid fill_up(lmb_builder *b, lmb_vid x, int64_t rows)
{
    const lmb_shape *s = &lmb_builder_value(b, x)->shape;
    int64_t pads[2 * LMB_MAX_DIMS] = { 0 };
    int dims = s->n;

    pads[dims] = rows - s->d[0];
    return lmb_emit(b, "Pad", "teacher.rows", LMB_IN(x, lmb_emit_ints(b, pads, 2 * dims)), LMB_NO_ATTRS);
}

/* The frozen graph of the teacher behind x [rows, ...]. */
static lmb_vid live_logits(const lmb_graph *g, lmb_builder *b, lmb_vid x, int64_t rows)
{
    enum { MAX_OUT = 16 };
    lmb_graph *teacher = NULL;
    lmb_vid out[MAX_OUT] = { LMB_NONE };

    if (b->status != LMB_OK)
        return LMB_NONE;
    lmb_status st = g->n_outputs > MAX_OUT ? LMB_FAIL(b->err, LMB_E_UNSUPPORTED, "a teacher with %d outputs", g->n_outputs)
                                           : lmb_pass_infer_form(g, rows, &teacher, b->err);
    if (st == LMB_OK)
        st = lmb_pass_embed(b, teacher, &x, out, b->err);
    lmb_graph_destroy(teacher);
    if (st != LMB_OK)
        b->status = st;
    return out[0];
}

/* The teacher's logits [n, classes] of the n rows of x: fed from elsewhere, or computed. */
static lmb_vid teacher_logits(const lmb_distill *d, lmb_builder *b, lmb_vid x)
{
    const lmb_graph *g = d->teacher;

    if (b->status != LMB_OK)
        return LMB_NONE;
    int64_t n = lmb_builder_value(b, x)->shape.d[0], classes = g->value[g->output[0].value].shape.d[1];
    if (d->logits)
        return lmb_emit_value(b, LMB_ROLE_INPUT, LMB_LOSS_FEED, LMB_F32, LMB_SHAPE(n, classes), NULL);
    if (n >= d->rows)
        return live_logits(g, b, x, n);
    lmb_vid all = live_logits(g, b, fill_up(b, x, d->rows), d->rows), from = lmb_emit_ints(b, (int64_t[]){ 0 }, 1);
    return lmb_emit(b, "Slice", "teacher.answers", LMB_IN(all, from, lmb_emit_ints(b, &n, 1)), LMB_NO_ATTRS);
}

static lmb_vid build(void *ctx, lmb_builder *b, lmb_vid x, lmb_vid logits, lmb_vid labels)
{
    lmb_distill *d = ctx;
    double t = d->config.temperature, a = d->config.alpha;
    lmb_vid teacher = teacher_logits(d, b, x);

    if (b->status != LMB_OK)
        return LMB_NONE;
    lmb_vid soft = lmb_emit(b, "KLDivergence", "distill", LMB_IN(logits, teacher), LMB_ATTRS(LMB_AREAL("temperature", (float)t)));
    lmb_vid hard = lmb_loss_cross_entropy(&d->label_smoothing, b, x, logits, labels);
    return lmb_emit(b, "Add", "loss", LMB_IN(scaled(b, hard, 1 - a), scaled(b, soft, a * t * t)), LMB_NO_ATTRS);
}

static lmb_status feed(void *ctx, const lmb_step_info *info, int64_t n, float *out, lmb_error *err)
{
    const lmb_distill *d = ctx;
    return d->logits(d->logits_ctx, info, n, out, err);
}

lmb_loss lmb_distill_loss(lmb_distill *d) { return (lmb_loss){ build, d, d->logits ? feed : NULL }; }
