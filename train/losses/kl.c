/* train/losses/kl.c - the teacher's term: a frozen copy of it runs in the same graph. See train/loss.h. */
#include "core/passes/rewrite.h"
#include "train/loss.h"

enum { OUTPUTS = 16 };

/* T^2 keeps the size of the gradient whatever the temperature. */
static double weight(const lmb_objective *o)
{
    return o->teacher ? o->distill.alpha * o->distill.temperature * o->distill.temperature : 0;
}

static lmb_vid build(const lmb_objective *o, lmb_builder *b, lmb_vid x, lmb_vid logits, lmb_vid labels)
{
    lmb_graph *teacher = NULL;
    lmb_vid out[OUTPUTS] = { LMB_NONE };
    lmb_status st;

    (void)labels;
    if (b->status != LMB_OK)
        return LMB_NONE;
    if (o->teacher->n_outputs > OUTPUTS)
        st = LMB_FAIL(b->err, LMB_E_UNSUPPORTED, "a teacher with %d outputs; %d are the most", o->teacher->n_outputs, OUTPUTS);
    else
        st = lmb_pass_rebatch(o->teacher, lmb_builder_value(b, x)->shape.d[0], &teacher, b->err);
    if (st == LMB_OK)
        st = lmb_pass_embed(b, teacher, &x, out, b->err);
    lmb_graph_destroy(teacher);
    if (st != LMB_OK) {
        b->status = st;
        return LMB_NONE;
    }
    return lmb_emit(b, "KLDivergence", "kl", LMB_IN(logits, out[0]), LMB_ATTRS(LMB_AREAL("temperature", (float)o->distill.temperature)));
}

const lmb_loss_term lmb_loss_term_kl = { "kl", "divergence from the predictions of a frozen teacher, softened",
                                         "Hinton, Vinyals, Dean 2015", weight, build };
