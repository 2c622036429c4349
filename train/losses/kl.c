/* train/losses/kl.c - the teacher's predictions as they are, softened. See train/loss.h. */
#include "train/lesson.h"

static const lmb_field fields[] = {
    LMB_REAL(lmb_taught, weight, 1, 1e-6, 1e6, "", "in the teacher's share, times temperature squared"), LMB_FIELD_END
};

static lmb_vid build(const lmb_lesson *l, lmb_builder *b)
{
    return lmb_emit(b, "KLDivergence", "kl", LMB_IN(l->logits, l->answers),
                    LMB_ATTRS(LMB_AREAL("temperature", (float)l->o->distill.temperature)));
}

const lmb_loss_term lmb_loss_term_kl = { "kl", "divergence from the predictions of a frozen teacher, softened",
                                         "Hinton, Vinyals, Dean 2015", fields, LMB_TERM_SOFTENED, build, NULL };
