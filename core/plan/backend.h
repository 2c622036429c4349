/* core/plan/backend.h - how a backend offers faster kernels for ops.
 *
 * Idea: a backend is an ordered list of kernels, each for one op. Compiling a plan asks them in order; a
 * kernel accepts a call or says why not; the first that accepts is created for exactly these shapes and
 * then only runs. The reference kernel of the op (core/graph/op.h) is the end of every list.
 *
 * Layout: an activation of rank 3 or 4 may live as NCHW (plain) or NHWC, H left out. Storage: an f32 activation may be
 * kept in bf16, which the graph knows nothing of. A kernel says what each operand must be; the planner carries both
 * from step to step and converts only where two steps disagree.
 */
#ifndef LMB_CORE_PLAN_BACKEND_H
#define LMB_CORE_PLAN_BACKEND_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { LMB_LAYOUT_PLAIN, LMB_LAYOUT_NHWC } lmb_layout;

typedef struct lmb_kernel {
    const char *name; /* "onednn:conv"; shown in plans and traces */
    const char *op, *domain;
    /* true if it can run this call; otherwise *why is a static sentence. */
    bool (*accepts)(const lmb_call *c, const char **why);
    /* Layout of operand i (inputs first, then outputs; LMB_OUT); asked for operands of rank 3 and 4 only. Tensors in
     * lmb_run keep their NCHW shape; only the bytes are in the other order. NULL: plain. */
    lmb_layout (*layout)(const lmb_call *c, int operand);
    /* Type in which operand i is kept, for f32 operands: LMB_F32 or LMB_BF16; the call says f32, the tensors in lmb_run
     * say how it is kept. NULL: as the graph has it. */
    lmb_dtype (*storage)(const lmb_call *c, int operand);
    /* Prepare for these shapes. *state may stay NULL. *scratch: bytes wanted in lmb_run.scratch. */
    lmb_status (*create)(const lmb_call *c, void **state, size_t *scratch, lmb_error *err); /* may be NULL */
    lmb_status (*run)(void *state, const lmb_run *r, lmb_error *err);
    void (*destroy)(void *state); /* NULL if create is NULL */
    bool inplace;                 /* out[0] may share the memory of in[0], if no other operand does */
    bool order_free; /* operands of rank 3 and 4 and of one count may come in any one order; `layout` is not asked */
    const char *(*note)(
        const void *state); /* what was chosen inside, and why; for lmb_plan_print; "" or NULL: nothing to tell */
} lmb_kernel;

typedef struct lmb_backend {
    const char *name, *summary;
    const lmb_kernel *const *kernels; /* NULL-terminated, best first */
    struct lmb_device *device; /* where its kernels and their operands are (core/plan/device.h); NULL: the host */
    double rounding; /* relative error that its kernels may add by keeping numbers shorter than f32; 0: none. Checks
                        allow for it. */
} lmb_backend;

#ifdef __cplusplus
}
#endif
#endif
