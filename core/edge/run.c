/* core/edge/run.c - choose kernels, lay out their memory, run the steps.
 *
 * Idea: packed weights follow one another in step order, so a running sum is all the bookkeeping there is; bytes a
 * kernel wants beyond the planned arena are used by one step at a time and therefore share one place behind it.
 */
#include <string.h>

#include "core/edge/format.h"
#include "core/edge/integer.h"
#include "core/edge/kernels.h"

/* Fastest first; the scalar set runs everywhere and is last. */
static const lmbi_edge_kernels *const sets[] = {
#ifdef LMBI_EDGE_X86
    &lmbi_edge_avx512vnni,
#endif
    &lmbi_edge_scalar,
};
enum { SETS = sizeof sets / sizeof sets[0] };

static const lmbi_edge_kernels *usable_at(int i)
{
    int s;
    for (s = 0; s < SETS; s++)
        if (sets[s]->usable() && i-- == 0)
            return sets[s];
    return NULL;
}

const lmbi_edge_kernels *lmbi_edge_best(void) { return usable_at(0); }

const char *lmb_edge_kernels_at(int i)
{
    const lmbi_edge_kernels *k = i < 0 ? NULL : usable_at(i);
    return k ? k->name : NULL;
}

const char *lmb_edge_kernels(const lmb_edge_model *m) { return m->kernels->name; }

lmb_edge_status lmb_edge_use(lmb_edge_model *m, const char *kernels)
{
    int i;
    for (i = 0; i < SETS; i++)
        if (strcmp(sets[i]->name, kernels) == 0 && sets[i]->usable()) {
            m->kernels = sets[i];
            m->prepared = NULL;
            return LMB_EDGE_OK;
        }
    return LMB_EDGE_E_NOIMPL;
}

static size_t round_up(size_t n) { return (n + LMBI_EDGE_ALIGN - 1) / LMBI_EDGE_ALIGN * LMBI_EDGE_ALIGN; }

static const lmbi_edge_kernel *kernel_of(const lmb_edge_model *m, const lmb_edge_op *op)
{
    const lmbi_edge_kernel *k = m->kernels->op[op->kind];
    return k ? k : lmbi_edge_scalar.op[op->kind];
}

static lmbi_edge_step step_at(const lmb_edge_model *m, uint32_t i, unsigned char *arena)
{
    lmbi_edge_step s;
    unsigned k;
    memset(&s, 0, sizeof s);
    s.model = m;
    s.op = &m->ops[i];
    s.out = &m->tensors[i + 1];
    for (k = 0; k < s.op->inputs; k++)
        s.in[k] = &m->tensors[s.op->input[k]];
    if (arena) {
        s.dst = arena + s.out->offset;
        s.extra = arena + m->arena_bytes;
        for (k = 0; k < s.op->inputs; k++)
            s.src[k] = arena + s.in[k]->offset;
    }
    return s;
}

static size_t pack_bytes(const lmb_edge_model *m, uint32_t i)
{
    const lmbi_edge_kernel *k = kernel_of(m, &m->ops[i]);
    lmbi_edge_step s = step_at(m, i, NULL);
    return k->pack_bytes ? round_up(k->pack_bytes(&s)) : 0;
}

size_t lmb_edge_prepare_bytes(const lmb_edge_model *m)
{
    size_t sum = 0;
    uint32_t i;
    for (i = 0; i < m->n_ops; i++)
        sum += pack_bytes(m, i);
    return sum ? sum + LMBI_EDGE_ALIGN - 1 : 0; /* whatever the alignment of the caller's memory */
}

lmb_edge_status lmb_edge_prepare(lmb_edge_model *m, void *memory, size_t bytes)
{
    size_t need = lmb_edge_prepare_bytes(m);
    unsigned char *at = memory;
    uint32_t i;
    if (bytes < need || (need && !memory))
        return LMB_EDGE_E_ARG;
    if (need)
        at += round_up((size_t)((uintptr_t)at % LMBI_EDGE_ALIGN)) - (uintptr_t)at % LMBI_EDGE_ALIGN;
    m->prepared = need ? at : (const unsigned char *)m->tensors; /* anything but NULL */
    for (i = 0; i < m->n_ops; i++) {
        lmbi_edge_step s = step_at(m, i, NULL);
        size_t n = pack_bytes(m, i);
        if (n) {
            kernel_of(m, s.op)->pack(&s, at);
            at += n;
        }
    }
    return LMB_EDGE_OK;
}

size_t lmb_edge_arena_bytes(const lmb_edge_model *m)
{
    size_t most = 0;
    uint32_t i;
    for (i = 0; i < m->n_ops; i++) {
        const lmbi_edge_kernel *k = kernel_of(m, &m->ops[i]);
        lmbi_edge_step s = step_at(m, i, NULL);
        size_t n = k->extra_bytes ? k->extra_bytes(&s) : 0;
        most = n > most ? n : most;
    }
    return m->arena_bytes + most;
}

static void load_input(const lmb_edge_model *m, const uint8_t *input, uint8_t *dst)
{
    const lmb_edge_tensor *t = &m->tensors[0];
    size_t pixels = (size_t)t->h * t->w, p;
    uint32_t c;
    if (!m->input_is_chw || t->c == 1) {
        memcpy(dst, input, pixels * t->c);
        return;
    }
    for (c = 0; c < t->c; c++)
        for (p = 0; p < pixels; p++)
            dst[p * t->c + c] = input[c * pixels + p];
}

lmb_edge_status lmb_edge_run(const lmb_edge_model *m, void *arena, const uint8_t *input, uint8_t *output)
{
    const unsigned char *packed = m->prepared;
    unsigned char *base = arena;
    uint32_t i;
    if (!packed)
        return LMB_EDGE_E_ARG;
    load_input(m, input, base + m->tensors[0].offset);
    for (i = 0; i < m->n_ops; i++) {
        lmbi_edge_step s = step_at(m, i, base);
        s.packed = packed;
        kernel_of(m, s.op)->run(&s);
        packed += pack_bytes(m, i);
    }
    memcpy(output, base + m->tensors[m->output].offset, lmb_edge_tensor_bytes(&m->tensors[m->output]));
    return LMB_EDGE_OK;
}

void lmb_edge_dequantize(const lmb_edge_tensor *t, const uint8_t *q, size_t n, float *y)
{
    size_t i;
    for (i = 0; i < n; i++)
        y[i] = (float)(q[i] - t->zero) * t->scale;
}
