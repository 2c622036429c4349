/* core/plan/device_step.h - what a device does of a training step besides the plan's kernels: sums of shards, the
 * gradient's norm, the optimizer's step, averages of weights.
 *
 * Idea: everything a training changes lies on the device in vectors of one layout of its own, whose segments begin at
 * multiples of LMB_STEP_ALIGN numbers (libraries read 16 bytes at once); a table there cuts it into chunks of at most
 * LMB_STEP_CHUNK numbers of one segment, and one launch goes over all of them, a team a chunk. What differs from step
 * to step (rate, epoch, step number) is read from lmb_step_now in device memory and nothing from arguments, so that a
 * recorded step stays valid.
 *
 *   norm      sums of squares of the chunks, added up in their order, as train/parts.h does; on a GPU a tree's order
 *   failing   a norm that is not finite is kept in the tally, and from then on no step moves anything
 *   source    the rules are those of train/optimizers, number by number in the same order of operations
 */
#ifndef LMB_CORE_PLAN_DEVICE_STEP_H
#define LMB_CORE_PLAN_DEVICE_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/graph/op.h"
#include "core/plan/picture.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_STEP_CHUNK = 1024, LMB_STEP_ALIGN = 64, LMB_STEP_SLOTS = 3 };
#define LMB_SAM_LEAST 1e-12 /* beside the norm that sharpness-aware steps divide by: a gradient of 0 moves nothing */
/* In front of a gradient vector: sums over samples, at these places. */
enum { LMB_STEP_HEAD = 64, LMB_STEP_LOSS = 0, LMB_STEP_CORRECT = 1 };

typedef enum { LMB_RULE_SGD, LMB_RULE_ADAM, LMB_RULE_ADAMW, LMB_RULE_ADAGRAD, LMB_RULE_RMSPROP } lmb_rule_kind;

/* An optimizer's step number t at rate lr: an optimizer's row fills it (train/optimizer.h). What a row has no use for
 * is 0. */
typedef struct lmb_rule {
    lmb_rule_kind kind;
    uint32_t nesterov;
    double lr, weight_decay, l1; /* times a segment's decay they become the row's constants */
    float rate, eps, root;
    float a, b;   /* memories: of momentum or mean, of squares; rmsprop: of squares, momentum */
    float ca, cb; /* what is new of them */
} lmb_rule;

/* In device memory: what one step knows that the next one does not. */
typedef struct lmb_step_now {
    lmb_step_there there; /* first: what plans read */
    lmb_rule rule;
    int64_t step;     /* from 0 */
    double clip;      /* largest norm; 0: none */
    double rho;       /* how far CLIMB goes */
    float unscale;    /* gradients are of the loss over this */
    float keep, pull; /* of the averaged weights; towards the anchor */
} lmb_step_now;

/* In device memory: what steps leave, fetched now and then. */
typedef struct lmb_step_tally {
    double loss; /* sum over samples of the running epoch */
    int64_t correct;
    double norm;    /* of the last gradient                  */
    int64_t failed; /* the step whose norm is not finite; -1 */
    double rate;    /* its learning rate                     */
    float shrink;   /* of the last gradient, by clipping     */
    float way;      /* rho over the first pass' norm         */
} lmb_step_tally;

/* What happens to a chunk: an optimizer's step; the vector's content is the new one; nothing. */
typedef enum { LMB_CHUNK_TRAIN, LMB_CHUNK_NEXT, LMB_CHUNK_KEEP } lmb_chunk_kind;

typedef struct lmb_step_chunk {
    uint64_t at;   /* first number in vectors of the device's layout */
    uint64_t slot; /* and in what the optimizer remembers            */
    int32_t n;
    uint8_t kind, reduce; /* lmb_chunk_kind, lmb_reduce */
    uint8_t counts;       /* in the norm */
    uint8_t own;          /* this rank steps it */
    float decay;
    int32_t unused;
} lmb_step_chunk;

typedef enum {
    LMB_WORK_CLEAR,   /* vector = what changes no sum, minimum or maximum, head included */
    LMB_WORK_COUNT,   /* head of the vector = loss * rows, rows whose largest logit is the label */
    LMB_WORK_WEIGH,   /* chunks [first, last) of the vector *= share, but minima and maxima */
    LMB_WORK_MERGE,   /* chunks [first, last) of the vector += from (or their least, largest); `head` as well */
    LMB_WORK_SQUARES, /* own chunks: gradients *= unscale, add pull and shift; part[chunk] = sum of squares, 0 of
                       * others */
    LMB_WORK_DECIDE,  /* norm from part[0, last), clipping, failure; the vector's head into the tally */
    LMB_WORK_MOVE,    /* own chunks: the optimizer's step, new content, the average */
    /* Between two passes of a sharpness-aware step (train/sam.c); then MOVE and SQUARES find weights and new content
     * in `kept`, and DECIDE leaves the head alone. After a failed step CLIMB keeps all the same what MOVE takes. */
    LMB_WORK_SLOPE,   /* own chunks: gradients *= unscale and, if `adaptive`, size of the weight; part[chunk] = sum of
                       * squares */
    LMB_WORK_AIM,     /* norm from part[0, last), the way, failure; the vector's head into the tally */
    LMB_WORK_CLIMB,   /* own chunks: kept = weights, which then go up the vector; or the vector's new content */
    LMB_WORK_ROWS,    /* vector [rows, classes] = rows `sample` of epoch now->there.epoch modulo `last` of the table
                       * from [last, samples, classes]; of a sample that is not there, what is no number */
    LMB_WORK_PICTURES, /* vector [rows, channels, height, width] = the changed images as floats */
    LMB_WORK_KINDS
} lmb_work_kind;

/* One piece of work: operands in device memory, `vector` from its head on. What a kind does not use is left out. */
typedef struct lmb_step_work {
    lmb_work_kind kind;
    int first, last; /* chunks */
    bool head;       /* with MERGE: the sums over samples as well */
    float share;
    const lmb_step_chunk *chunk;
    const lmb_step_now *now;
    lmb_step_tally *tally;
    float *vector, *state, *ema; /* ema NULL: none */
    float *slot[LMB_STEP_SLOTS];
    const float *from, *anchor, *shift; /* anchor, shift NULL: none */
    float *kept;                        /* as what the optimizer remembers; NULL: there is one pass */
    bool adaptive;
    double *part;                       /* [chunks] */
    const float *loss, *logits;         /* COUNT: [1], [rows, classes] */
    const int64_t *label;               /* [rows] */
    int rows, classes;
    const uint32_t *sample;               /* ROWS: [rows] */
    int64_t samples;
    /* PICTURES: [rows, channels, height, width], NCHW; and what happens to each: [rows], NULL: nothing */
    const uint8_t *pixels;
    const lmb_picture_change *change;
    bool operations; /* some changes may have some */
    int channels, height, width;
} lmb_step_work;

#ifdef __cplusplus
}
#endif
#endif
