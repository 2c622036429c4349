/* train/losses/similarity.c - which samples the teacher finds alike. See train/loss.h.
 *
 *   S(F) = F F' with rows of length 1, F [n, everything else];   mean over n x n of (S(F_student) - S(F_teacher))^2
 * The layers may differ in every size but the rows. Samples are compared within the rows of a step that are worked off
 * together: a shard of the batch.
 *   source   Tung, Mori 2019, arXiv:1907.09682, equations 2 to 4
 */
#include "train/lesson.h"

static const lmb_field fields[] = { LMB_REAL(lmb_taught, weight, 3000, 1e-6, 1e6, "", "in the teacher's share"),
                                    LMB_TAUGHT_LAYERS("the deepest of equal height and width"), LMB_FIELD_END };

static lmb_vid similarity(lmb_builder *b, lmb_vid f)
{
    lmb_vid flat = lmb_emit(b, "Flatten", NULL, LMB_IN(f), LMB_ATTRS(LMB_AINT("axis", 1)));
    lmb_vid alike = lmb_emit(b, "Gemm", "similarity", LMB_IN(flat, flat), LMB_ATTRS(LMB_AINT("transB", 1)));
    return lmb_emit(b, "LpNormalization", NULL, LMB_IN(alike), LMB_NO_ATTRS);
}

static lmb_vid build(const lmb_lesson *l, lmb_builder *b)
{
    int last = l->n_pairs - 1;
    return lmb_lesson_apart(b, similarity(b, l->student[last]), similarity(b, l->teacher[last]));
}

const lmb_loss_term lmb_loss_term_similarity = { "similarity",
                                                 "which samples of a shard (train.shard) the teacher finds alike",
                                                 "Tung, Mori 2019, arXiv:1907.09682",
                                                 fields,
                                                 LMB_TERM_FEATURES,
                                                 build,
                                                 NULL };
