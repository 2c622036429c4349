/* core/cpu/conv.c - convolutions of any kernel, stride, padding, dilation and grouping, and both gradients, as products
 * of matrices that are never made whole.
 *
 * Idea: with channels last, what a pixel of the result sees is a few runs of neighbouring floats. A block of pixels
 * gathers its runs into rows that fit the second-level cache (padding becomes zeros there, and nowhere else is it
 * thought of), and the rows are multiplied with packed weights in register tiles. A 1x1 convolution needs no gathering.
 * The gradient of the input is the same thing with other taps (conv.h): no sum is scattered, so every result has one
 * fixed order of additions. The gradient of the weights is conv_weights.c.
 *
 * Few channels make short runs, not worth gathering: an image is copied once with its padding, and a row of pixels of
 * the result then finds each row of its taps as a matrix with overlapping rows.
 *
 * A 1-D convolution is a 2-D one of height 1.
 *   source   Goto and van de Geijn 2008, Anatomy of High-Performance Matrix Multiplication; Dukhan 2019, The Indirect
 *            Convolution Algorithm
 */
#include <stdlib.h>
#include <string.h>

#include "core/cpu/conv_state.h"

enum { ROW_FLOATS = 32 * 1024, FEWEST_ROWS = 48, MOST_ROWS = 480, MOST_DEPTH = 512 };

size_t lmbi_conv_take(size_t *at, int64_t bytes)
{
    size_t here = *at;
    *at += ((size_t)bytes + 63) & ~(size_t)63;
    return here;
}

bool lmbi_conv_f32(const lmb_call *c, const char **why)
{
    *why = "only f32";
    return c->in[0].dtype == LMB_F32;
}

/* 1x1, of weights that stay: what follows is done in registers, and nothing is called but the loops. */
static bool product_ok(const lmb_call *c, const char **why)
{
    if (!lmbi_conv_f32(c, why))
        return false;
    lmb_conv v = lmb_conv_of_call(c);
    *why = "only 1x1, stride 1, no padding or groups, up to 512 channels, weights that never change";
    return c->in[1].data && v.kh == 1 && v.kw == 1 && v.sh == 1 && v.sw == 1 && v.group == 1 && v.oh == v.h &&
           v.ow == v.w && v.ph == 0 && v.pw == 0 && v.c <= MOST_DEPTH;
}

void lmbi_conv_destroy(void *state)
{
    lmbi_conv_state *s = state;
    if (!s)
        return;
    lmbi_taps_free(&s->g);
    free(s->packed);
    free(s);
}

/* Short runs and hardly a tile that is cut. */
static bool is_by_row(const lmbi_conv_state *s, const lmb_conv *v)
{
    return !s->direct && !s->g.backward && v->group == 1 && v->dw == 1 && (v->kw * v->c <= 64 || v->k <= 16) &&
           4 * v->ow >= 3 * lmbi_up(v->ow, s->l->tall);
}

lmb_status lmbi_conv_create(const lmb_call *c, bool backward, lmbi_conv_state **out, lmb_error *err)
{
    lmb_conv v = lmb_conv_of_call(c);
    const lmbi_conv_loops *list[4];
    lmbi_conv_state *s = calloc(1, sizeof *s);

    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a convolution");
    s->l = lmbi_conv_choices(list)[0];
    lmb_status st = lmbi_taps_create(&v, backward, &s->g, err);
    if (st != LMB_OK) {
        free(s);
        return st;
    }
    lmbi_taps *g = &s->g;
    s->direct = g->kernel == 1 && g->taps == 1 && v.sh == 1 && v.sw == 1 && g->tap->y == 0 && g->tap->x == 0 &&
                g->h == g->oh && g->w == g->ow;
    s->ld = lmbi_up(g->most_taps * (g->c / g->group), 16);
    s->block = ROW_FLOATS / (s->ld + g->k / g->group + 1);
    s->block = s->block < FEWEST_ROWS ? FEWEST_ROWS : s->block > MOST_ROWS ? MOST_ROWS : s->block;
    s->block = lmbi_up(s->block, s->l->tall);
    s->by_row = is_by_row(s, &v);
    if (s->by_row && v.ow > s->block)
        s->block = v.ow;
    *out = s;
    return LMB_OK;
}

/* ---- padded images ---- */

int64_t lmbi_conv_image_floats(const lmbi_conv_state *s)
{
    const lmbi_taps *g = &s->g;
    return !s->by_row ? 0 : (g->tall * g->side + s->l->tall * g->step_x) * g->c + s->l->wide * s->l->lanes;
}

void lmbi_conv_clear_image(const lmbi_conv_state *s, float *to)
{
    memset(to, 0, sizeof *to * (size_t)lmbi_conv_image_floats(s));
}

/* ---- forward, and the gradient of the input ---- */

static int64_t packed_floats(const lmbi_conv_state *s)
{
    int64_t c = s->g.c / s->g.group, k = s->g.k / s->g.group;
    return lmbi_packed(s->l, s->g.kernel * c, k) * s->g.group;
}

int64_t lmbi_conv_kernel_width(const lmbi_taps *g)
{
    return g->kernel / g->phase->spans;
}

/* Weights [k, c / group, kernel] of all phases and groups. */
static void pack(const lmbi_conv_state *s, const float *w, float *b)
{
    const lmbi_taps *g = &s->g;
    int64_t c = g->c / g->group, k = g->k / g->group, inner = g->backward ? k * g->kernel : g->kernel;

    if (s->by_row) {
        int64_t width = lmbi_conv_kernel_width(g);
        for (int64_t t = 0; t < g->kernel; t += width, b += lmbi_packed(s->l, width * c, k))
            lmbi_pack(s->l, w, g->tap + t, width, c, inner, k, c * g->kernel, 1, b);
        return;
    }
    for (int64_t f = 0; f < g->phases; f++)
        for (int64_t i = 0; i < g->group; i++) {
            const lmbi_phase *p = &g->phase[f];
            lmbi_pack(s->l, w + i * c * k * g->kernel, p->tap, p->taps, c, inner, k,
                      g->backward ? g->kernel : c * g->kernel, 1, b);
            b += lmbi_packed(s->l, p->taps * c, k);
        }
}

static lmb_status layers_create(const lmb_call *c, bool backward, void **state, size_t *scratch, lmb_error *err)
{
    lmbi_conv_state *s;

    LMB_TRY(lmbi_conv_create(c, backward, &s, err));
    if (c->in[1].data) {
        s->packed = malloc(sizeof(float) * (size_t)(packed_floats(s) + 1));
        if (!s->packed) {
            lmbi_conv_destroy(s);
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for packed weights");
        }
        pack(s, c->in[1].data, s->packed);
    }
    *scratch = 0;
    if (!s->packed)
        lmbi_conv_take(scratch, packed_floats(s) * 4);
    s->rows = lmbi_conv_take(scratch, s->by_row ? 0 : s->ld * s->block * 4);
    s->at = lmbi_conv_take(scratch, s->block * 8);
    s->image = lmbi_conv_take(scratch, lmbi_conv_image_floats(s) * 4);
    *state = s;
    return LMB_OK;
}

static lmb_status forward_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    return layers_create(c, false, state, scratch, err);
}

static lmb_status data_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    return layers_create(c, true, state, scratch, err);
}

/* Where rows m, m + 1, ... of a phase lie in the result. */
static void places(const lmbi_taps *g, const lmbi_phase *p, int64_t m, int64_t count, int64_t *at)
{
    lmbi_pixel q = { m / (p->rows * p->cols), m / p->cols % p->rows, m % p->cols };

    for (int64_t r = 0; r < count; r++) {
        at[r] = ((q.n * g->oh + p->y + q.i * g->jump_y) * g->ow + p->x + q.j * g->jump_x) * g->k;
        if (++q.j < p->cols)
            continue;
        q.j = 0;
        if (++q.i == p->rows) {
            q.i = 0;
            q.n++;
        }
    }
}

/* One block of rows, one group: all its columns of the result. */
static void block_rows(const lmbi_conv_state *s, const lmbi_phase *p, const float *x, int64_t m, int64_t count,
                       const float *b, float *y, const int64_t *at, float *rows)
{
    const lmbi_taps *g = &s->g;
    int64_t depth = p->taps * (g->c / g->group), k = g->k / g->group;
    int64_t whole = s->direct ? count / s->l->tall * s->l->tall : 0; /* nothing behind the source may be read */

    if (whole > 0)
        s->l->multiply(x + m * g->c, g->c, whole, depth, b, k, y, at, false);
    if (count == whole)
        return;
    s->l->gather(g, p, x, m + whole, count - whole, rows, s->ld);
    s->l->multiply(rows, s->ld, count - whole, depth, b, k, y, at + whole, false);
}

static void convolve_by_row(const lmbi_conv_state *s, const float *x, const float *packed, float *y,
                            const lmbi_conv_end *e, float *image, int64_t *at)
{
    const lmbi_taps *g = &s->g;
    int64_t width = lmbi_conv_kernel_width(g), panel = lmbi_packed(s->l, width * g->c, g->k);

    for (int64_t j = 0; j < g->ow; j++)
        at[j] = j * g->k;
    lmbi_conv_clear_image(s, image);
    for (int64_t n = 0, row = 0; n < g->n; n++) {
        lmbi_pad(g, x + n * g->h * g->w * g->c, image);
        for (int64_t i = 0; i < g->oh; i++, row += g->ow) {
            for (int64_t p = 0; p < g->phase->spans; p++) {
                int64_t down = i * g->step_y + g->tap[p * width].y - g->tap->y;
                s->l->multiply(image + down * g->side * g->c, g->step_x * g->c, g->ow, width * g->c, packed + p * panel,
                               g->k, y + row * g->k, at, p > 0);
            }
            s->l->finish(e, g->ow, g->k, row, y);
        }
    }
}

/* A matrix product of one panel of depth. */
static bool is_product(const lmbi_conv_state *s)
{
    return s->direct && !s->g.backward && s->g.group == 1 && s->g.c <= MOST_DEPTH;
}

static void convolve(const lmbi_conv_state *s, const lmb_run *r, const lmbi_conv_end *e)
{
    const lmbi_taps *g = &s->g;
    char *scratch = r->scratch;
    const float *x = r->in[0].data;
    float *y = r->out[0].data, *packed = s->packed ? s->packed : r->scratch,
          *rows = (float *)(void *)(scratch + s->rows);
    int64_t *at = (int64_t *)(void *)(scratch + s->at), c = g->c / g->group, k = g->k / g->group;

    if (!s->packed)
        pack(s, r->in[1].data, packed);
    if (is_product(s)) {
        s->l->direct(x, g->n * g->h * g->w, c, packed, k, e, y);
        return;
    }
    if (s->by_row)
        convolve_by_row(s, x, packed, y, e, (float *)(void *)(scratch + s->image), at);
    for (const lmbi_phase *p = g->phase; !s->by_row && p < g->phase + g->phases; p++) {
        int64_t depth = p->taps * c, all = g->n * p->rows * p->cols;
        for (int64_t m = 0; m < all; m += s->block) {
            int64_t count = all - m < s->block ? all - m : s->block;
            places(g, p, m, count, at);
            for (int64_t i = 0; i < g->group; i++)
                block_rows(s, p, x + i * c, m, count, packed + i * lmbi_packed(s->l, depth, k), y + i * k, at, rows);
            if (!g->backward)
                s->l->finish(e, count, g->k, m, y);
        }
        packed += lmbi_packed(s->l, depth, k) * g->group;
    }
}

static lmb_status forward_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmbi_conv_end e = lmbi_conv_end_of(r, NULL);
    (void)err;
    convolve(state, r, &e);
    return LMB_OK;
}

static lmb_status act_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmbi_conv_end e = lmbi_conv_end_of(r, r->attr);
    (void)err;
    convolve(state, r, &e);
    return LMB_OK;
}

/* dy, w: never an end. */
static lmb_status data_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmbi_conv_end e = lmbi_conv_end_of(&(lmb_run){ .n_in = 0 }, NULL);
    (void)err;
    convolve(state, r, &e);
    return LMB_OK;
}

#define KERNEL(...) LMBI_CONV_KERNEL(lmbi_own_, __VA_ARGS__, lmbi_conv_destroy)
KERNEL(conv, "conv", "Conv", "", lmbi_conv_f32, forward_create, forward_run);
KERNEL(conv_act, "conv_act", "ConvAct", "limbeck", lmbi_conv_f32, forward_create, act_run);
KERNEL(conv_data, "conv_data", "ConvGradData", "limbeck", lmbi_conv_f32, data_create, data_run);
KERNEL(product, "product", "Conv", "", product_ok, forward_create, forward_run);
KERNEL(product_act, "product_act", "ConvAct", "limbeck", product_ok, forward_create, act_run);
