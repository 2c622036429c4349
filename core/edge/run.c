/* core/edge/run.c - prepare (decode every op into a step, once) and run (walk the steps).
 *
 * Memory given to prepare: the steps, then for each op its biases and multipliers, its weights as s8 if the file has
 * them narrow, and whatever its kernel makes of them; of an op whose numbers are laid out in the file (laid.h) no more
 * than its kernel's head. Arena at run: the plan of the file, then one scratch area as
 * large as the most demanding kernel asks for.
 */
#include "core/edge/internal.h"

static uint8_t *align_up(void *p)
{
    return (uint8_t *)p + (LMBI_EDGE_ALIGN - (uintptr_t)p % LMBI_EDGE_ALIGN) % LMBI_EDGE_ALIGN;
}

static size_t fit(uint64_t bytes) { return bytes > SIZE_MAX ? SIZE_MAX : (size_t)bytes; }

/* Channels rounded up to what kernels work on at a time. */
static uint64_t bias_bytes(const lmbi_edge_step *s)
{
    return s->op.weights ? lmbi_edge_round_up((uint64_t)s->y.c * 4) : 0;
}

/* Of weights that are narrow in the file, as s8. */
static uint64_t widened_bytes(const lmbi_edge_step *s)
{
    return s->op.weights && s->op.bits < 8 ? lmbi_edge_round_up(s->op.n_weights) : 0;
}

static void widen(lmbi_edge_step *s, int8_t *to)
{
    for (uint32_t i = 0; i < s->op.n_weights; i++)
        to[i] = lmb_edge_weight_at(&s->op, i);
    s->op.weights = to;
    s->op.bits = 8;
}

void lmbi_edge_decode(const lmb_edge_model *m, uint32_t i, lmbi_edge_step *s)
{
    memset(s, 0, sizeof *s);
    lmb_edge_op_at(m, i, &s->op);
    lmb_edge_tensor_at(m, i + 1, &s->y);
    for (int j = s->op.n_in - 1; j >= 0; j--) {
        lmb_edge_tensor_at(m, s->op.in[j], &s->x);
        s->in_at[j] = s->x.place;
        s->in_c[j] = s->x.c;
    }
    if (s->op.kind == LMB_EDGE_GEMM) { /* a convolution of one pixel */
        s->x.c = s->x.count;
        s->x.h = s->x.w = 1;
        s->op.groups = 1;
        for (int j = 0; j < 2; j++) {
            s->op.kernel[j] = s->op.stride[j] = s->op.dilation[j] = 1;
            s->op.pads[j] = s->op.pads[j + 2] = 0;
        }
    }
    if (m->laid) {
        uint32_t at = lmbi_edge_u32(m->laid + LMBI_EDGE_LAID_HEAD + 4 * (size_t)i);
        s->laid = at ? m->laid + (size_t)at * LMBI_EDGE_ALIGN : NULL;
    }
    lmbi_edge_choose(m, s);
    if (s->laid)
        s->op.weights = NULL; /* nothing is left to be done with them */
}

static void load_constants(lmbi_edge_step *s)
{
    const uint8_t *c = s->op.constants;
    int n = s->op.kind == LMB_EDGE_ADD ? 3 : s->op.kind == LMB_EDGE_GLOBAL_AVERAGE ? 1 : 0;
    for (int i = 0; i < n; i++)
        s->constant[i] = lmbi_edge_f32(c + 4 * i);
    if (!s->op.weights)
        return;
    memset(s->bias, 0, (size_t)bias_bytes(s));
    memset(s->m, 0, (size_t)bias_bytes(s));
    for (size_t o = 0; o < s->y.c; o++) {
        s->bias[o] = (int32_t)lmbi_edge_u32(c + 4 * o);
        s->m[o] = lmbi_edge_f32(c + 4 * (s->y.c + o));
    }
}

size_t lmb_edge_prepare_bytes(const lmb_edge_model *m)
{
    uint64_t sum = LMBI_EDGE_ALIGN + lmbi_edge_round_up((uint64_t)m->n_ops * sizeof(lmbi_edge_step));
    for (uint32_t i = 0; i < m->n_ops; i++) {
        lmbi_edge_step s;
        lmbi_edge_decode(m, i, &s);
        sum += 2 * bias_bytes(&s) + widened_bytes(&s);
        if (s.kernel->packed_bytes)
            sum += lmbi_edge_round_up(s.kernel->packed_bytes(&s));
    }
    return fit(sum);
}

void lmb_edge_prepare(lmb_edge_model *m, void *memory)
{
    uint8_t *at = align_up(memory);
    lmbi_edge_step *steps = (lmbi_edge_step *)(void *)at;
    at += lmbi_edge_round_up((uint64_t)m->n_ops * sizeof *steps);
    for (uint32_t i = 0; i < m->n_ops; i++) {
        lmbi_edge_step *s = &steps[i];
        lmbi_edge_decode(m, i, s);
        s->bias = (int32_t *)(void *)at;
        at += bias_bytes(s);
        s->m = (float *)(void *)at;
        at += bias_bytes(s);
        load_constants(s);
        uint64_t bytes = widened_bytes(s);
        if (bytes) {
            widen(s, (int8_t *)at);
            at += bytes;
        }
        if (s->kernel->packed_bytes) {
            s->packed = at;
            at += lmbi_edge_round_up(s->kernel->packed_bytes(s));
            s->kernel->pack(s);
        }
    }
    m->steps = steps;
}

/* End of the plan: where the scratch begins. */
static uint64_t plan_bytes(const lmb_edge_model *m)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i <= m->n_ops; i++) {
        lmb_edge_tensor t;
        lmb_edge_tensor_at(m, i, &t);
        if (t.place + t.bytes > end)
            end = t.place + t.bytes;
    }
    return lmbi_edge_round_up(end);
}

size_t lmb_edge_arena_bytes(const lmb_edge_model *m)
{
    uint64_t scratch = 0;
    for (uint32_t i = 0; i < m->n_ops; i++) {
        lmbi_edge_step s;
        lmbi_edge_decode(m, i, &s);
        if (s.scratch > scratch)
            scratch = s.scratch;
    }
    return fit(LMBI_EDGE_ALIGN + plan_bytes(m) + scratch + LMBI_EDGE_SLACK);
}

lmb_edge_status lmb_edge_run(const lmb_edge_model *m, void *arena, const uint8_t *input, void *output)
{
    if (!m->steps)
        return LMB_EDGE_E_ARG;
    lmb_edge_tensor x, y;
    lmb_edge_tensor_at(m, 0, &x);
    lmb_edge_tensor_at(m, m->n_ops, &y);
    uint8_t *base = align_up(arena), *scratch = base + plan_bytes(m);
    if (x.layout == LMB_EDGE_CHW)
        lmbi_edge_to_pixels(m->kernels, base + x.place, input, x.c, (size_t)x.h * x.w);
    else
        memcpy(base + x.place, input, x.bytes);
    for (uint32_t i = 0; i < m->n_ops; i++)
        m->steps[i].kernel->run(&m->steps[i], base, scratch);
    if (y.layout == LMB_EDGE_CHW)
        lmbi_edge_to_planes((uint8_t *)output, base + y.place, y.c, (size_t)y.h * y.w, y.bytes / y.count);
    else
        memcpy(output, base + y.place, y.bytes);
    return LMB_EDGE_OK;
}

lmb_edge_status lmb_edge_run_op(const lmb_edge_model *m, void *arena, uint32_t i, uint32_t times)
{
    if (!m->steps || i >= m->n_ops)
        return LMB_EDGE_E_ARG;
    uint8_t *base = align_up(arena), *scratch = base + plan_bytes(m);
    for (uint32_t k = 0; k < times; k++)
        m->steps[i].kernel->run(&m->steps[i], base, scratch);
    return LMB_EDGE_OK;
}
