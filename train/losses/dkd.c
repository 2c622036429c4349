/* train/losses/dkd.c - the teacher's predictions in two parts: of the label, and among the other classes. See
 * train/loss.h.
 *
 * In plain divergence the second part counts the less the surer the teacher is, and it is the part from which a student
 * learns how classes resemble each other. Here each has a weight of its own. The labels say which class is which part:
 * alpha 1 does not make this one free of labels.
 *   source   Zhao et al. 2022, arXiv:2203.08679: target 1, others 2 to 8 by how sure the teacher is; theirs grows to
 *            its weight over 20 epochs, which others of 2 can do without
 */
#include "train/lesson.h"

static const lmb_field fields[] = {
    LMB_REAL(lmb_taught, weight, 1, 1e-6, 1e6, "", "in the teacher's share, times temperature squared"),
    LMB_REAL(lmb_taught, target, 1, 0, 1e3, "", "of how sure the teacher is of the label"),
    LMB_REAL(lmb_taught, others, 2, 0, 1e3, "", "of how it ranks the other classes; 2 to 8, more for a surer teacher"),
    LMB_FIELD_END
};

static lmb_vid build(const lmb_lesson *l, lmb_builder *b)
{
    return lmb_emit(b, "DecoupledKL", "dkd", LMB_IN(l->logits, l->answers, l->labels),
                    LMB_ATTRS(LMB_AREAL("temperature", (float)l->o->distill.temperature),
                              LMB_AREAL("alpha", (float)l->with->target), LMB_AREAL("beta", (float)l->with->others)));
}

const lmb_loss_term lmb_loss_term_dkd = {
    "dkd",
    "the same divergence, of the label's share and among the other classes, each with a weight",
    "Zhao et al. 2022, arXiv:2203.08679",
    fields,
    LMB_TERM_SOFTENED | LMB_TERM_LABELS,
    build,
    NULL
};
