/* core/cpu/stem.c - convolutions of few channels to few: the first layer of a network.
 *
 * Idea: with three channels in and eight out neither makes a whole vector, so vectors run along the pixels of a row.
 * The source comes plane by plane, as pictures do, and some rows at a time are copied into padded planes; a stride of
 * two sorts even and odd columns apart, so that each tap of neighbouring results is one load. Eight channels of the
 * result share it. The sums of [8][pixels] turn into [pixels][8] in registers, where bias and activation are done on
 * the way.
 */
#include "core/cpu/stem.h"

#include <stdlib.h>
#include <string.h>

#include "core/cpu/kernels.h"

enum { PLANES = 6 * 1024 }; /* floats that the first-level cache has room for */

typedef struct stem {
    lmbi_stem g;
    const lmbi_stem_loops *l;
    int64_t images;
    size_t planes;  /* where they begin in scratch, in floats */
    float *packed;  /* weights that never change, or NULL */
} stem;

const lmbi_stem_loops *lmbi_stem_choice(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        return &lmbi_stem_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &lmbi_stem_avx2;
#endif
    return &lmbi_stem_plain;
}

/* Where the channels of the result would leave half a vector empty, and pixels of a row fill at least three
 * quarters. */
static bool accepts(const lmb_call *c, const char **why)
{
    *why = "only 2-D f32 convolutions of at most 4 channels to at most 12, strides to 2, rows of some vectors";
    if (c->in[0].shape.n != 4 || c->in[0].dtype != LMB_F32 || (c->n_in > 3 && c->in[3].present))
        return false;
    lmb_conv v = lmb_conv_of_call(c);
    return v.group == 1 && v.c <= 4 && v.k <= 12 && v.sw <= 2 && v.oh > 0 &&
           4 * v.ow >= 3 * lmbi_up(v.ow, lmbi_stem_choice()->lanes);
}

/* Channels first, as the picture lies. */
static lmb_layout layout(const lmb_call *c, int operand)
{
    return operand == 0 ? LMB_LAYOUT_PLAIN : lmbi_conv_layout(c, operand);
}

static void destroy(void *state)
{
    stem *s = state;
    if (!s)
        return;
    free(s->g.at);
    free(s->packed);
    free(s);
}

void lmbi_stem_pack(const lmbi_stem *g, const float *w, float *to)
{
    for (int64_t k = 0; k < g->k; k += LMBI_STEM_GROUP)
        for (int64_t t = 0; t < g->taps; t++)
            for (int64_t i = k; i < k + LMBI_STEM_GROUP; i++)
                *to++ = i < g->k ? w[i * g->taps + t] : 0;
}

lmb_status lmbi_stem_create(const lmb_conv *v, int64_t lanes, lmbi_stem *out, lmb_error *err)
{
    int64_t reach = lmbi_up(v->ow, lanes) + (v->kw - 1) * v->dw / v->sw + 1, wide = (v->w + v->pw) / v->sw + 1;
    int64_t kernel = v->kh * v->kw, span = (v->kh - 1) * v->dh + 1;
    lmbi_stem g = { .c = v->c,
                    .h = v->h,
                    .w = v->w,
                    .k = v->k,
                    .oh = v->oh,
                    .ow = v->ow,
                    .step_y = v->sh,
                    .step_x = v->sw,
                    .above = v->ph,
                    .left = v->pw,
                    .taps = v->c * kernel };

    g.side = lmbi_up(wide > reach ? wide : reach, 16);
    g.rows = (PLANES / (v->c * v->sw * g.side) - span) / v->sh + 1;
    g.rows = g.rows < 1 ? 1 : g.rows < v->oh ? g.rows : v->oh;
    g.tall = (g.rows - 1) * v->sh + span;
    g.at = malloc(sizeof *g.at * (size_t)(g.taps + 1));
    if (!g.at)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the geometry of a convolution");
    for (int64_t t = 0; t < g.taps; t++) {
        int64_t p = t % kernel / v->kw * v->dh, q = t % v->kw * v->dw;
        g.at[t] = ((t / kernel * g.tall + p) * g.step_x + q % g.step_x) * g.side + q / g.step_x;
    }
    *out = g;
    return LMB_OK;
}

static lmb_status create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    lmb_conv v = lmb_conv_of_call(c);
    stem *s = calloc(1, sizeof *s);

    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a convolution");
    s->l = lmbi_stem_choice();
    s->images = v.n;
    lmb_status st = lmbi_stem_create(&v, s->l->lanes, &s->g, err);
    size_t packed = st == LMB_OK ? (size_t)lmbi_stem_packed(&s->g) : 0;
    if (st == LMB_OK && c->in[1].data) {
        s->packed = malloc(sizeof *s->packed * (packed + 1));
        if (s->packed)
            lmbi_stem_pack(&s->g, c->in[1].data, s->packed);
        else
            st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for packed weights");
    }
    if (st != LMB_OK) {
        destroy(s);
        return st;
    }
    s->planes = s->packed ? 0 : packed;
    *scratch = sizeof(float) * (s->planes + (size_t)lmbi_stem_planes(&s->g));
    *state = s;
    return LMB_OK;
}

static lmb_status convolve(const stem *s, const lmb_run *r, const lmbi_conv_end *e)
{
    const lmbi_stem *g = &s->g;
    const float *x = r->in[0].data, *w = s->packed ? s->packed : r->scratch;
    float *y = r->out[0].data, *planes = (float *)r->scratch + s->planes;

    if (!s->packed)
        lmbi_stem_pack(g, r->in[1].data, r->scratch);
    memset(planes, 0, sizeof *planes * (size_t)lmbi_stem_planes(g));
    for (int64_t n = 0; n < s->images; n++, x += g->c * g->h * g->w, y += g->oh * g->ow * g->k) {
        for (int64_t row = 0; row < g->oh; row += g->rows) {
            s->l->split(g, x, row, planes);
            s->l->convolve(g, planes, w, e, row, y);
        }
    }
    return LMB_OK;
}

static lmb_status conv_run(void *state, const lmb_run *r, lmb_error *err)
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

const lmb_kernel lmbi_stem_conv = { .name = "own:stem",
                                    .op = "Conv",
                                    .domain = "",
                                    .accepts = accepts,
                                    .layout = layout,
                                    .create = create,
                                    .run = conv_run,
                                    .destroy = destroy };
const lmb_kernel lmbi_stem_conv_act = { .name = "own:stem_act",
                                        .op = "ConvAct",
                                        .domain = "limbeck",
                                        .accepts = accepts,
                                        .layout = layout,
                                        .create = create,
                                        .run = act_run,
                                        .destroy = destroy };
