/* core/cpu/gemm.c - Gemm and MatMul by the register tiles of conv_loops.h.
 *
 * B is packed once, in panels as wide as a tile; rows of A are read where they lie, or in blocks that are copied
 * (turned, or the few behind the last whole tile). A MatMul of many matrices by one is one product of all their rows.
 *   source   core/ops/gemm.c says what is computed; the order of blocks: core/cpu/conv.c
 */
#include "core/ops/gemm.h"

#include <stdlib.h>
#include <string.h>

#include "core/cpu/conv.h"
#include "core/cpu/kernels.h"
#include "core/ops/common.h"

enum { BLOCK_FLOATS = 24 * 1024, MOST_ROWS = 480 };

typedef struct gemm {
    const lmbi_conv_loops *l;
    int64_t m, n, k;
    int64_t a_row, a_col, b_row, b_col; /* how A and B are walked   */
    int64_t block, ld;                  /* rows of A at once        */
    lmb_shape many, many_a, many_b;     /* leading sizes of MatMul  */
    float alpha, beta;
    size_t rows, at;                    /* in scratch, after B      */
    float *packed;                      /* of a B that never changes */
} gemm;

static bool is_f32(const lmb_call *c, const char **why)
{
    *why = "only f32";
    return c->in[0].dtype == LMB_F32;
}

static void destroy(void *state)
{
    gemm *s = state;
    if (s)
        free(s->packed);
    free(s);
}

static void pack(const gemm *s, const float *b, float *to)
{
    lmbi_pack(s->l, b, NULL, 1, s->k, s->b_row, s->n, s->b_col, s->alpha, to);
}

static lmb_status create(gemm s, const float *b, void **state, size_t *scratch, lmb_error *err)
{
    const lmbi_conv_loops *list[4];
    gemm *out = malloc(sizeof *out);

    s.l = lmbi_conv_choices(list)[0];
    s.ld = lmbi_up(s.k, 16) + 16; /* not a power of two: rows shall not meet in one set of the cache */
    s.block = BLOCK_FLOATS / s.ld;
    s.block = lmbi_up(s.block < s.l->tall ? s.l->tall : s.block > MOST_ROWS ? MOST_ROWS : s.block, s.l->tall);
    s.rows = ((size_t)lmbi_packed(s.l, s.k, s.n) * sizeof(float) + 63) & ~(size_t)63;
    s.at = s.rows + sizeof(float) * (size_t)(s.ld * s.block);
    *scratch = s.at + sizeof(int64_t) * (size_t)s.block;
    if (out && b && lmb_shape_count(&s.many_b) == 1) {
        s.packed = malloc(s.rows + 1);
        if (s.packed)
            pack(&s, b, s.packed);
    }
    if (!out || (b && lmb_shape_count(&s.many_b) == 1 && !s.packed)) {
        free(out);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a matrix product");
    }
    *out = s;
    *state = out;
    return LMB_OK;
}

static lmb_status gemm_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    const lmb_gemm_attr *t = c->attr;
    const lmb_shape *a = &c->in[0].shape, *b = &c->in[1].shape;
    gemm s = { .m = a->d[t->transA != 0],
               .k = a->d[t->transA == 0],
               .n = b->d[t->transB == 0],
               .alpha = t->alpha,
               .beta = t->beta };

    s.a_row = t->transA ? 1 : s.k, s.a_col = t->transA ? s.m : 1;
    s.b_row = t->transB ? 1 : s.n, s.b_col = t->transB ? s.k : 1;
    return create(s, c->in[1].data, state, scratch, err);
}

static lmb_status matmul_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    lmb_shape a = c->in[0].shape, b = c->in[1].shape;
    if (a.n == 1)
        a = LMB_SHAPE(1, a.d[0]);
    if (b.n == 1)
        b = LMB_SHAPE(b.d[0], 1);
    gemm s = { .m = a.d[a.n - 2], .k = a.d[a.n - 1], .n = b.d[b.n - 1], .alpha = 1 };

    s.many_a = lmb_shape_of(a.n - 2, a.d);
    s.many_b = lmb_shape_of(b.n - 2, b.d);
    LMB_TRY(lmb_shape_broadcast(&s.many_a, &s.many_b, &s.many, err));
    if (lmb_shape_count(&s.many_b) == 1) { /* all rows by the one B */
        s.m *= lmb_shape_count(&s.many);
        s.many = s.many_a = s.many_b = (lmb_shape){ 0 };
    }
    s.a_row = s.k, s.a_col = 1, s.b_row = s.n, s.b_col = 1;
    return create(s, c->in[1].data, state, scratch, err);
}

/* y [m, n] becomes (add: grows by) a times the packed b. */
static void product(const gemm *s, const float *a, const float *b, float *y, bool add, char *scratch)
{
    float *rows = (float *)(void *)(scratch + s->rows);
    int64_t *at = (int64_t *)(void *)(scratch + s->at), tall = s->l->tall;

    for (int64_t r = 0; r < s->block; r++)
        at[r] = r * s->n;
    for (int64_t m = 0; m < s->m; m += s->block, y += s->block * s->n) {
        int64_t count = s->m - m < s->block ? s->m - m : s->block, whole = s->a_col == 1 ? count / tall * tall : 0;
        const float *from = a + m * s->a_row;
        if (whole > 0)
            s->l->multiply(from, s->a_row, whole, s->k, b, s->n, y, at, add);
        for (int64_t i = 0; i < s->k && whole < count; i++)
            for (int64_t r = whole; r < count; r++)
                rows[(r - whole) * s->ld + i] = from[r * s->a_row + i * s->a_col];
        if (whole < count)
            s->l->multiply(rows, s->ld, count - whole, s->k, b, s->n, y + whole * s->n, at, add);
    }
}

/* y = beta C, which broadcasts. */
static void lay_out(const gemm *s, const lmb_tensor *c, const lmb_tensor *out)
{
    float *y = out->data;
    const float *from = c->data;
    lmbi_walk w;

    lmbi_walk_begin(&w, &out->shape, &c->shape);
    for (int64_t i = 0; i < s->m * s->n; i++, lmbi_walk_next(&w))
        y[i] = s->beta * from[w.offset];
}

static lmb_status gemm_run(void *state, const lmb_run *r, lmb_error *err)
{
    const gemm *s = state;
    bool add = r->n_in > 2 && r->in[2].data;

    (void)err;
    if (add)
        lay_out(s, &r->in[2], &r->out[0]);
    if (!s->packed)
        pack(s, r->in[1].data, r->scratch);
    product(s, r->in[0].data, s->packed ? s->packed : r->scratch, r->out[0].data, add, r->scratch);
    return LMB_OK;
}

static lmb_status matmul_run(void *state, const lmb_run *r, lmb_error *err)
{
    const gemm *s = state;
    int64_t many = lmb_shape_count(&s->many);
    lmbi_walk wa, wb;

    (void)err;
    lmbi_walk_begin(&wa, &s->many, &s->many_a);
    lmbi_walk_begin(&wb, &s->many, &s->many_b);
    for (int64_t i = 0; i < many; i++, lmbi_walk_next(&wa), lmbi_walk_next(&wb)) {
        if (!s->packed)
            pack(s, (const float *)r->in[1].data + wb.offset * s->k * s->n, r->scratch);
        product(s, (const float *)r->in[0].data + wa.offset * s->m * s->k, s->packed ? s->packed : r->scratch,
                (float *)r->out[0].data + i * s->m * s->n, false, r->scratch);
    }
    return LMB_OK;
}

const lmb_kernel lmbi_own_gemm = { .name = "own:gemm",
                                   .op = "Gemm",
                                   .domain = "",
                                   .accepts = is_f32,
                                   .create = gemm_create,
                                   .run = gemm_run,
                                   .destroy = destroy };
const lmb_kernel lmbi_own_matmul = { .name = "own:matmul", .op = "MatMul", .domain = "", .accepts = is_f32,
                                     .create = matmul_create, .run = matmul_run, .destroy = destroy };
