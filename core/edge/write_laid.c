/* core/edge/write_laid.c - see laid.h: a finished file with its weights once more, in the order of kernel sets that
 * this machine need not be able to run. What is laid out and how is layout.h's; here is which numbers each set has. */
#include <stdlib.h>

#include "core/edge/laid.h"
#include "core/edge/layout.h"
#include "core/edge/write_internal.h"

typedef struct set_row {
    const char *name;
    lmbi_edge_layout layout; /* as its kernel file defines it */
} set_row;

static const set_row rows[LMB_EDGE_LAID_SETS] = {
    { "avx512vnni", { 16, 1, 0, 1, 4, 1, 8 } }, { "avxvnni", { 8, 1, 0, 1, 4, 1, 0 } },
    { "avx2", { 8, 2, 0, 1, 2, 2, 0 } },        { "neondot", { 4, 1, 0x80, 1, 1, 2, 0 } },
    { "neon", { 4, 2, 0, 0, 1, 2, 0 } },
};

const char *lmb_edge_layouts(int i) { return i >= 0 && i < LMB_EDGE_LAID_SETS ? rows[i].name : NULL; }

/* ---- numbers ---------------------------------------------------------------------------------------------- */

/* Conv and gemm: biases, multipliers, weights. `to`: zeros, or NULL to count. Returns the bytes. */
static uint64_t lay_conv(const lmbi_edge_layout l, const lmbi_edge_step *s, uint8_t *to)
{
    size_t segments = lmbi_segments_of(s), n = lmbi_segment_length(s, segments);
    int halves = lmbi_halves(l, s, lmbi_columns_of(s, lmbi_row_of(s)));
    const lmbi_conv_shape shape = { segments, n, lmbi_groups_of(l, n), halves ? (s->y.c - 1) / l.lanes : SIZE_MAX };
    size_t biases = (size_t)lmbi_edge_round_up((uint64_t)s->y.c * 4);
    if (to) {
        memcpy(to + biases, s->m, (size_t)s->y.c * 4);
        lmbi_conv_lay(l, s, shape, (int32_t *)(void *)to, to + 2 * biases);
    }
    return 2 * biases + lmbi_conv_bytes(l, s, segments);
}

static uint64_t lay_deep(const lmbi_edge_layout l, const lmbi_edge_step *s, uint8_t *to)
{
    size_t n = lmbi_taps_of(s), groups = (n + l.taps - 1) / l.taps;
    size_t all = lmbi_deep_channels(l, s, lmbi_repeats(l, s));
    if (to)
        lmbi_deep_lay(l, s, all, n, groups, to);
    return lmbi_deep_bytes(l, all, groups);
}

/* By the first kernel that takes the step, as in the tables of the sets (kernels_tiles.h). */
static uint64_t lay_step(const lmbi_edge_layout l, const lmbi_edge_step *s, uint8_t *to)
{
    int conv = s->op.kind == LMB_EDGE_CONV;
    if (s->op.kind == LMB_EDGE_GEMM || (conv && lmbi_conv_accepts(s)))
        return lay_conv(l, s, to);
    if ((conv && lmbi_deep_accepts(s)) || (lmbi_averages(s) && lmbi_average_accepts(s)))
        return lay_deep(l, s, to);
    return 0;
}

/* ---- the section ------------------------------------------------------------------------------------------ */

/* One section, appended to `out`, which is empty; -1: out of memory, or larger than its list can say. */
static int lay_out(const lmb_edge_model *m, const set_row *row, lmb_edge_buffer *out)
{
    const size_t list = LMBI_EDGE_LAID_HEAD, head = list + 4 * (size_t)m->n_ops;
    if (!lmbi_write_grow(out, (size_t)lmbi_edge_round_up(head)))
        return -1;
    lmbi_write_u32(out->data, LMB_EDGE_LAID_VERSION);
    lmbi_write_u32(out->data + 4, m->n_ops);
    memcpy(out->data + 8, row->name, strlen(row->name));
    for (uint32_t i = 0; i < m->n_ops; i++) {
        uint64_t bytes = lmbi_edge_round_up(lay_step(row->layout, &m->steps[i], NULL));
        size_t at = out->size;
        if (!bytes)
            continue;
        if (bytes > SIZE_MAX - at || (at + bytes) / LMBI_EDGE_ALIGN > UINT32_MAX ||
            !lmbi_write_grow(out, (size_t)bytes))
            return -1;
        lmbi_write_u32(out->data + list + 4 * (size_t)i, (uint32_t)(at / LMBI_EDGE_ALIGN));
        uint8_t *to = (uint8_t *)calloc((size_t)bytes, 1); /* the buffer may lie at any address */
        if (!to)
            return -1;
        lay_step(row->layout, &m->steps[i], to);
        memcpy(out->data + at, to, (size_t)bytes);
        free(to);
    }
    return 0;
}

/* PCK0, PCK1 ... */
static int is_laid(uint32_t type) { return (type & 0xffffff) == LMBI_EDGE_LAID_TYPE; }

static const set_row *find(const char *name)
{
    for (int i = 0; i < LMB_EDGE_LAID_SETS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

uint64_t lmb_edge_laid_bytes(const lmb_edge_model *m, const char *set)
{
    const set_row *row = find(set);
    lmb_edge_model own = *m;
    uint64_t bytes = lmbi_edge_round_up(LMBI_EDGE_LAID_HEAD + 4 * (uint64_t)m->n_ops);
    (void)lmb_edge_use(&own, "scalar"); /* always there */
    for (uint32_t i = 0; row && i < m->n_ops; i++) {
        lmbi_edge_step s;
        lmbi_edge_decode(&own, i, &s);
        bytes += lmbi_edge_round_up(lay_step(row->layout, &s, NULL));
    }
    return row ? bytes : 0;
}

lmb_edge_status lmb_edge_write_laid(const void *file, size_t n, const char *const *sets, int n_sets,
                                    lmb_edge_buffer *out, char *why_text, size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    lmb_edge_buffer laid[LMB_EDGE_LAID_SETS];
    lmbi_write_section own[LMB_EDGE_LAID_SETS];
    lmb_edge_model m;
    memset(laid, 0, sizeof laid);
    for (int i = 0; i < n_sets; i++) {
        if (!find(sets[i]))
            return lmbi_edge_fail(
                &why, LMB_EDGE_E_ARG,
                "weights can not be laid out for '%s'; the kernel sets are avx512vnni, avxvnni, avx2, "
                "neondot and neon",
                sets[i]);
        for (int j = 0; j < i; j++)
            if (strcmp(sets[i], sets[j]) == 0)
                return lmbi_edge_fail(&why, LMB_EDGE_E_ARG, "weights are laid out once: '%s' is named twice", sets[i]);
    }
    lmb_edge_status s = lmb_edge_open(file, n, &m, why_text, why_cap);
    if (s == LMB_EDGE_OK)
        s = lmb_edge_use(&m, "scalar"); /* its steps have the constants and the weights, and nothing is repacked */
    void *prepared = s == LMB_EDGE_OK ? malloc(lmb_edge_prepare_bytes(&m)) : NULL;
    if (s == LMB_EDGE_OK && !prepared)
        s = LMB_EDGE_E_NOMEM;
    if (s == LMB_EDGE_OK)
        lmb_edge_prepare(&m, prepared);
    for (int i = 0; i < n_sets && s == LMB_EDGE_OK; i++) {
        if (lay_out(&m, find(sets[i]), &laid[i]) != 0)
            s = LMB_EDGE_E_NOMEM;
        own[i] = (lmbi_write_section){ LMBI_EDGE_LAID_TYPE | (uint32_t)('0' + i) << 24, laid[i].data, laid[i].size };
    }
    if (s == LMB_EDGE_E_NOMEM)
        lmbi_edge_fail(&why, s, "out of memory to lay out %llu bytes of weights", (unsigned long long)m.weights_bytes);
    if (s == LMB_EDGE_OK)
        s = lmbi_write_again(file, n, own, n_sets, is_laid, out, why_text, why_cap);
    for (int i = 0; i < n_sets && i < LMB_EDGE_LAID_SETS; i++)
        free(laid[i].data);
    free(prepared);
    return s;
}
