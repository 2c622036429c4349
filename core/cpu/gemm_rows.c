/* core/cpu/gemm_rows.c - full layers of few samples: y = x w', computed as y' = w x'.
 *
 * A training reads each weight for the few samples of a shard only, so packing w, as other kernels do, costs as much as
 * the products. The tiles of conv_loops.h take the rows of w where they lie, if it is the left operand; x, which is
 * small, is packed instead, and the result is turned.
 *   source   core/ops/gemm.c says what is computed
 */
#include <string.h>

#include "core/cpu/conv.h"
#include "core/cpu/kernels.h"
#include "core/ops/gemm.h"

enum {
    MOST_ROWS = 128,
    FEWEST_DEPTH = 256,
    FEWEST_WEIGHTS = 1 << 16,
    AT_ONCE = 240
}; /* rows of w: a multiple of every tile */

static bool accepts(const lmb_call *c, const char **why)
{
    const lmb_gemm_attr *t = c->attr;
    const lmb_shape *x = &c->in[0].shape, *w = &c->in[1].shape;

    *why = "only f32, x w' + a row, with weights that change";
    if (c->in[0].dtype != LMB_F32 || t->transA || !t->transB || t->alpha != 1 || t->beta != 1 || c->in[1].data)
        return false;
    if (c->n_in > 2 && c->in[2].present && (c->in[2].shape.n != 1 || c->in[2].shape.d[0] != w->d[0]))
        return false;
    *why = "only up to 128 rows by many weights";
    return x->d[0] > 0 && x->d[0] <= MOST_ROWS && x->d[1] >= FEWEST_DEPTH && lmb_shape_count(w) >= FEWEST_WEIGHTS;
}

/* In scratch: the packed x; AT_ONCE rows of the result and where they begin; rows of w behind the last whole tile,
 * copied because a tile reads all of its rows. */
static size_t packed_floats(const lmb_shape *x)
{
    const lmbi_conv_loops *list[4];
    return (size_t)lmbi_up(lmbi_packed(lmbi_conv_choices(list)[0], x->d[1], x->d[0]), 16);
}

static lmb_status create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    const lmbi_conv_loops *list[4];
    const lmb_shape *x = &c->in[0].shape;

    (void)state, (void)err;
    *scratch = sizeof(float) *
                   (packed_floats(x) + (size_t)(AT_ONCE * MOST_ROWS + lmbi_conv_choices(list)[0]->tall * x->d[1])) +
               sizeof(int64_t) * AT_ONCE;
    return LMB_OK;
}

static lmb_status run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmbi_conv_loops *list[4], *l = lmbi_conv_choices(list)[0];
    int64_t m = r->in[0].shape.d[0], k = r->in[0].shape.d[1], n = r->in[1].shape.d[0];
    const float *bias = r->n_in > 2 ? r->in[2].data : NULL, *w = r->in[1].data;
    float *y = r->out[0].data, *packed = r->scratch, *part = packed + packed_floats(&r->in[0].shape),
          *end = part + AT_ONCE * MOST_ROWS;
    int64_t *at = (int64_t *)(void *)(end + l->tall * k), whole = n / l->tall * l->tall;

    (void)state, (void)err;
    lmbi_pack(l, r->in[0].data, NULL, 1, k, 1, m, k, 1, packed);
    for (int64_t i = 0; i < AT_ONCE; i++)
        at[i] = i * m;
    memset(end, 0, sizeof *end * (size_t)(l->tall * k));
    memcpy(end, w + whole * k, sizeof *w * (size_t)((n - whole) * k));
    for (int64_t j = 0, count; j < n; j += count) {
        count = j == whole ? n - whole : whole - j < AT_ONCE ? whole - j : AT_ONCE;
        l->multiply(j == whole ? end : w + j * k, k, count, k, packed, m, part, at, false);
        for (int64_t s = 0; s < m; s++)
            for (int64_t i = 0; i < count; i++)
                y[s * n + j + i] = part[i * m + s] + (bias ? bias[j + i] : 0);
    }
    return LMB_OK;
}

const lmb_kernel lmbi_gemm_rows = {
    .name = "own:gemm_rows", .op = "Gemm", .domain = "", .accepts = accepts, .create = create, .run = run
};
