/* core/plan/internal.h - the inside of a plan, shared by compile, memory, run and print. */
#ifndef LMB_CORE_PLAN_INTERNAL_H
#define LMB_CORE_PLAN_INTERNAL_H

#include "core/plan/plan.h"

/* A plan value: each graph value has one with the same number; conversions append its other forms (layout, storage
 * type). */
typedef struct lmbi_pvalue {
    const char *name;
    lmb_dtype dtype;   /* in which it is kept                                             */
    lmb_shape shape;
    size_t bytes;
    lmb_layout layout;
    int storage;       /* index of the memory it lives in, -1: nothing reads or makes it */
    int first, last;   /* steps that make it and read it last; first -1: before step 0    */
    int origin;        /* the graph's value that this is a form of                        */
    int other;         /* next form of the same value, -1                                 */
    bool fixed;        /* lives for the whole plan: input, state, constant, output        */
    bool bindable;
    void *bound;       /* caller's memory                                                 */
    void *there;       /* caller's memory on the plan's device, which comes before `bound` */
} lmbi_pvalue;

/* A piece of memory; several values share one when they are views or made in place. */
typedef struct lmbi_storage {
    size_t bytes, offset; /* in the arena */
    int first, last;
    bool fixed, external; /* external: constants (graph memory) and state, never in the arena */
    const void *data;     /* external: content unless bound                                    */
} lmbi_storage;

typedef struct lmbi_step {
    const lmb_node *node;     /* NULL: layout conversion or copy */
    const lmb_kernel *kernel; /* NULL: reference                 */
    const char *label;        /* kernel name for people          */
    void *state;
    int n_in, n_out;
    int *in, *out;            /* pvalues; -1: left out           */
    lmb_tensor *tensor;       /* [n_in + n_out], data filled when pointers are resolved */
    size_t scratch;
    bool convert;             /* node == NULL: to another form; otherwise plain copy */
    lmb_cost cost;
    double seconds, best;     /* of `runs` timed runs, and of the shortest */
    long runs;
    const char *refused;      /* "onednn:conv: why" of the best kernel that declined, or NULL */
} lmbi_step;

struct lmb_plan {
    const lmb_graph *g;  /* what runs: the caller's graph or `fused` */
    const lmb_graph *asked; /* the caller's                          */
    lmb_graph *fused;    /* owned, or NULL                           */
    lmb_vid *map;        /* [values of asked] -> value of fused      */
    lmb_plan_options options;
    struct lmb_device *device; /* of the backends, or NULL: the host */
    bool *trained;       /* [values of g] with frozen_exact: depends on a trained parameter; else NULL */
    int n_values, cap_values;
    lmbi_pvalue *value;
    int n_storage;
    lmbi_storage *storage;
    int n_steps, cap_steps;
    int pause;           /* first step of part 1 of a run            */
    lmbi_step *step;
    char *arena;         /* the device's when there is one                                    */
    void **mirror;       /* with a device: [values] host memory of inputs and outputs, or NULL */
    size_t samples_offset, samples_bytes; /* with a device: where lmb_step_info.sample goes  */
    size_t arena_bytes, live_bytes, scratch_offset, scratch_bytes;
    bool resolved, timing;
    bool begun;          /* with a device: it has run once, so that all is chosen             */
    bool replayed;       /* times are of a replayed run                                       */
    struct lmb_device_mark **clock; /* with a device: [n_steps + 1] once it was timed         */
    void (*on_step)(void *ctx, int step);
    void *on_step_ctx;
    lmb_trace *trace;
    int lane;            /* of the trace */
};

/* The value of p->g that stands for the caller's value v; LMB_NONE if there is none. */
static inline lmb_vid lmbi_plan_value(const lmb_plan *p, lmb_vid v)
{
    return v < 0 || v >= p->asked->n_values ? LMB_NONE : p->map ? p->map[v] : v;
}

/* grow.c: one more; -1 or NULL: no memory. Earlier pointers to values and steps are void. */
int lmbi_plan_add_value(lmb_plan *p, const lmbi_pvalue *v);
lmbi_step *lmbi_plan_add_step(lmb_plan *p, int n_in, int n_out);
int lmbi_plan_add_storage(lmb_plan *p, size_t bytes);
/* The pvalue that holds v in the wanted form, after appending a conversion step if need be; -1 after an error. */
int lmbi_plan_in_form(lmb_plan *p, int v, lmb_layout want, lmb_dtype dtype, lmb_error *err);
/* With one channel or one pixel both orders are the same bytes. */
bool lmbi_two_layouts(const lmbi_pvalue *v);
/* select.c: is it a kernel of this op; the type and layout in which it wants an operand (inputs first, then
 * outputs). */
bool lmbi_same_op(const lmb_kernel *k, const lmb_op *op);
lmb_dtype lmbi_wanted_type(const lmb_kernel *k, const lmb_call *c, int operand);
lmb_layout lmbi_wanted_layout(const lmb_kernel *k, const lmb_call *c, int operand);
/* The first kernel that accepts and can be made, or the one that measuring prefers; NULL: the reference. `reason` tells
 * why the best declined.
 *   exact   only kernels that keep the graph's types */
lmb_status lmbi_select(const lmb_plan *p, const lmb_call *c, bool exact, const lmb_kernel **out, void **state,
                       size_t *scratch, char *reason, size_t cap, lmb_error *err);
void lmbi_drop_state(const lmb_kernel *k, void *state);
/* A pointwise reference kernel runs on the bytes in any order, if all operands have the same order. */
bool lmbi_order_free(const lmb_call *c);
/* uses.c: trained[v]: v comes, in whatever way, from a parameter that is trained. */
void lmbi_find_trained(const lmb_graph *g, bool *trained);
/* last_use[v]: index of the last needed node that reads v; n_nodes if v must survive. */
void lmbi_find_last_uses(const lmb_graph *g, const bool *needed, int *last_use);
/* May the output of node i take over the storage of pvalue `src`? Nothing may read it later. */
bool lmbi_dies_here(const lmb_plan *p, int src, int i, const int *last_use);
/* late[v]: v depends on an input that comes later. */
void lmbi_find_late(const lmb_plan *p, bool *late);
/* First and last step of each storage. */
void lmbi_find_lifetimes(lmb_plan *p);
/* choose.c: of the kernels that run the call in the same forms as `fixed`, the one that the plan's table names. */
lmb_status lmbi_choose(const lmb_plan *p, const lmb_call *c, const lmb_kernel *fixed, const lmb_kernel **out,
                       lmb_error *err);
/* choice.c: between lock and unlock. The name of a kernel, or NULL. */
void lmbi_choices_lock(lmb_choices *c);
void lmbi_choices_unlock(lmb_choices *c);
const char *lmbi_choices_find(lmb_choices *c, const char *key);
void lmbi_choices_lose(lmb_choices *c); /* a name that stands for nothing here */
lmb_status lmbi_choices_put(lmb_choices *c, const char *key, const char *name, bool measured, lmb_error *err);
int lmbi_choices_threads(const lmb_choices *c);
bool lmbi_choices_measuring(const lmb_choices *c);
/* run.c: the pvalue that stands for v towards the caller: its plain copy of the graph's type if it was made in another
 * form. */
int lmbi_plan_outward(const lmb_plan *p, lmb_vid v);
/* device.c */
lmb_status lmbi_device_prepare(lmb_plan *p, lmb_error *err);
lmb_status lmbi_device_run(lmb_plan *p, const lmb_step_info *step, lmb_error *err);
lmb_status lmbi_device_enqueue(lmb_plan *p, int begin, int end, const lmb_step_info *step, const lmb_step_there *there,
                               lmb_error *err); /* steps [begin, end) */
void lmbi_device_end(lmb_plan *p);
bool lmbi_device_leaves(const lmb_plan *p, int i); /* step i makes a trip to the host */
/* step: what the host sees of it, there: the device; recorded: see lmb_run.there, or NULL. */
lmb_status lmbi_device_step(lmb_plan *p, int i, const lmb_step_info *step, const lmb_step_info *there,
                            const lmb_step_there *recorded, lmb_error *err);
/* device_time.c: all steps, timed. */
lmb_status lmbi_device_timed(lmb_plan *p, const lmb_step_info *step, const lmb_step_info *there, lmb_error *err);
void lmbi_device_drop_clocks(lmb_plan *p);
/* run.c: one more timed run of a step. */
void lmbi_plan_took(lmbi_step *s, double seconds);

/* memory.c: storages -> offsets in the arena. */
lmb_status lmbi_plan_place(lmb_plan *p, lmb_error *err);
/* layout.c: the same numbers in another layout, storage type (f32, bf16), or both. */
void lmbi_convert(const lmb_tensor *from, lmb_layout before, const lmb_tensor *to, lmb_layout after);

#endif
