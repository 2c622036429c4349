/* train/loss.h - what training makes small: a weighted sum of terms, one row of a table each.
 *
 *   cross_entropy  -log softmax(logits + prior)[label], with label smoothing; the labels' term
 *   kl             KL(softmax(teacher / T) || softmax(logits / T)); a frozen teacher is part of the graph
 *   dkd            the same in two parts, of the label and among the other classes
 *   attention, similarity, hint         compare feature maps of student and teacher
 *   relational, contrastive             compare what they make of the samples of a shard, behind their last layer; the
 *                                       latter also with those of a memory (memory.h)
 *
 *   loss = (1 - alpha) cross_entropy + alpha sum of (weight, T^2 for kl and dkd) term with a teacher, by default of kl
 *   alone; cross_entropy alone without
 *
 * The teacher may be a larger network (`distill`), several of them (distill/teachers.h), or the model itself as it was
 * before (a client of a federation holds on to the model of the round). A term is skipped where its weight is 0: with
 * alpha 1 labels count for nothing, but for dkd.
 *   source   Hinton, Vinyals, Dean 2015, arXiv:1503.02531; prior: Menon et al. 2021, arXiv:2007.07314
 */
#ifndef LMB_TRAIN_LOSS_H
#define LMB_TRAIN_LOSS_H

#include "core/base/field.h"
#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which samples the rows of a step are, among all that training shows. */
typedef struct lmb_place {
    int64_t shown;     /* by earlier batches of all epochs                              */
    int64_t row, rows; /* of the batch of all ranks: the first at hand, and all; 0, 0: those at hand are all */
} lmb_place;

/* Appends the loss to a training graph: x [n, ...] raw input, logits [n, classes], labels [n] s64 -> scalar. */
typedef struct lmb_loss {
    lmb_vid (*build)(void *ctx, lmb_builder *b, lmb_vid x, lmb_vid logits, lmb_vid labels);
    void *ctx;
    /* For a loss that reads numbers of its own beside the samples, such as a teacher's logits from a file: build() adds
     * an input LMB_LOSS_FEED of f32 [n, ...], and feed() fills it before each step of n rows. NULL: there is none. */
    lmb_status (*feed)(void *ctx, const lmb_step_info *info, const lmb_place *place, int64_t n, float *out,
                       lmb_error *err);
    /* Where feed() knows so many rows and no others, for each sample in each epoch, or with epochs 1 the same in all,
     * whatever their place, steps that stay on a device keep them there whole if that takes no more than `most` bytes,
     * or else in pinned memory of the host if no more than `pinned`. samples 0: it is asked in every step. */
    struct { int64_t epochs, samples; size_t most, pinned; } table;
} lmb_loss;
#define LMB_LOSS_FEED "loss.feed"

/* Cross-entropy with label smoothing (Szegedy et al. 2016): ctx points at the share in [0, 1). */
lmb_vid lmb_loss_cross_entropy(void *smoothing, lmb_builder *b, lmb_vid x, lmb_vid logits, lmb_vid labels);

/* Where the teacher's logits come from: computed in every step, or from a file (distill/logits.h). */
typedef enum { LMB_CACHE_AUTO, LMB_CACHE_FALSE, LMB_CACHE_TRUE, LMB_CACHE_PLAIN } lmb_cache_mode;
/* What the model was before: its last generation; before it was pruned, or made integers. */
#define LMB_TEACHER_SELF "self"
typedef struct lmb_distill_config {
    double alpha, temperature;
    const char *teacher;
    int64_t cache;
    const struct lmb_tree *teachers, *losses; /* NULL: `teacher` alone; kl alone */
    int64_t gpu_mb, pinned_mb;
    const struct lmb_tree *unlabelled;        /* a data set in place of the training part; NULL: that */
    int64_t generations;                      /* with LMB_TEACHER_SELF */
    int64_t precision;                        /* of the teacher in its file: LMB_TRAIN_F32 or LMB_TRAIN_BF16 */
} lmb_distill_config;
extern const lmb_field lmb_distill_fields[];
extern const char *const lmb_distill_precisions[]; /* choices of `precision` */

/* A term of the teacher's share, as configured. */
enum { LMB_TAUGHT_MAX = 8 };
typedef struct lmb_taught {
    const struct lmb_loss_term *term;
    double weight, target, others; /* the last two: dkd              */
    double distance, angle;        /* relational                     */
    double temperature; int64_t width, memory; /* contrastive        */
    const char *student, *teacher; /* values to compare; "": by size */
} lmb_taught;

/* What the terms are made of; everything is borrowed and must outlive the training. */
typedef struct lmb_objective {
    lmb_distill_config distill;
    double label_smoothing;
    const lmb_graph *teacher; /* inference form, same input and classes; NULL: the labels alone */
    const float *prior;       /* (classes) added to the logits before the labels' term: log of each class's share, so
                               * that rare classes keep their logits; NULL: none */
    /* The teacher answers so many rows at once, fewer are filled up; 0: as many as there are. Kernels, and with them
     * the last bits of an answer, depend on this number, so that it must be the same for answers that are to be
     * equal. */
    int64_t rows;
    /* Its logits from elsewhere, such as a file; NULL: computed live. */
    lmb_status (*logits)(void *ctx, const lmb_step_info *info, int64_t n, float *out, lmb_error *err);
    void *logits_ctx;
    int64_t logits_epochs, logits_samples; /* all that logits() knows (lmb_loss.table); 0: not told */
    int n_taught; /* 0: kl alone */
    lmb_taught taught[LMB_TAUGHT_MAX];
} lmb_objective;

enum {
    LMB_TERM_SOFTENED =
        1, /* of predictions at a temperature: times its square, which keeps the gradient's size whatever it is */
    LMB_TERM_FEATURES = 2,  /* looks inside the models: the teacher must run, its logits do not do */
    LMB_TERM_PLACES = 4,    /* ... at maps of equal height and width */
    LMB_TERM_MIDDLE = 8,    /* ... at the middle one of them */
    LMB_TERM_LABELS = 32,   /* reads the labels as well */
    LMB_TERM_EMBEDDING = 16 /* ... at what the last layers read */
};
struct lmb_lesson;
typedef struct lmb_loss_term {
    const char *name, *summary, *source;
    const lmb_field *fields; /* of lmb_taught; NULL: the labels' term */
    unsigned flags;
    lmb_vid (*build)(const struct lmb_lesson *l, lmb_builder *b); /* -> scalar; train/lesson.h */
    /* Shapes of the weights that are trained along with the student to make a pair comparable, at most
     * LMB_LESSON_HEADS; how many. NULL: none. */
    int (*heads)(const lmb_taught *with, const lmb_shape *student, const lmb_shape *teacher, lmb_shape *out);
} lmb_loss_term;
extern const lmb_loss_term *const lmb_loss_terms[]; /* NULL-terminated, train/loss.c */

/* Fill o->taught from o->distill.losses, whose tree it borrows: a list of names, or maps with a name and the term's
 * fields.
 *   errors  E_ARG with the place in the file; samples without labels, and a term that wants them */
LMB_MUST_CHECK lmb_status lmb_objective_bind(lmb_objective *o, lmb_error *err);
/* Does a term look inside the teacher? Then its logits from elsewhere do not do. */
bool lmb_objective_looks_inside(const lmb_objective *o);
/* E_SHAPE with both shapes when teacher and student do not go together, E_ARG for a layer that is not there; before any
 * work. */
LMB_MUST_CHECK lmb_status lmb_objective_check(const lmb_objective *o, const lmb_graph *student, lmb_error *err);
/* What is to be trained in place of `student`: a copy with the heads of o's terms as further parameters behind its own;
 * NULL: no term has any. seed: of their first weights. Then the student's share of what was trained goes back into it.
 */
LMB_MUST_CHECK lmb_status lmb_objective_prepare(const lmb_objective *o, const lmb_graph *student, uint64_t seed,
                                                lmb_graph **out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_objective_finish(const lmb_graph *prepared, lmb_graph *student, lmb_error *err);
/* The loss for lmb_trainer_create. */
lmb_loss lmb_objective_loss(lmb_objective *o);

#ifdef __cplusplus
}
#endif
#endif
