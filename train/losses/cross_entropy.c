/* train/losses/cross_entropy.c - the labels' term. See train/loss.h.
 *
 * With a prior the logits are shifted by the log of each class's share before the softmax: where training sees a class
 * rarely, its logit need not fall to say so, and what is learned is fit for classes that are equally frequent.
 */
#include "train/lesson.h"

lmb_vid lmb_loss_cross_entropy(void *smoothing, lmb_builder *b, lmb_vid x, lmb_vid logits, lmb_vid labels)
{
    float share = smoothing ? (float)*(const double *)smoothing : 0;
    lmb_vid hard = lmb_emit(b, "SoftmaxCrossEntropyLoss", "cross_entropy", LMB_IN(logits, labels), LMB_NO_ATTRS);

    (void)x;
    if (share == 0)
        return hard;
    lmb_vid even =
        lmb_emit(b, "ReduceMean", "even", LMB_IN(lmb_emit(b, "LogSoftmax", NULL, LMB_IN(logits), LMB_NO_ATTRS)),
                 LMB_ATTRS(LMB_AINT("keepdims", 0)));
    return lmb_emit(b, "Sub", "smoothed",
                    LMB_IN(lmb_emit(b, "Mul", NULL, LMB_IN(hard, lmb_emit_scalar(b, 1 - share)), LMB_NO_ATTRS),
                           lmb_emit(b, "Mul", NULL, LMB_IN(even, lmb_emit_scalar(b, share)), LMB_NO_ATTRS)),
                    LMB_NO_ATTRS);
}

static lmb_vid build(const lmb_lesson *l, lmb_builder *b)
{
    const lmb_objective *o = l->o;
    lmb_vid logits = l->logits;

    if (o->prior && b->status == LMB_OK) {
        lmb_shape s = LMB_SHAPE(1, lmb_builder_value(b, logits)->shape.d[1]);
        logits =
            lmb_emit(b, "Add", "calibrated",
                     LMB_IN(logits, lmb_emit_value(b, LMB_ROLE_CONSTANT, "prior", LMB_F32, s, o->prior)), LMB_NO_ATTRS);
    }
    double smoothing = o->label_smoothing;
    return lmb_loss_cross_entropy(&smoothing, b, LMB_NONE, logits, l->labels);
}

const lmb_loss_term lmb_loss_term_cross_entropy = { "cross_entropy",
                                                    "the labels, with smoothing and a prior of the classes",
                                                    "Szegedy et al. 2016; Menon et al. 2021",
                                                    NULL,
                                                    0,
                                                    build,
                                                    NULL };
