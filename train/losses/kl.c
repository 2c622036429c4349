/* train/losses/kl.c - the teacher's term: a frozen copy of it runs in the same graph. See train/loss.h. */
#include "core/passes/fold.h"
#include "core/passes/rewrite.h"
#include "train/loss.h"

/* T^2 keeps the size of the gradient whatever the temperature. */
static double weight(const lmb_objective *o)
{
    return o->teacher ? o->distill.alpha * o->distill.temperature * o->distill.temperature : 0;
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

/* The frozen graph of the teacher behind x [rows, ...], in the form of a predictor: the bits of cached logits. */
static lmb_vid live_logits(const lmb_graph *g, lmb_builder *b, lmb_vid x, int64_t rows)
{
    enum { MAX_OUT = 16 };
    lmb_graph *teacher = NULL;
    lmb_vid out[MAX_OUT] = { LMB_NONE };

    if (b->status != LMB_OK)
        return LMB_NONE;
    lmb_status st = g->n_outputs > MAX_OUT ? LMB_FAIL(b->err, LMB_E_UNSUPPORTED, "a teacher with %d outputs", g->n_outputs)
                                           : lmb_pass_deploy(g, NULL, rows, &teacher, b->err);
    if (st == LMB_OK)
        st = lmb_pass_embed(b, teacher, &x, out, b->err);
    lmb_graph_destroy(teacher);
    if (st != LMB_OK)
        b->status = st;
    return out[0];
}

/* The teacher's logits [n, classes] of the n rows of x: fed from elsewhere, or computed. */
static lmb_vid teacher_logits(const lmb_objective *d, lmb_builder *b, lmb_vid x)
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

static lmb_vid build(const lmb_objective *o, lmb_builder *b, lmb_vid x, lmb_vid logits, lmb_vid labels)
{
    lmb_vid teacher = teacher_logits(o, b, x);

    (void)labels;
    return lmb_emit(b, "KLDivergence", "kl", LMB_IN(logits, teacher), LMB_ATTRS(LMB_AREAL("temperature", (float)o->distill.temperature)));
}

const lmb_loss_term lmb_loss_term_kl = { "kl", "divergence from the predictions of a frozen teacher, softened",
                                         "Hinton, Vinyals, Dean 2015", weight, build };
