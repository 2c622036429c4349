/* train/losses/attention.c - where the teacher looks: its feature maps without their channels. See train/loss.h.
 *
 *   a(F) = m / |m|_2, m[h, w] = mean over channels of F^2;   mean over rows and places of (a(F_student) -
 *                                                            a(F_teacher))^2
 * summed over the pairs of layers, which may differ in channels but not in height and width.
 *   source   Zagoruyko, Komodakis 2017, arXiv:1612.03928, equation 2, with the normalisation and the weight of its
 *            program
 */
#include "train/lesson.h"

static const lmb_field fields[] = { LMB_REAL(lmb_taught, weight, 1000, 1e-6, 1e6, "", "in the teacher's share"),
                                    LMB_TAUGHT_LAYERS("all of equal height and width"), LMB_FIELD_END };

/* F [n, c, h, w] -> [n, h w] */
static lmb_vid attention(lmb_builder *b, lmb_vid f)
{
    lmb_vid square = lmb_emit(b, "Mul", NULL, LMB_IN(f, f), LMB_NO_ATTRS);
    lmb_vid map = lmb_emit(b, "ReduceMean", "attention", LMB_IN(square),
                           LMB_ATTRS(LMB_AINTS("axes", 1), LMB_AINT("keepdims", 0)));
    lmb_vid flat = lmb_emit(b, "Flatten", NULL, LMB_IN(map), LMB_ATTRS(LMB_AINT("axis", 1)));
    return lmb_emit(b, "LpNormalization", NULL, LMB_IN(flat), LMB_NO_ATTRS);
}

static lmb_vid build(const lmb_lesson *l, lmb_builder *b)
{
    lmb_vid sum = LMB_NONE;

    for (int i = 0; i < l->n_pairs; i++) {
        lmb_vid apart = lmb_lesson_apart(b, attention(b, l->student[i]), attention(b, l->teacher[i]));
        sum = i ? lmb_emit(b, "Add", NULL, LMB_IN(sum, apart), LMB_NO_ATTRS) : apart;
    }
    return sum;
}

const lmb_loss_term lmb_loss_term_attention = { "attention",
                                                "where in an image the teacher's feature maps are large",
                                                "Zagoruyko, Komodakis 2017, arXiv:1612.03928",
                                                fields,
                                                LMB_TERM_FEATURES | LMB_TERM_PLACES,
                                                build,
                                                NULL };
