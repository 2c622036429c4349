/* core/check/check.h - is an op right? Every kernel against the reference, every gradient against finite
 * differences, over a table of cases.
 *
 * Idea: a case describes operands; the engine makes random ones from a seed, so that a failure is one line
 * anybody can run again: `limbeck check op NAME --case LABEL --seed N`.
 */
#ifndef LMB_CORE_CHECK_CHECK_H
#define LMB_CORE_CHECK_CHECK_H

#include "core/plan/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_CASE_INPUTS = 6, LMB_CASE_ATTRS = 6 };

typedef enum {
    LMB_CASE_NONE,     /* left out                                              */
    LMB_CASE_SMOOTH,   /* f32, random in [lo, hi], gradient is checked          */
    LMB_CASE_FIXED,    /* f32, random in [lo, hi], no gradient is asked for     */
    LMB_CASE_SPREAD,   /* f32, distinct values at least 0.1 apart and from 0: for kinks; gradient is checked */
    LMB_CASE_LABELS,   /* s64 in [0, hi)                                        */
    LMB_CASE_INTS,     /* constant s64 list from `ints`                         */
    LMB_CASE_SCALAR,   /* constant f32 scalar lo                                */
    LMB_CASE_BOOL,     /* constant bool lo != 0                                 */
    LMB_CASE_BYTES     /* u8 (lo >= 0) or s8, random in [lo, hi]                */
} lmb_case_kind;

typedef struct lmb_case_input {
    lmb_case_kind kind;
    lmb_shape shape;
    float lo, hi;
    lmb_ints ints;
} lmb_case_input;

typedef struct lmb_op_case {
    const char *op, *label;
    lmb_case_input in[LMB_CASE_INPUTS];
    lmb_attr attr[LMB_CASE_ATTRS]; /* ends with name NULL */
    int n_out;                     /* 0 means 1 */
    float tolerance;               /* relative, of kernels against the reference; 0 means 1e-5 */
} lmb_op_case;

extern const lmb_op_case lmb_op_cases[]; /* ends with op NULL */

/* Run one case. `backends`: kernels to compare with the reference, may be NULL. If one of them rounds activations, all
 * inputs are numbers that bf16 holds, and results may differ by some roundings.
 *   checked   number of comparisons made (kernels + gradients), may be NULL
 *   errors    E_NUMERIC with what differs and the repro line */
LMB_MUST_CHECK lmb_status lmb_check_case(const lmb_op_case *c, const lmb_backend *const *backends, uint64_t seed,
                                         int *checked, lmb_error *err);

/* What a case runs, with operands from `seed` and outputs y0, y1, ...; for checks with a measure of their own.
 *   rounded     operands are numbers that bf16 holds
 *   magnitudes  operands without their signs: what sums of products are judged by
 *   owns        *out: lmb_graph_destroy */
LMB_MUST_CHECK lmb_status lmb_case_graph(const lmb_op_case *c, uint64_t seed, bool rounded, bool magnitudes,
                                         lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
