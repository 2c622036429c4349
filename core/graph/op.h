/* core/graph/op.h - what it takes to be an operator.
 *
 * Idea: an op is one const struct in one file of core/ops: its ONNX meaning, shape inference, gradient,
 * cost, how its axes relate, and a plain-C reference kernel. Shapes are decided once, when the node is
 * appended; running it afterwards cannot fail for shape reasons. Backends offer faster kernels for an op
 * by name (core/plan/backend.h); the reference is always there and is what they are checked against.
 *
 * Ops with domain "" mean what ONNX opset `since` (at most 13, unless the op is newer) says; the importer
 * decomposes older and newer forms. Ops of the domain "limbeck" are ours: gradients, fused and integer ops.
 */
#ifndef LMB_CORE_GRAPH_OP_H
#define LMB_CORE_GRAPH_OP_H

#include "core/base/random.h"
#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_MAX_IN = 16, LMB_MAX_OUT = 8 };

/* One attribute: its ONNX name, where it lives in the op's attribute struct, and its default.
 *   INT int64_t, REAL float, INTS lmb_ints, TEXT const char * (owned by the graph) */
typedef struct lmb_attr_row {
    const char *name; /* NULL ends the rows */
    lmb_attr_kind kind;
    size_t offset;
    bool required;
    int64_t def_i;
    float def_f;
    const char *def_s;
} lmb_attr_row;
#define LMB_A_INT(S, m, def) { #m, LMB_ATTR_INT, offsetof(S, m), false, (def), 0, NULL }
#define LMB_A_REAL(S, m, def) { #m, LMB_ATTR_REAL, offsetof(S, m), false, 0, (def), NULL }
#define LMB_A_INTS(S, m) { #m, LMB_ATTR_INTS, offsetof(S, m), false, 0, 0, NULL }
#define LMB_A_TEXT(S, m, def) { #m, LMB_ATTR_TEXT, offsetof(S, m), false, 0, 0, (def) }
#define LMB_A_END { NULL, LMB_ATTR_INT, 0, false, 0, 0, NULL }

/* Static type of an operand. `data` is set only for constants (a Reshape's target shape, a scale). */
typedef struct lmb_type {
    bool present;
    lmb_dtype dtype;
    lmb_shape shape;
    const void *data;
} lmb_type;

/* A node seen through its types: what inference, cost and kernel choice look at. */
typedef struct lmb_call {
    const char *node; /* for messages */
    const struct lmb_op *op;
    const void *attr;
    int n_in, n_out;
    const lmb_type *in;
    lmb_type *out; /* inference fills dtype and shape; present = somebody reads it */
} lmb_call;

/* Sums inside a step over all ranks that run it, each on rows of its own; all call sum() in the same order. */
typedef struct lmb_rank_sums {
    void *ctx;
    lmb_status (*sum)(void *ctx, double *v, size_t n, lmb_error *err); /* every rank gets the same bits */
    double share; /* of the batch that this rank's rows are: what its loss is weighed with */
    /* The same for v in a device's memory, put on the queue of its kernels. NULL: there are none. */
    lmb_status (*sum_there)(void *ctx, double *v, size_t n, lmb_error *err);
} lmb_rank_sums;

/* What a step of training needs to know to draw the same random numbers everywhere. */
typedef struct lmb_step_info {
    uint64_t seed;
    uint32_t epoch;
    const uint32_t *sample; /* [batch] global index of each row of the batch; NULL: the row number */
    const lmb_rank_sums *ranks; /* NULL: one rank */
} lmb_step_info;

/* The same where a recorded run finds it: what changes from step to step can be no argument of a kernel. */
typedef struct lmb_step_there {
    uint64_t seed;
    uint32_t epoch, unused;
} lmb_step_there;

/* The operands of one execution. Data NULL: left out (input) or not wanted (output). */
typedef struct lmb_run {
    const void *attr;
    int n_in, n_out;
    const lmb_tensor *in;
    const lmb_tensor *out;
    void *scratch; /* as many bytes as asked for; contents undefined on entry; 64-byte aligned */
    const lmb_step_info *step; /* never NULL */
    void *queue; /* of a device: kernels put their work there, and operands lie in its memory; NULL: the host */
    const lmb_step_there
        *there; /* NULL, or in the device's memory, and read by kernels as they run, instead of `step` */
} lmb_run;

typedef struct lmb_cost {
    double macs;  /* multiply-accumulates of convolutions and matrix products          */
    double flops; /* all arithmetic, a MAC counts 2                                    */
    double bytes; /* operands read and written once; filled by lmb_call_cost, not by ops */
} lmb_cost;

struct lmb_builder;
/* Gradient rule: given d(loss)/d(output) for each output (LMB_NONE: that output does not matter), set
 * din[i] for every input with wanted[i]; leave LMB_NONE where the gradient is zero. */
typedef struct lmb_grad {
    struct lmb_builder *b; /* appends to the graph that holds `node` */
    const lmb_node *node;
    const lmb_vid *dout;   /* [n_out] */
    const bool *wanted;    /* [n_in]  */
    lmb_vid *din;          /* [n_in]  */
} lmb_grad;

/* Axis relations, for pruning. tie(a, ax, b, bx, offset, block): index i of axis ax of operand a goes
 * with the indices [offset + i * block, offset + (i + 1) * block) of axis bx of operand b. Operands are
 * numbered inputs first, then outputs: LMB_OUT(c, 0) is the first output. An axis that no tie mentions is
 * free inside the op (a convolution's kernel height) and may not be pruned unless another op ties it;
 * fix(a, ax) says that it must not be pruned at all. Axes that the op sums over (input channels of a
 * convolution: x axis 1 with W axis 1) are tied like any other. */
typedef struct lmb_axes {
    void *ctx;
    void (*tie)(void *ctx, int a, int a_axis, int b, int b_axis, int64_t offset, int64_t block);
    void (*fix)(void *ctx, int a, int a_axis);
} lmb_axes;
#define LMB_OUT(call, i) ((call)->n_in + (i))

enum {
    LMB_OP_ELEMENTWISE = 1, /* out[0][i] depends on in[k][i] and on single-element operands only   */
    LMB_OP_INPLACE = 2,     /* out[0] may share the memory of in[0] if the types agree              */
    LMB_OP_VIEW = 4,        /* out[0] is the bytes of in[0] with another shape                      */
    LMB_OP_RANDOM = 8,      /* reads lmb_run.step                                                   */
    LMB_OP_ORDER_FREE = 32, /* the order of in[0]'s elements does not matter (minimum, maximum)       */
    LMB_OP_BROADCAST = 16   /* in[0], in[1] broadcast; elementwise when their shapes are equal      */
};

typedef struct lmb_op {
    const char *name, *domain; /* "Conv", "" or "limbeck"                             */
    const char *summary, *source;
    int since;                 /* ONNX opset, 0 in our own domain                      */
    int min_in, max_in, min_out, max_out;
    unsigned flags;
    size_t attr_size;
    const lmb_attr_row *attrs; /* may be NULL */
    /* Check operands and attributes, fill c->out[0 .. n_out). Messages need not name the node. */
    lmb_status (*infer)(const lmb_call *c, lmb_error *err);
    lmb_status (*grad)(lmb_grad *g, lmb_error *err); /* NULL: not differentiable */
    void (*cost)(const lmb_call *c, lmb_cost *out);  /* NULL: no arithmetic       */
    void (*axes)(const lmb_call *c, const lmb_axes *a); /* NULL: every axis is fixed */
    size_t (*scratch)(const lmb_call *c);            /* of the reference; NULL: 0 */
    /* The reference kernel: plain, complete, readable. Fails only with E_UNSUPPORTED for a type. */
    lmb_status (*run)(const lmb_run *r, lmb_error *err);
} lmb_op;

/* Cost of a call including the bytes of its operands. */
lmb_cost lmb_call_cost(const lmb_call *c);
double lmb_graph_macs(const lmb_graph *g); /* of all its nodes */
/* View a node of a graph as a call; `in` and `out` are caller storage of LMB_MAX_IN, LMB_MAX_OUT. */
void lmb_call_of(const lmb_graph *g, const lmb_node *n, lmb_type *in, lmb_type *out, lmb_call *call);

/* An operator set: how graphs are built without `graph` naming `ops`. core/ops/table.c has the real one. */
const lmb_op *lmb_op_find(const char *domain, const char *name); /* NULL if absent */
extern const lmb_op *const lmb_ops[];                            /* NULL-terminated */

/* ---- building with a sticky error ---------------------------------------------------------------
 * Gradient rules, passes and the model zoo append many nodes in a row. A builder remembers the first
 * error; after it every call is a no-op that returns LMB_NONE. Check lmb_builder_status once, at the end. */
typedef struct lmb_builder {
    lmb_graph *g;
    lmb_error *err;
    lmb_status status;
    char scope[96]; /* prefix of new names: "layer1.0." */
} lmb_builder;

lmb_builder lmb_builder_of(lmb_graph *g, lmb_error *err);
lmb_status lmb_builder_status(const lmb_builder *b);
/* One-output node; `name` NULL: made from the op. */
lmb_vid lmb_emit(lmb_builder *b, const char *op, const char *name, const lmb_vid *in, int n_in, const lmb_attr *attr,
                 int n_attr);
/* Several outputs. */
void lmb_emit_n(lmb_builder *b, const char *op, const char *name, const lmb_vid *in, int n_in, const lmb_attr *attr,
                int n_attr, lmb_vid *out, int n_out);
lmb_vid lmb_emit_value(lmb_builder *b, lmb_role role, const char *name, lmb_dtype dtype, lmb_shape shape,
                       const void *data);
lmb_vid lmb_emit_scalar(lmb_builder *b, float v);                       /* f32 constant of shape [] */
lmb_vid lmb_emit_ints(lmb_builder *b, const int64_t *v, int n);         /* s64 constant of shape [n] */
void lmb_emit_output(lmb_builder *b, const char *name, lmb_vid v);
const lmb_value *lmb_builder_value(const lmb_builder *b, lmb_vid v);    /* a scalar f32 after an error */

/* lmb_emit(b, "Conv", NULL, LMB_IN(x, w), LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1), LMB_AINT("group", 1))) */
#define LMB_IN(...) (const lmb_vid[]){ __VA_ARGS__ }, (int)(sizeof((lmb_vid[]){ __VA_ARGS__ }) / sizeof(lmb_vid))
#define LMB_ATTRS(...) \
    (const lmb_attr[]){ __VA_ARGS__ }, (int)(sizeof((lmb_attr[]){ __VA_ARGS__ }) / sizeof(lmb_attr))
#define LMB_NO_ATTRS NULL, 0
#define LMB_AINT(n, v) { .name = (n), .kind = LMB_ATTR_INT, .i = (v) }
#define LMB_AREAL(n, v) { .name = (n), .kind = LMB_ATTR_REAL, .f = (v) }
#define LMB_ATEXT(n, v) { .name = (n), .kind = LMB_ATTR_TEXT, .s = (v) }
#define LMB_AINTS(n_, ...)                                                                                  \
    { .name = (n_), .kind = LMB_ATTR_INTS,                                                                  \
      .ints = { (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } } }

#ifdef __cplusplus
}
#endif
#endif
