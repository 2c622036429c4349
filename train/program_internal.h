/* train/program_internal.h - the inside of a program: program.c compiles its plans and runs them, program_device.c
 * puts them on a device's queue. */
#ifndef LMB_TRAIN_PROGRAM_INTERNAL_H
#define LMB_TRAIN_PROGRAM_INTERNAL_H

#include "train/program.h"

enum { LMBI_PLANS = 16 }; /* one client of a simulated federation after another has a last batch of another size */

typedef struct lmbi_compiled {
    bool keep;       /* products as what they are products of */
    int64_t n, used; /* rows; when, on the program's clock, 0: a free place */
    lmb_graph *g;
    lmb_plan *plan;
    lmb_vid x, y, loss, logits, feed, scale; /* scale: LMB_NONE, the loss itself is what gradients are of */
    lmb_vid *source, *result; /* [segments] in g: the state value; what fills its place of the vector, or LMB_NONE */
    struct {
        lmb_vid a, b;
        float scale;
    } * product;              /* [segments] in g: what the gradient is a product of; a LMB_NONE: it is none */
    int *ready;               /* [segments] plan step after which the vector is final from this segment on         */
    const float *state;
    float *out;
    lmb_program_there far;        /* what is bound on the device */
    void (*final)(void *ctx, int first); /* of the running step */
    void *final_ctx;
    int first;                    /* segment from which its vector is final */
} lmbi_compiled;

struct lmb_program {
    const lmb_graph *model;
    lmb_loss loss;
    const lmb_backend *const *backends;
    lmb_choices *choices;
    size_t memory;   /* see lmb_program_memory */
    bool no_memory;  /* see lmb_program_describe_only */
    float scale;     /* see lmb_program_loss_scale */
    lmb_state_layout *layout;
    int classes;
    lmbi_compiled plan[LMBI_PLANS];
    int64_t clock;
    lmb_trace *trace;
    int lane;
};

/* The plan for n rows, compiled if need be. keep: products as what they are products of. */
LMB_MUST_CHECK lmb_status lmbi_program_plan_for(lmb_program *p, int64_t n, bool keep, lmbi_compiled **out,
                                                lmb_error *err);

#endif
