/* train/losses/contrastive.c - which of the teacher's answers belongs to this sample? See train/loss.h.
 *
 *   u = P_s f_student, v = P_t f_teacher, rows of length 1; z = u v' / temperature  [n, n]
 *   (cross-entropy of the rows of z + cross-entropy of its columns) / 2, the right answer on the diagonal
 * Both projections are trained along and not kept. The others of a batch are the wrong answers (InfoNCE), and with
 * `memory` also the rows of the samples that were shown last (train/memory.h): then z has as many columns more, of the
 * teacher's rows for a student's, and of the student's for a teacher's; a sample's own earlier row is left out. CRD has
 * a row of each training sample and draws wrong answers from them; here the last `memory` rows count, all of them.
 * Without one, samples are told apart within the rows that are worked off together: a
 * shard of the batch, so give large shards.
 *   source   Tian, Krishnan, Isola 2020 (CRD), arXiv:1910.10699, section 3; van den Oord et al. 2018 (InfoNCE),
 *            arXiv:1807.03748, equation 4
 */
#include <stdlib.h>

#include "train/lesson.h"
#include "train/memory.h"

static const lmb_field fields[] = {
    LMB_REAL(lmb_taught, weight, 0.8, 1e-6, 1e6, "", "in the teacher's share"),
    LMB_REAL(lmb_taught, temperature, 0.07, 1e-3, 100, "", "of the similarities"),
    LMB_INT(lmb_taught, width, 128, 1, 1 << 16, "", "of both projections"),
    LMB_INT(lmb_taught, memory, 0, 0, 1 << 20, "samples",
            "shown last that are wrong answers, too, such as 4096; more than a batch; 0: none"),
    LMB_TAUGHT_LAYERS("what the layers of the logits read"),
    LMB_FIELD_END
};

static int heads(const lmb_taught *with, const lmb_shape *student, const lmb_shape *teacher, lmb_shape *out)
{
    out[0] = LMB_SHAPE(with->width, lmb_shape_count(student) / student->d[0]);
    out[1] = LMB_SHAPE(with->width, lmb_shape_count(teacher) / teacher->d[0]);
    return 2;
}

static lmb_vid projected(lmb_builder *b, lmb_vid f, lmb_vid head)
{
    lmb_vid flat = lmb_emit(b, "Flatten", NULL, LMB_IN(f), LMB_ATTRS(LMB_AINT("axis", 1)));
    lmb_vid u = lmb_emit(b, "Gemm", "projected", LMB_IN(flat, head), LMB_ATTRS(LMB_AINT("transB", 1)));
    return lmb_emit(b, "LpNormalization", NULL, LMB_IN(u), LMB_NO_ATTRS);
}

/* mask: added to what is alike, or LMB_NONE */
static lmb_vid told_apart(const lmb_lesson *l, lmb_builder *b, lmb_vid of, lmb_vid among, lmb_vid mask, lmb_vid own)
{
    lmb_vid alike = lmb_emit(b, "Gemm", "alike", LMB_IN(of, among),
                             LMB_ATTRS(LMB_AINT("transB", 1), LMB_AREAL("alpha", (float)(1 / l->with->temperature))));
    if (mask != LMB_NONE)
        alike = lmb_emit(b, "Add", NULL, LMB_IN(alike, mask), LMB_NO_ATTRS);
    return lmb_emit(b, "SoftmaxCrossEntropyLoss", NULL, LMB_IN(alike, own), LMB_NO_ATTRS);
}

/* 0, 1, ... n-1 */
static lmb_vid numbers(lmb_builder *b, int64_t n)
{
    int64_t *i = malloc(sizeof *i * (size_t)(n + 1));

    if (!i) {
        b->status = LMB_FAIL(b->err, LMB_E_NOMEM, "no memory for %lld rows", (long long)n);
        return LMB_NONE;
    }
    for (int64_t k = 0; k < n; k++)
        i[k] = k;
    lmb_vid v = lmb_emit_value(b, LMB_ROLE_CONSTANT, "own", LMB_S64, LMB_SHAPE(n), i);
    free(i);
    return v;
}

static lmb_vid build(const lmb_lesson *l, lmb_builder *b)
{
    lmb_vid u = projected(b, l->student[0], l->head[0]), v = projected(b, l->teacher[0], l->head[1]);
    int64_t n = b->status == LMB_OK ? lmb_builder_value(b, u)->shape.d[0] : 0;
    lmb_vid own = b->status == LMB_OK ? numbers(b, n) : LMB_NONE, among[2] = { u, v }, mask = LMB_NONE;

    if (l->with->memory > 0) {
        lmb_vid where = lmb_emit_value(b, LMB_ROLE_INPUT, LMB_LOSS_FEED, LMB_F32, LMB_SHAPE(n, l->with->memory), NULL);
        const int64_t pads[4] = { 0, n, 0, 0 }; /* the batch itself stays as it is */
        mask = lmb_emit(b, "Pad", NULL, LMB_IN(lmb_memory_others(b, where), lmb_emit_ints(b, pads, 4)), LMB_NO_ATTRS);
        for (int k = 0; k < 2; k++) {
            lmb_vid last = lmb_memory_use(b, k, among[k], where);
            among[k] = lmb_emit(b, "Concat", NULL, LMB_IN(among[k], last), LMB_ATTRS(LMB_AINT("axis", 0)));
        }
    }
    lmb_vid student = told_apart(l, b, u, among[1], mask, own), teacher = told_apart(l, b, v, among[0], mask, own);
    lmb_vid both = lmb_emit(b, "Add", NULL, LMB_IN(student, teacher), LMB_NO_ATTRS);
    return lmb_emit(b, "Mul", "contrastive", LMB_IN(both, lmb_emit_scalar(b, 0.5f)), LMB_NO_ATTRS);
}

const lmb_loss_term lmb_loss_term_contrastive = {
    "contrastive",
    "which of the teacher's features, in a shard (train.shard) and of late, belong to the sample",
    "Tian et al. 2020, arXiv:1910.10699",
    fields,
    LMB_TERM_FEATURES | LMB_TERM_EMBEDDING,
    build,
    heads
};
