/* core/cpu/conv_weights.c - the gradient of a convolution by its weights, as a product of matrices (conv.c).
 *
 * The gathered rows of taps, turned, are multiplied with the gradient of the output; blocks are summed in f32 from zero
 * and then added, which rounds less than one long sum.
 */
#include <string.h>

#include "core/cpu/conv_state.h"

/* The smaller matrix is turned: its columns become rows of register tiles, the larger one is read in whole vectors. */
static lmb_status weights_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    lmbi_conv_state *s;

    LMB_TRY(lmbi_conv_create(c, false, &s, err));
    const lmbi_taps *g = &s->g;
    int64_t depth = g->kernel * (g->c / g->group), k = g->k / g->group;
    s->turned = k < depth;
    s->direct = s->direct && depth % (s->turned ? s->l->lanes : s->l->rows) == 0;
    s->spills = k % (s->turned || s->by_row ? s->l->rows : s->l->lanes) != 0;
    s->ldy = s->spills ? lmbi_up(k, 16) : g->k;
    s->lds = lmbi_up(s->turned ? depth : k, 16);
    if (s->by_row) { /* rows of taps in whole vectors, side by side */
        s->turned = true;
        s->lds = g->phase->spans * lmbi_up(lmbi_conv_kernel_width(g) * g->c, 16);
    }
    *scratch = 0;
    s->rows = lmbi_conv_take(scratch, s->by_row ? 0 : s->ld * s->block * 4);
    s->at = lmbi_conv_take(scratch, s->spills ? (s->ldy * s->block + 16) * 4 : 0);
    s->image = lmbi_conv_take(scratch, lmbi_conv_image_floats(s) * 4);
    s->sums = lmbi_conv_take(scratch, lmbi_up(s->turned ? k : depth, 16) * s->lds * 4);
    *state = s;
    return LMB_OK;
}

/* Rows of dy as they lie, or made whole: k numbers each, with room behind them. What tiles read there does not matter,
 * but where dy ends there is none. */
static const float *rows_of(const lmbi_conv_state *s, const float *dy, int64_t k, int64_t count, bool last,
                            float *whole)
{
    if (!s->spills || (s->ldy == s->g.k && !last))
        return dy;
    for (int64_t r = 0; r < count; r++)
        memcpy(whole + r * s->ldy, dy + r * s->g.k, sizeof *dy * (size_t)k);
    return whole;
}

/* One group: sums [taps * c][k], or turned. */
static void sum_group(const lmbi_conv_state *s, const float *x, const float *dy, float *rows, float *whole, float *sums)
{
    const lmbi_taps *g = &s->g;
    const lmbi_conv_loops *l = s->l;
    int64_t k = g->k / g->group, depth = g->kernel * (g->c / g->group), all = g->n * g->oh * g->ow;
    int64_t ldt = s->direct ? g->c : s->ld;

    memset(sums, 0, sizeof *sums * (size_t)(lmbi_up(s->turned ? k : depth, 16) * s->lds));
    for (int64_t m = 0; m < all; m += s->block) {
        int64_t count = all - m < s->block ? all - m : s->block;
        const float *taps = s->direct ? x + m * g->c : rows,
                    *d = rows_of(s, dy + m * g->k, k, count, m + count == all, whole);
        if (!s->direct)
            l->gather(g, g->phase, x, m, count, rows, s->ld);
        if (s->turned)
            l->columns(d, s->ldy, lmbi_up(k, l->rows), taps, ldt, lmbi_up(depth, l->lanes), count, sums, s->lds);
        else
            l->columns(taps, ldt, lmbi_up(depth, l->rows), d, s->ldy, lmbi_up(k, l->lanes), count, sums, s->lds);
    }
}

/* The same over padded images: sums [k][rows of taps, each in whole vectors]. */
static void sum_by_row(const lmbi_conv_state *s, const float *x, const float *dy, float *image, float *whole,
                       float *sums)
{
    const lmbi_taps *g = &s->g;
    int64_t width = lmbi_conv_kernel_width(g) * g->c, tall = lmbi_up(g->k, s->l->rows);

    memset(sums, 0, sizeof *sums * (size_t)(lmbi_up(g->k, 16) * s->lds));
    lmbi_conv_clear_image(s, image);
    for (int64_t n = 0; n < g->n; n++) {
        lmbi_pad(g, x + n * g->h * g->w * g->c, image);
        for (int64_t i = 0; i < g->oh; i++, dy += g->ow * g->k) {
            const float *d = rows_of(s, dy, g->k, g->ow, n == g->n - 1 && i == g->oh - 1, whole);
            for (int64_t p = 0; p < g->phase->spans; p++) {
                int64_t down = i * g->step_y + g->phase->span[p].y - g->tap->y;
                s->l->columns(d, s->ldy, tall, image + down * g->side * g->c,
                              g->step_x * g->c, lmbi_up(width, s->l->lanes), g->ow, sums + p * lmbi_up(width, 16),
                              s->lds);
            }
        }
    }
}

/* dy, x -> dw */
static lmb_status weights_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmbi_conv_state *s = state;
    const lmbi_taps *g = &s->g;
    char *scratch = r->scratch;
    const float *dy = r->in[0].data, *x = r->in[1].data;
    float *dw = r->out[0].data, *sums = (float *)(void *)(scratch + s->sums);
    int64_t c = g->c / g->group, k = g->k / g->group, per_k = s->turned ? s->lds : 1, per_tap = s->turned ? 1 : s->lds;

    (void)err;
    int64_t width = s->by_row ? lmbi_conv_kernel_width(g) : g->kernel,
            next = lmbi_up(width * c, 16) * per_tap; /* rows of taps */
    for (int64_t i = 0; i < g->group; i++) {
        float *whole = (float *)(void *)(scratch + s->at);
        if (s->by_row)
            sum_by_row(s, x, dy, (float *)(void *)(scratch + s->image), whole, sums);
        else
            sum_group(s, x + i * c, dy + i * k, (float *)(void *)(scratch + s->rows), whole, sums);
        for (int64_t o = 0; o < k; o++)
            for (int64_t t = 0; t < g->kernel; t++)
                for (int64_t j = 0; j < c; j++)
                    dw[((i * k + o) * c + j) * g->kernel + g->tap[t].weight] =
                        sums[t / width * next + (t % width * c + j) * per_tap + o * per_k];
    }
    return LMB_OK;
}

const lmb_kernel lmbi_own_conv_weights = { .name = "own:conv_weights", .op = "ConvGradWeights", .domain = "limbeck",
                                           .accepts = lmbi_conv_f32, .layout = lmbi_conv_layout,
                                           .create = weights_create, .run = weights_run,
                                           .destroy = lmbi_conv_destroy };
