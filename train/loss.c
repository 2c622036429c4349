/* train/loss.c - the table of terms and their weighted sum. See loss.h. */
#include "train/loss.h"

extern const lmb_loss_term lmb_loss_term_cross_entropy, lmb_loss_term_kl;

const lmb_loss_term *const lmb_loss_terms[] = { &lmb_loss_term_cross_entropy, &lmb_loss_term_kl, NULL };

static const char *const caches[] = { "auto", "false", "true", "plain", NULL };

const lmb_field lmb_distill_fields[] = {
    LMB_REAL(lmb_distill_config, alpha, 0.5, 0, 1, "", "share of the teacher; the labels have the rest"),
    LMB_REAL(lmb_distill_config, temperature, 2, 0.05, 100, "", "softens both predictions; keep it low (1 to 2) with quantisation"),
    LMB_TEXT(lmb_distill_config, teacher, "", "an .onnx file that takes the samples as they are, or a checkpoint; default <run>/teacher/model.onnx. For one that "
             "wants them normalised: teacher.model: {name: onnx, path, mean, scale ...}"),
    LMB_CHOICE(lmb_distill_config, cache, LMB_CACHE_AUTO, caches, "the teacher's logits on disk: true, the same bits as live; plain, of samples "
               "without augmentation; auto, true where an epoch can use them again"), LMB_FIELD_END
};

lmb_status lmb_objective_check(const lmb_objective *o, const lmb_graph *student, lmb_error *err)
{
    if (!o->teacher)
        return LMB_OK;
    const lmb_value *tx = &o->teacher->value[lmb_graph_input(o->teacher, 0)], *sx = &student->value[lmb_graph_input(student, 0)];
    const lmb_value *ty = &o->teacher->value[o->teacher->output[0].value], *sy = &student->value[student->output[0].value];
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

static lmb_vid build(void *ctx, lmb_builder *b, lmb_vid x, lmb_vid logits, lmb_vid labels)
{
    const lmb_objective *o = ctx;
    lmb_vid sum = LMB_NONE;

    for (int i = 0; lmb_loss_terms[i]; i++) {
        double weight = lmb_loss_terms[i]->weight(o);
        if (weight == 0)
            continue;
        lmb_vid term = lmb_loss_terms[i]->build(o, b, x, logits, labels);
        if (weight != 1)
            term = lmb_emit(b, "Mul", NULL, LMB_IN(term, lmb_emit_scalar(b, (float)weight)), LMB_NO_ATTRS);
        sum = sum == LMB_NONE ? term : lmb_emit(b, "Add", NULL, LMB_IN(sum, term), LMB_NO_ATTRS);
    }
    return sum;
}

static lmb_status feed(void *ctx, const lmb_step_info *info, int64_t n, float *out, lmb_error *err)
{
    const lmb_objective *o = ctx;
    return o->logits(o->logits_ctx, info, n, out, err);
}

lmb_loss lmb_objective_loss(lmb_objective *o) { return (lmb_loss){ build, o, o->logits ? feed : NULL }; }
