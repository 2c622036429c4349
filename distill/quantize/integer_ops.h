/* distill/quantize/integer_ops.h - which operators of a float model become integers, and how: one row each.
 *
 * Idea: what the passes ask (qat.c) and what people are told (`limbeck list integer-ops`) is the same table. What is
 * not in it is refused by name before any work.
 */
#ifndef LMB_DISTILL_QUANTIZE_INTEGER_OPS_H
#define LMB_DISTILL_QUANTIZE_INTEGER_OPS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum lmb_integer_role {
    LMB_INTEGER_WEIGHTS,  /* has weights of s8 and makes integers of its own      */
    LMB_INTEGER_MAKES,    /* makes integers of its own, without weights           */
    LMB_INTEGER_CLAMPS,   /* narrows the range of what it reads                   */
    LMB_INTEGER_KEEPS,    /* moves integers and keeps their scale                 */
    LMB_INTEGER_REWRITTEN /* in other words first: fold.h, integer_form.h         */
} lmb_integer_role;

typedef struct lmb_integer_op {
    const char *name;
    lmb_integer_role role;
    const char *how;
} lmb_integer_op;
extern const lmb_integer_op lmb_integer_ops[]; /* name NULL at the end */

/* The row of an operator of ONNX; NULL: it has no integer form. */
const lmb_integer_op *lmb_integer_op_find(const char *name);

#ifdef __cplusplus
}
#endif
#endif
