/* distill/loss.h - losses against a teacher: one graph of frozen teacher, student and loss.
 *
 *   kl    (1 - alpha) cross-entropy + alpha T^2 KL(softmax(teacher / T) || softmax(student / T))
 *   source   Hinton, Vinyals, Dean 2015, arXiv:1503.02531
 */
#ifndef LMB_DISTILL_LOSS_H
#define LMB_DISTILL_LOSS_H

#include "core/base/field.h"
#include "train/program.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where the teacher's logits come from: computed in every step, or from a file (distill/logits.h). */
typedef enum { LMB_CACHE_AUTO, LMB_CACHE_FALSE, LMB_CACHE_TRUE, LMB_CACHE_PLAIN } lmb_cache_mode;
typedef struct lmb_distill_config { double alpha, temperature; const char *teacher; int64_t cache; } lmb_distill_config;
extern const lmb_field lmb_distill_fields[];

/* Storage of a distillation loss; everything is borrowed and must outlive the training. */
typedef struct lmb_distill {
    lmb_distill_config config;
    double label_smoothing;
    const lmb_graph *teacher; /* inference form, same input and classes as the student */
    /* It answers so many rows at once, fewer are filled up; 0: as many as there are. Kernels, and with them the last bits of
     * an answer, depend on this number, so that it must be the same for answers that are to be equal. */
    int64_t rows;
    /* Its logits from elsewhere, such as a file (distill/logits.h); NULL: computed live. */
    lmb_status (*logits)(void *ctx, const lmb_step_info *info, int64_t n, float *out, lmb_error *err);
    void *logits_ctx;
} lmb_distill;

/* E_SHAPE with both shapes when teacher and student do not go together; before any work. */
LMB_MUST_CHECK lmb_status lmb_distill_check(const lmb_distill *d, const lmb_graph *student, lmb_error *err);
/* The loss for lmb_trainer_create. */
lmb_loss lmb_distill_loss(lmb_distill *d);

#ifdef __cplusplus
}
#endif
#endif
