/* core/plan/plan.h - decide, then run: a graph compiled into a flat list of steps.
 *
 * Idea: compiling chooses every kernel and layout and places every byte in one arena; running allocates
 * nothing, decides nothing and fails only if a kernel does. A plan is one thread of execution with its own
 * memory: to use two threads, compile two plans of the same graph.
 *
 *   bind      inputs, state and outputs may point at the caller's memory (the state vector is bound as a
 *             whole). Unbound inputs and outputs live in the plan. Bound memory is plain (ONNX) layout.
 *   owns      a plan borrows the graph, which must outlive it
 *   threads   one run at a time on a plan; different plans are independent
 */
#ifndef LMB_CORE_PLAN_PLAN_H
#define LMB_CORE_PLAN_PLAN_H

#include "core/base/trace.h"
#include "core/graph/state.h"
#include "core/plan/backend.h"
#include "core/plan/choice.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_plan lmb_plan;

typedef struct lmb_plan_options {
    const lmb_backend *const
        *backends; /* NULL-terminated, best first; NULL: reference kernels only; all of one device */
    bool update_state;                  /* also compute the `next` of state (a training step)              */
    size_t max_bytes;                   /* refuse an arena larger than this; 0: no limit                   */
    bool no_memory;                     /* only to be described: takes no memory for the arena, can not run */
    bool no_reuse;                      /* give each value memory of its own (to find planner bugs)        */
    bool frozen_exact;    /* what depends on no trained parameter (a teacher) is kept in the graph's types */
    lmb_choices *choices; /* borrowed while compiling: kernels found by measuring; NULL: the fixed choice */
    bool small_memory;    /* cheap feature maps are computed again for the backward pass: core/passes/recompute.h */
    const lmb_vid *later; /* [n_later] inputs that come later than the others: see lmb_plan_run_part */
    int n_later;
    bool no_fusion;                     /* run the graph as it is; else, with backends, core/passes/fuse.h  */
} lmb_plan_options;

LMB_MUST_CHECK lmb_status lmb_plan_compile(const lmb_graph *g, const lmb_plan_options *o, lmb_plan **out,
                                           lmb_error *err);
void lmb_plan_destroy(lmb_plan *p);

/* Point an INPUT, state value, graph output or `next` value at memory of the caller (plain layout, bytes of
 * its type; 4-byte aligned is enough). NULL: back to the plan's own. */
LMB_MUST_CHECK lmb_status lmb_plan_bind(lmb_plan *p, lmb_vid v, void *memory, lmb_error *err);
/* Bind every state value to its place in a state vector. */
LMB_MUST_CHECK lmb_status lmb_plan_bind_state(lmb_plan *p, const lmb_state_layout *l, float *state, lmb_error *err);
/* The same with memory of the plan's device, aligned to 64 bytes: what lies there is neither sent nor fetched. NULL: no
 * more. */
LMB_MUST_CHECK lmb_status lmb_plan_bind_there(lmb_plan *p, lmb_vid v, void *memory, lmb_error *err);
/* Where a value's bytes are (its own or bound memory); NULL if the plan does not hold it at the end. */
void *lmb_plan_data(const lmb_plan *p, lmb_vid v);

/* Run all steps. `step` may be NULL when the graph draws no random numbers. */
LMB_MUST_CHECK lmb_status lmb_plan_run(lmb_plan *p, const lmb_step_info *step, lmb_error *err);
/* A run in two parts, with as much time in between as the caller likes: 0: all up to the first step that needs one of
 * the inputs `later`, and the outputs made so far; 1: the rest. On a device: lmb_plan_enqueue_part. */
LMB_MUST_CHECK lmb_status lmb_plan_run_part(lmb_plan *p, int part, const lmb_step_info *step, lmb_error *err);
/* Put all steps on the device's queue and return: nothing is sent, fetched or waited for. Every input must be bound
 * there; outputs that are not stay where only the device sees them.
 *   step    `sample` in memory of the device
 *   there   in memory of the device, read as the steps run: so a recorded run can be replayed with another seed and
 *           epoch
 *   errors  E_UNSUPPORTED: no device, or a step has no kernel there and would make a trip to the host */
LMB_MUST_CHECK lmb_status lmb_plan_enqueue(lmb_plan *p, const lmb_step_info *step, const lmb_step_there *there,
                                           lmb_error *err);
/* Part 0 or 1 of a run in the same way: lmb_plan_run_part. */
LMB_MUST_CHECK lmb_status lmb_plan_enqueue_part(lmb_plan *p, int part, const lmb_step_info *step,
                                                const lmb_step_there *there, lmb_error *err);
/* Called after each step, or, by lmb_plan_enqueue, as soon as it is on the queue; a trainer starts reducing a bucket
 * once its gradients are there. NULL: none. */
void lmb_plan_on_step(lmb_plan *p, void (*fn)(void *ctx, int step), void *ctx);
int lmb_plan_steps(const lmb_plan *p);
/* Index of the last step that writes or reads value v: after it the caller may take bound memory back; -1: none. */
int lmb_plan_ready(const lmb_plan *p, lmb_vid v);

typedef struct lmb_plan_info {
    size_t arena_bytes;    /* activations, own inputs and outputs, converted forms  */
    size_t live_bytes;     /* lower bound: most bytes alive at one step              */
    size_t scratch_bytes;  /* part of the arena: largest scratch of a kernel         */
    size_t state_bytes;    /* state and constants                                    */
    lmb_cost cost;         /* of all steps                                           */
    int steps, conversions;/* steps; of these, conversions of layout or storage type */
    bool replayed;         /* steps were timed on a device, in a run without pauses in between */
} lmb_plan_info;
lmb_plan_info lmb_plan_describe(const lmb_plan *p);

struct lmb_str;
/* Append one line a step: number, kernel, node, types, MACs, offset; refused kernels with their reason. */
void lmb_plan_print(const lmb_plan *p, struct lmb_str *out);

/* Time spent in each step since the last reset, for `limbeck inspect --time` and `limbeck bench`; off by default. On a
 * device by its own clock, the first run of a plan excepted (device_time.c); lmb_plan_enqueue is not timed. */
void lmb_plan_timing(lmb_plan *p, bool on);

/* Leave a span for each step of a run on `lane`, as long as the trace wants fine spans. Borrowed; NULL: none. */
void lmb_plan_trace(lmb_plan *p, lmb_trace *t, int lane);

/* One step, for tools. Strings belong to the plan. */
typedef struct lmb_plan_step {
    const char *
        kernel; /* "reference" when no backend took the node; "layout", "cast", "layout+cast" and "copy" have no node */
    const char *node, *op; /* op NULL: no node                                                          */
    const char *refused; /* why the best kernel declined, or NULL                                       */
    lmb_dtype dtype;     /* in which the first output that is made is kept                              */
    lmb_shape shape;
    lmb_cost cost;
    double seconds, best; /* since the last reset: mean and shortest run; 0 while timing is off          */
} lmb_plan_step;
lmb_plan_step lmb_plan_step_at(const lmb_plan *p, int step); /* step in [0, lmb_plan_steps) */

/* Compile with reference kernels, bind nothing, run once, copy output `name` out: for folding constants,
 * tests and small graphs. `out` is caller storage of the output's bytes. */
LMB_MUST_CHECK lmb_status lmb_plan_eval(const lmb_graph *g, const char *output, void *out, size_t bytes,
                                        lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
