/* train/losses/relational.c - how far samples are from each other, and at what angles. See train/loss.h.
 *
 *   f [n, d] what the layer of the logits reads; e_ij = (f_j - f_i) / |f_j - f_i|
 *   distances D_ij = |f_j - f_i| / their mean;   angles A_ijk = <e_ij, e_ik>
 *   distance * mean of h(D_student - D_teacher) + angle * mean of h(A_student - A_teacher)
 *   h(x) = x^2 / 2 up to 1 and |x| - 1/2 beyond
 * The layers may differ in size: only relations are compared, among the rows of a step that are worked off together, a
 * shard of the batch. Memory grows with the cube of those rows. A distance is |d| = <d, d / |d|>, which has its
 * gradient, and none at 0.
 *   source   Park et al. 2019 (RKD), arXiv:1904.05068, equations 4 to 9, with the weights of
 *            its program
 */
#include "train/lesson.h"

static const lmb_field fields[] = { LMB_REAL(lmb_taught, weight, 1, 1e-6, 1e6, "", "in the teacher's share"),
                                    LMB_REAL(lmb_taught, distance, 25, 0, 1e6, "", "of the distances"),
                                    LMB_REAL(lmb_taught, angle, 50, 0, 1e6, "", "of the angles; 0: they are not made"),
                                    LMB_TAUGHT_LAYERS("what the layers of the logits read"), LMB_FIELD_END };

static lmb_vid times(lmb_builder *b, lmb_vid a, lmb_vid c)
{
    return lmb_emit(b, "Mul", NULL, LMB_IN(a, c), LMB_NO_ATTRS);
}

/* Mean of h(x - y). With c = x - y within -1 and 1: h = c ((x - y) - c / 2). */
static lmb_vid apart(lmb_builder *b, lmb_vid x, lmb_vid y)
{
    lmb_vid d = lmb_emit(b, "Sub", NULL, LMB_IN(x, y), LMB_NO_ATTRS);
    lmb_vid c = lmb_emit(b, "Clip", NULL, LMB_IN(d, lmb_emit_scalar(b, -1), lmb_emit_scalar(b, 1)), LMB_NO_ATTRS);
    lmb_vid rest = lmb_emit(b, "Sub", NULL, LMB_IN(d, times(b, c, lmb_emit_scalar(b, 0.5f))), LMB_NO_ATTRS);
    return lmb_emit(b, "ReduceMean", "apart", LMB_IN(times(b, c, rest)), LMB_ATTRS(LMB_AINT("keepdims", 0)));
}

typedef struct relations { lmb_vid distance /* [n, n] */, unit /* [n, n, d] */; } relations;

static relations relations_of(lmb_builder *b, lmb_vid f)
{
    lmb_vid flat = lmb_emit(b, "Flatten", NULL, LMB_IN(f), LMB_ATTRS(LMB_AINT("axis", 1)));
    if (b->status != LMB_OK)
        return (relations){ LMB_NONE, LMB_NONE };
    int64_t n = lmb_builder_value(b, flat)->shape.d[0], d = lmb_builder_value(b, flat)->shape.d[1];
    lmb_vid row = lmb_emit(b, "Reshape", NULL, LMB_IN(flat, lmb_emit_ints(b, (int64_t[]){ 1, n, d }, 3)), LMB_NO_ATTRS);
    lmb_vid column =
        lmb_emit(b, "Reshape", NULL, LMB_IN(flat, lmb_emit_ints(b, (int64_t[]){ n, 1, d }, 3)), LMB_NO_ATTRS);
    lmb_vid all = lmb_emit(b, "Sub", "differences", LMB_IN(row, column), LMB_NO_ATTRS);
    lmb_vid unit = lmb_emit(b, "LpNormalization", NULL, LMB_IN(all), LMB_NO_ATTRS);
    lmb_vid far =
        lmb_emit(b, "ReduceSum", "distances", LMB_IN(times(b, all, unit), lmb_emit_ints(b, (int64_t[]){ 2 }, 1)),
                 LMB_ATTRS(LMB_AINT("keepdims", 0)));
    /* The mean is of pairs of two; where all are one, 0 / a little is 0. */
    lmb_vid mean = times(b, lmb_emit(b, "ReduceSum", NULL, LMB_IN(far), LMB_ATTRS(LMB_AINT("keepdims", 0))),
                         lmb_emit_scalar(b, n > 1 ? 1 / (float)(n * (n - 1)) : 1));
    mean = lmb_emit(b, "Add", NULL, LMB_IN(mean, lmb_emit_scalar(b, 1e-12f)), LMB_NO_ATTRS);
    return (relations){ lmb_emit(b, "Div", NULL, LMB_IN(far, mean), LMB_NO_ATTRS), unit };
}

static lmb_vid angles(lmb_builder *b, lmb_vid unit)
{
    lmb_vid across = lmb_emit(b, "Transpose", NULL, LMB_IN(unit), LMB_ATTRS(LMB_AINTS("perm", 0, 2, 1)));
    return lmb_emit(b, "MatMul", "angles", LMB_IN(unit, across), LMB_NO_ATTRS);
}

static lmb_vid build(const lmb_lesson *l, lmb_builder *b)
{
    relations s = relations_of(b, l->student[0]), t = relations_of(b, l->teacher[0]);
    lmb_vid sum = times(b, apart(b, s.distance, t.distance), lmb_emit_scalar(b, (float)l->with->distance));

    if (l->with->angle > 0) {
        lmb_vid turned =
            times(b, apart(b, angles(b, s.unit), angles(b, t.unit)), lmb_emit_scalar(b, (float)l->with->angle));
        sum = lmb_emit(b, "Add", "relational", LMB_IN(sum, turned), LMB_NO_ATTRS);
    }
    return sum;
}

const lmb_loss_term lmb_loss_term_relational = { "relational",
                                                 "distances and angles among the samples of a shard (train.shard)",
                                                 "Park et al. 2019, arXiv:1904.05068",
                                                 fields,
                                                 LMB_TERM_FEATURES | LMB_TERM_EMBEDDING,
                                                 build,
                                                 NULL };
