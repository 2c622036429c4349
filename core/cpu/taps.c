/* core/cpu/taps.c - which source pixels each pixel of a convolution's result sees (conv.h), and the packing of weights.
 *
 * Along one dimension, tap p of pixel o of the result y = conv(x) is at o * stride - pad + p * dilation of x. Turned
 * round, element i of dx hears from dy at (i + pad - p * dilation) / stride where that is whole: for i of one remainder
 * by the stride always with the same taps, one pixel further with every step.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/conv.h"

/* One dimension of a convolution. */
typedef struct axis { int64_t result, kernel, stride, dilation, pad; } axis;

static int64_t phases_of(const axis *a, bool backward)
{
    return !backward ? 1 : a->stride < a->result ? a->stride : a->result;
}

/* The next tap of phase f after tap p (-1: the first), in the order of source pixels, and where it is; false: none. */
static bool next_tap(const axis *a, bool backward, int64_t f, int64_t *p, int64_t *at)
{
    if (!backward) {
        *at = ++*p * a->dilation - a->pad;
        return *p < a->kernel;
    }
    for (int64_t q = *p < 0 ? a->kernel - 1 : *p - 1; q >= 0; q--) {
        int64_t to = f + a->pad - q * a->dilation;
        if (to % a->stride == 0) {
            *p = q;
            *at = to / a->stride;
            return true;
        }
    }
    return false;
}

/* Pixels [*lo, *hi) of `count`, `step` apart in a source of size n, whose tap `shift` away lies inside. */
static void reach(int64_t shift, int64_t step, int64_t n, int64_t count, int64_t *lo, int64_t *hi)
{
    *lo = shift >= 0 ? 0 : (-shift + step - 1) / step;
    *hi = n - 1 - shift < 0 ? 0 : (n - 1 - shift) / step + 1;
    *hi = *hi > count ? count : *hi;
    *lo = *lo > *hi ? *hi : *lo;
}

/* The taps of phase (fy, fx), appended to the lists. */
static void fill_phase(lmbi_taps *g, const axis *ay, const axis *ax, int64_t fy, int64_t fx, lmbi_tap **tap,
                       lmbi_span **span)
{
    lmbi_phase *f = &g->phase[g->phases++];
    int64_t p = -1, q, y, x;
    bool neighbours = g->group == 1;

    *f = (lmbi_phase){ .y = fy, .x = fx, .tap = *tap, .span = *span };
    f->rows = (ay->result - fy + g->jump_y - 1) / g->jump_y;
    f->cols = (ax->result - fx + g->jump_x - 1) / g->jump_x;
    f->hi = f->cols;
    while (next_tap(ay, g->backward, fy, &p, &y))
        for (q = -1; next_tap(ax, g->backward, fx, &q, &x); (*tap)++) {
            lmbi_span *last = *span - 1;
            lmbi_tap *t = *tap;
            *t = (lmbi_tap){ .y = y, .x = x, .at = (y * g->w + x) * g->c, .weight = p * ax->kernel + q };
            reach(y, g->step_y, g->h, f->rows, &t->top, &t->bottom);
            reach(x, g->step_x, g->w, f->cols, &t->left, &t->right);
            f->lo = t->left > f->lo ? t->left : f->lo; /* the ends may cross: then there are none */
            f->hi = t->right < f->hi ? t->right : f->hi;
            if (neighbours && *span > f->span && last->y == y && last->x + last->taps == x)
                last->taps++;
            else
                *(*span)++ = (lmbi_span){ y, x, 1 };
        }
    f->taps = *tap - f->tap;
    f->spans = *span - f->span;
    g->most_taps = f->taps > g->most_taps ? f->taps : g->most_taps;
}

lmb_status lmbi_taps_create(const lmb_conv *v, bool backward, lmbi_taps *out, lmb_error *err)
{
    lmbi_taps g = { .n = v->n,
                    .h = v->h,
                    .w = v->w,
                    .c = v->c,
                    .oh = v->oh,
                    .ow = v->ow,
                    .k = v->k,
                    .step_y = v->sh,
                    .step_x = v->sw,
                    .jump_y = 1,
                    .jump_x = 1,
                    .group = v->group,
                    .kernel = v->kh * v->kw,
                    .backward = backward };
    axis ay = { v->oh, v->kh, v->sh, v->dh, v->ph }, ax = { v->ow, v->kw, v->sw, v->dw, v->pw };

    if (backward) {
        g.h = v->oh, g.w = v->ow, g.c = v->k, g.oh = v->h, g.ow = v->w, g.k = v->c;
        g.step_y = g.step_x = 1, g.jump_y = v->sh, g.jump_x = v->sw;
        ay.result = v->h, ax.result = v->w;
    }
    int64_t down = phases_of(&ay, backward), side = phases_of(&ax, backward);
    g.phase = malloc(sizeof *g.phase * (size_t)(down * side + 1));
    g.tap = malloc(sizeof *g.tap * (size_t)(g.kernel + 1));
    g.span = malloc(sizeof *g.span * (size_t)(g.kernel + 1));
    if (!g.phase || !g.tap || !g.span) {
        lmbi_taps_free(&g);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the geometry of a convolution");
    }
    lmbi_tap *tap = g.tap;
    lmbi_span *span = g.span;
    for (int64_t fy = 0; fy < down; fy++)
        for (int64_t fx = 0; fx < side; fx++)
            fill_phase(&g, &ay, &ax, fy, fx, &tap, &span);
    g.taps = tap - g.tap;
    if (g.phases == 1 && g.taps == g.kernel) {
        const lmbi_tap *first = g.tap, *last = tap - 1;
        g.above = -first->y, g.left = -first->x;
        g.tall = (g.phase->rows - 1) * g.step_y + last->y - first->y + 1;
        g.side = (g.phase->cols - 1) * g.step_x + last->x - first->x + 1;
    }
    *out = g;
    return LMB_OK;
}

lmb_status lmbi_taps_padded(const lmbi_taps *g, lmbi_taps *out, lmb_error *err)
{
    lmbi_taps p = *g;

    p.phase = malloc(sizeof *p.phase);
    p.tap = malloc(sizeof *p.tap * (size_t)g->kernel);
    p.span = NULL;
    if (!p.phase || !p.tap) {
        lmbi_taps_free(&p);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the geometry of a convolution");
    }
    p.h = g->tall, p.w = g->side;
    *p.phase = *g->phase;
    p.phase->tap = p.tap, p.phase->span = NULL, p.phase->spans = 0;
    p.phase->lo = 0, p.phase->hi = p.phase->cols;
    for (int64_t t = 0; t < g->kernel; t++) {
        lmbi_tap *to = &p.tap[t];
        *to = (lmbi_tap){ .y = g->tap[t].y + g->above, .x = g->tap[t].x + g->left, .weight = g->tap[t].weight };
        to->at = (to->y * p.w + to->x) * p.c;
        to->bottom = p.phase->rows, to->right = p.phase->cols;
    }
    *out = p;
    return LMB_OK;
}

void lmbi_taps_free(lmbi_taps *g)
{
    free(g->phase);
    free(g->tap);
    free(g->span);
}

void lmbi_pad(const lmbi_taps *g, const float *x, float *to)
{
    int64_t from = g->left < 0 ? -g->left : 0, width = (g->side - g->left < g->w ? g->side - g->left : g->w) - from;

    for (int64_t y = g->above < 0 ? -g->above : 0; y < g->h && y + g->above < g->tall && width > 0; y++)
        memcpy(to + ((y + g->above) * g->side + g->left + from) * g->c, x + (y * g->w + from) * g->c,
               sizeof *to * (size_t)(width * g->c));
}

const lmbi_conv_loops *const *lmbi_conv_choices(const lmbi_conv_loops *list[4])
{
    int n = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        list[n++] = &lmbi_conv_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        list[n++] = &lmbi_conv_avx2;
#endif
    list[n++] = &lmbi_conv_plain;
    list[n] = NULL;
    return list;
}

void lmbi_pack(const lmbi_conv_loops *l, const float *from, const lmbi_tap *tap, int64_t taps, int64_t inner,
               int64_t inner_step, int64_t n, int64_t step, float scale, float *b)
{
    for (int64_t j = 0, width; j < n; j += width) {
        width = n - j >= l->wide * l->lanes ? l->wide * l->lanes : l->lanes;
        int64_t whole = n - j < width ? n - j : width;
        for (int64_t t = 0; t < taps; t++)
            for (int64_t i = 0; i < inner; i++, b += width) {
                const float *row = from + (tap ? tap[t].weight : 0) + i * inner_step + j * step;
                for (int64_t k = 0; k < whole; k++)
                    b[k] = scale * row[k * step];
                for (int64_t k = whole; k < width; k++)
                    b[k] = 0;
            }
    }
}

lmbi_conv_end lmbi_conv_end_of(const lmb_run *r, const lmb_conv_act_attr *a)
{
    bool relu = a && *a->function == 'R', clip = a && *a->function == 'C';

    return (lmbi_conv_end){ r->n_in > 2 ? r->in[2].data : NULL, r->n_in > 3 ? r->in[3].data : NULL,
                            relu ? 0 : clip ? a->lo : -INFINITY, clip ? a->hi : INFINITY };
}
