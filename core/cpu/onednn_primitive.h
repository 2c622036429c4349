/* core/cpu/onednn_primitive.h - one primitive of oneDNN with its operands, as the state of a kernel.
 *
 * Primitives are made for one thread and run on the caller's; the library's OpenMP team is never
 * woken. */
#ifndef LMB_CORE_CPU_ONEDNN_PRIMITIVE_H
#define LMB_CORE_CPU_ONEDNN_PRIMITIVE_H

#include <oneapi/dnnl/dnnl.h>

#include "core/cpu/kernels.h"

enum { LMBI_PRIMITIVE_OPERANDS = 5 };

/* One primitive with its operands. Operand k is either a plan tensor or lies in scratch (packed). */
typedef struct lmbi_primitive_operand {
    int arg;               /* DNNL_ARG_*                        */
    int tensor;            /* index into inputs then outputs    */
    dnnl_memory_t plain;   /* as the plan has it                */
    dnnl_memory_t packed;  /* as the primitive wants it or NULL */
    dnnl_primitive_t pack; /* plain -> packed, or back          */
    size_t offset;         /* of packed in scratch              */
    const void *plain_at, *packed_at; /* where they were last said to be: saying it costs */
    void *fixed;           /* packed once: weights that never change, or NULL */
    bool output;
} lmbi_primitive_operand;

typedef struct lmbi_primitive {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t p;
    dnnl_memory_t pad;
    const void *pad_at;
    size_t pad_offset, scratch;
    int sum;               /* tensor that is added to the output, -1 */
    int n;
    lmbi_primitive_operand op[LMBI_PRIMITIVE_OPERANDS];
} lmbi_primitive;

/* What the library does next it does on the calling thread. */
void lmbi_onednn_alone(void);
/* NULL without memory for it. */
lmbi_primitive *lmbi_primitive_begin(void);
/* For an operation descriptor; false when only the library's reference would run it. */
bool lmbi_primitive_make(lmbi_primitive *s, const_dnnl_op_desc_t op, const_dnnl_primitive_desc_t hint,
                         const_dnnl_post_ops_t after, dnnl_primitive_desc_t *pd);
const dnnl_memory_desc_t *lmbi_primitive_desc(const_dnnl_primitive_desc_t pd, int arg);
/* `have` is the plan's layout, `want` the primitive's. */
bool lmbi_primitive_add(lmbi_primitive *s, int arg, int tensor, bool output, const dnnl_memory_desc_t *have,
                                const dnnl_memory_desc_t *want);
/* Pack the constant `data` of operand o now and for good. */
bool lmbi_primitive_fix(lmbi_primitive *s, lmbi_primitive_operand *o, const void *data);
/* Ends making: `ok` false destroys it, E_UNSUPPORTED. */
lmb_status lmbi_primitive_finish(lmbi_primitive *s, bool ok, void **state, size_t *scratch, lmb_error *err);
/* lmb_kernel.run and .destroy */
lmb_status lmbi_primitive_run(void *state, const lmb_run *r, lmb_error *err);
void lmbi_primitive_destroy(void *state);

#endif
