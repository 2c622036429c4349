/* train/losses/hint.c - what the teacher sees in the middle, guessed from what the student sees there. See
 * train/loss.h.
 *
 *   mean of (r(F_student) - F_teacher)^2, r a 1x1 convolution that is trained along and not kept
 *
 * The two feature maps may differ in channels but not in height and width; by default they are the middle ones of the
 * sizes that both networks have.
 *   source   Romero et al. 2015 (FitNets), arXiv:1412.6550, equation 3; mean in place of the sum, as others have it
 */
#include "train/lesson.h"

static const lmb_field fields[] = { LMB_REAL(lmb_taught, weight, 100, 1e-6, 1e6, "", "in the teacher's share"),
                                    LMB_TAUGHT_LAYERS("the middle one of equal height and width"), LMB_FIELD_END };

static int heads(const lmb_taught *with, const lmb_shape *student, const lmb_shape *teacher, lmb_shape *out)
{
    (void)with;
    out[0] = LMB_SHAPE(teacher->d[1], student->d[1], 1, 1);
    return 1;
}

static lmb_vid build(const lmb_lesson *l, lmb_builder *b)
{
    lmb_vid guess = lmb_emit(b, "Conv", "guess", LMB_IN(l->student[0], l->head[0]), LMB_NO_ATTRS);
    return lmb_lesson_apart(b, guess, l->teacher[0]);
}

const lmb_loss_term lmb_loss_term_hint = { "hint",
                                           "a feature map of the teacher's, guessed from the student's by a regressor",
                                           "Romero et al. 2015, arXiv:1412.6550",
                                           fields,
                                           LMB_TERM_FEATURES | LMB_TERM_PLACES | LMB_TERM_MIDDLE,
                                           build,
                                           heads };
