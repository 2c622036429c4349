/* core/cpu/band.c - 3x3 convolutions of one filter a channel, of stride 1 and 2, and the gradient of their input at
 * stride 1.
 *
 * Idea: such a layer is bound by loads. The rows that a few rows of the result see are copied once into a ring of
 * padded rows that stays in the first-level cache, so that no tap needs a question; nine vectors of weights stay in
 * registers while they pass along the rows, and each vector of the source that is loaded serves up to three rows of the
 * result. Where a pixel has fewer channels than a vector has lanes, a vector is some whole pixels. Bias and activation
 * are done before the sums leave the registers.
 */
#include "core/cpu/band.h"

#include <stdlib.h>

#include "core/cpu/kernels.h"

typedef struct band {
    lmbi_taps taps;
    lmbi_band g;
    const lmbi_band_loops *l;
    float *packed; /* weights that never change, or NULL */
} band;

const lmbi_band_loops *const *lmbi_band_choices(const lmbi_band *g, const lmbi_band_loops *list[4])
{
    const lmbi_band_loops *all[3];
    int have = 0, n = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        all[have++] = &lmbi_band_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        all[have++] = &lmbi_band_avx2;
#endif
    all[have++] = &lmbi_band_plain;
    for (int i = 0; i < have; i++) {
        int64_t lanes = all[i]->lanes;
        if (g->c >= lanes || (g->step == 1 && lanes % g->c == 0 && g->ow * g->c >= lanes))
            list[n++] = all[i];
    }
    list[n] = NULL;
    return list;
}

bool lmbi_band_of(const lmbi_taps *t, const lmb_conv *v, lmbi_band *out)
{
    *out = (lmbi_band){ t->c, t->h, t->w, t->oh, t->ow, t->above, t->left, t->step_x };
    return v->kh == 3 && v->kw == 3 && v->dh == 1 && v->dw == 1 && t->phases == 1 && t->taps == 9 &&
           t->step_x == t->step_y && t->step_x <= 2 && t->left >= 0 && t->left <= 2 && t->above >= 0;
}

void lmbi_band_pack(const lmbi_band *g, const lmbi_taps *t, int64_t lanes, const float *w, float *to)
{
    for (int64_t i = 0; i < 9; i++)
        for (int64_t c = 0; c < lmbi_band_row(g, lanes); c++)
            *to++ = w[c % g->c * 9 + t->tap[i].weight];
}

static void destroy(void *state)
{
    band *s = state;
    if (!s)
        return;
    lmbi_taps_free(&s->taps);
    free(s->packed);
    free(s);
}

static bool accepts(const lmb_call *c, const char **why)
{
    *why = "only 2-D f32 convolutions 3x3 with one filter a channel, strides 1 or 2, some channels";
    if (c->in[0].shape.n != 4 || c->in[0].dtype != LMB_F32 || (c->n_in > 3 && c->in[3].present))
        return false;
    lmb_conv v = lmb_conv_of_call(c);
    lmbi_band g = { .c = v.c, .ow = v.ow, .step = v.sw };
    const lmbi_band_loops *list[4];
    /* Images whose taps lie beyond them are left to depthwise.c. */
    return v.group == v.c && v.k == v.c && v.kh == 3 && v.kw == 3 && v.dh == 1 && v.dw == 1 && v.sh == v.sw &&
           v.sw <= 2 && v.ph >= 0 && v.ph <= 2 && v.pw >= 0 && v.pw <= 2 && v.h >= 3 && v.w >= 3 && v.oh >= 2 &&
           v.ow >= 2 && *lmbi_band_choices(&g, list);
}

/* dy of stride 1 is the source. */
static bool accepts_data(const lmb_call *c, const char **why)
{
    if (!accepts(c, why))
        return false;
    lmb_conv v = lmb_conv_of_call(c);
    lmbi_band g = { .c = v.c, .ow = v.w, .step = 1 };
    const lmbi_band_loops *list[4];
    *why = "only stride 1 backward";
    return v.sw == 1 && v.oh >= 3 && v.ow >= 3 && *lmbi_band_choices(&g, list);
}

static lmb_status create(const lmb_call *c, bool backward, void **state, size_t *scratch, lmb_error *err)
{
    lmb_conv v = lmb_conv_of_call(c);
    const lmbi_band_loops *list[4];
    band *s = calloc(1, sizeof *s);

    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a convolution");
    lmb_status st = lmbi_taps_create(&v, backward, &s->taps, err);
    if (st == LMB_OK && !lmbi_band_of(&s->taps, &v, &s->g))
        st = LMB_FAIL(err, LMB_E_UNSUPPORTED, "no 3x3 convolution whose taps all meet the image");
    if (st != LMB_OK) {
        destroy(s);
        return st;
    }
    s->l = *lmbi_band_choices(&s->g, list);
    size_t weights = sizeof(float) * 9 * (size_t)lmbi_band_row(&s->g, s->l->lanes);
    if (c->in[1].data) {
        s->packed = malloc(weights);
        if (!s->packed) {
            destroy(s);
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for packed weights");
        }
        lmbi_band_pack(&s->g, &s->taps, s->l->lanes, c->in[1].data, s->packed);
    }
    *scratch = sizeof(float) * (size_t)lmbi_band_floats(&s->g) + (s->packed ? 0 : weights);
    *state = s;
    return LMB_OK;
}

static lmb_status forward_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    return create(c, false, state, scratch, err);
}

static lmb_status data_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    return create(c, true, state, scratch, err);
}

static lmb_status convolve(const band *s, const lmb_run *r, const lmbi_conv_end *e)
{
    const lmbi_band *g = &s->g;
    const float *x = r->in[0].data;
    float *y = r->out[0].data, *rows = r->scratch, *w = s->packed ? s->packed : rows + lmbi_band_floats(g);

    if (!s->packed)
        lmbi_band_pack(g, &s->taps, s->l->lanes, r->in[1].data, w);
    for (int64_t n = 0; n < s->taps.n; n++, x += g->h * g->w * g->c, y += g->oh * g->ow * g->c)
        s->l->convolve(g, x, w, e, rows, y);
    return LMB_OK;
}

static lmb_status forward_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmbi_conv_end e = lmbi_conv_end_of(r, NULL);
    (void)err;
    return convolve(state, r, &e);
}

static lmb_status act_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmbi_conv_end e = lmbi_conv_end_of(r, r->attr);
    (void)err;
    return convolve(state, r, &e);
}

/* dy, w: never an end. */
static lmb_status data_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmbi_conv_end e = lmbi_conv_end_of(&(lmb_run){ .n_in = 0 }, NULL);
    (void)err;
    return convolve(state, r, &e);
}

#define KERNEL(...) LMBI_CONV_KERNEL(lmbi_band_, __VA_ARGS__, destroy)
KERNEL(conv, "depthwise3", "Conv", "", accepts, forward_create, forward_run);
KERNEL(conv_act, "depthwise3_act", "ConvAct", "limbeck", accepts, forward_create, act_run);
KERNEL(conv_data, "depthwise3_data", "ConvGradData", "limbeck", accepts_data, data_create, data_run);
