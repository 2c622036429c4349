/* core/cpu/winograd.c - 3x3 convolutions of stride 1 and their gradients with a quarter of the multiplications.
 *
 * Idea: a 4x4 tile of outputs takes a 6x6 tile of inputs. Transformed by small fixed matrices, the convolution becomes
 * 36 products, one a point, instead of 144; over all tiles and channels these are 36 matrix products. With channels
 * last a transform works on vectors of channels without a shuffle. Blocks of tiles stay in the second-level cache from
 * the first transform to the last. Where weights are many and tiles few (512 channels at 7x7) it is the transformed
 * weights that must not leave the cache: all tiles are one block, and weights are transformed, used and forgotten, or
 * their gradient is summed and transformed back, by bands of channels.
 * The gradient of the input is the same convolution with turned weights; that of the weights
 * multiplies the transformed input with the transformed gradient.
 *
 * Rounding errors are a few times those of a direct convolution (2e-6 of the largest output), and the same in every
 * run; the backend "onednn" has none of this, for comparisons. winograd_bf16.c, for feature maps in bf16, has larger
 * ones.
 *   source   Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks, F(4x4, 3x3); the choice of points:
 *            Alam et al. 2022, Winograd Convolution for Deep Neural Networks: Efficient Point Selection
 */
#include "core/cpu/winograd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/kernels.h"
#include "core/ops/conv.h"

enum { CACHE_FLOATS = 100 * 1024, FEWEST_TILES = 24, FEWEST_PREPARED = 12, MOST_CHANNELS = 512 };
enum { DEEP = 200 * 200, MOST_AT_ONCE = 128 * 1024 }; /* pairs of channels; channels of all tiles: 18 MB of points */

typedef struct plan {
    lmbi_winograd g;
    const lmbi_winograd_loops *loops;
    bool banded; /* all tiles at once */
    float *u; /* transformed weights that never change, or NULL */
} plan;

const lmbi_winograd_loops *const *lmbi_winograd_choices(const lmbi_winograd_loops *list[4])
{
    int n = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        list[n++] = &lmbi_winograd_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        list[n++] = &lmbi_winograd_avx2;
#endif
    list[n++] = &lmbi_winograd_plain;
    list[n] = NULL;
    return list;
}

lmbi_winograd lmbi_winograd_of(const lmb_conv *v, bool backward)
{
    lmbi_winograd g = { .n = v->n, .h = v->h, .w = v->w, .c = v->c, .oh = v->oh, .ow = v->ow, .k = v->k, .ph = v->ph,
                        .pw = v->pw };

    if (backward)
        g = (lmbi_winograd){ .n = v->n, .h = v->oh, .w = v->ow, .c = v->k, .oh = v->h, .ow = v->w, .k = v->c,
                             .ph = 2 - v->ph, .pw = 2 - v->pw };
    g.row = g.k;
    g.down = (g.oh + 3) / 4;
    g.side = (g.ow + 3) / 4;
    g.tiles = g.n * g.down * g.side;
    g.block = CACHE_FLOATS / (LMBI_POINTS * (g.c + g.k)) / LMBI_TILE * LMBI_TILE;
    g.block = g.block < LMBI_TILE ? LMBI_TILE : g.block;
    lmbi_winograd_lengthen(&g, 1);
    return g;
}

void lmbi_winograd_lengthen(lmbi_winograd *g, int64_t times)
{
    int64_t most = (g->tiles + LMBI_TILE - 1) / LMBI_TILE * LMBI_TILE;
    g->block = g->block * times > most ? most : g->block * times;
}

/* Weights that change with each step are so many, and tiles so few, that they are best worked on in bands. */
static bool is_deep(const lmbi_winograd *g)
{
    return g->c * g->k >= DEEP && g->tiles * (g->c + g->k) <= MOST_AT_ONCE;
}

static bool accepts(const lmb_call *c, const char **why)
{
    if (c->in[0].shape.n != 4 || c->in[0].dtype != LMB_F32) {
        *why = "only 2-D f32 convolutions";
        return false;
    }
    lmb_conv v = lmb_conv_of_call(c);
    lmbi_winograd g = lmbi_winograd_of(&v, false);
    *why = "only 3x3, stride 1, no dilation or groups, padding up to 2";
    if (v.kh != 3 || v.kw != 3 || v.sh != 1 || v.sw != 1 || v.dh != 1 || v.dw != 1 || v.group != 1 || v.ph > 2 ||
        v.pw > 2)
        return false;
    *why = "only channels that are a multiple of 16, up to 512";
    if (v.c < 16 || v.k < 16 || v.c % LMBI_CHUNK || v.k % LMBI_CHUNK || v.c > MOST_CHANNELS || v.k > MOST_CHANNELS)
        return false;
    *why = "too few tiles to pay for the transforms";
    bool prepared = strncmp(c->op->name, "ConvGrad", 8) != 0 && c->in[1].data; /* Conv, ConvAct of constant weights */
    int64_t channels = v.c > v.k ? v.c : v.k; /* transforming weights, or their gradient, costs channels^2 */
    return g.tiles >= (prepared ? FEWEST_PREPARED : FEWEST_TILES) && v.oh >= 4 && v.ow >= 4 &&
           (prepared || is_deep(&g) || 4 * g.tiles > channels);
}

static void destroy(void *state)
{
    plan *p = state;
    if (p)
        free(p->u);
    free(p);
}

enum { FORWARD, DATA, WEIGHTS };

/* Floats of scratch, see winograd.h. */
static int64_t room_for(const lmbi_winograd *g, bool banded, int way)
{
    bool at_once = way == WEIGHTS && g->block >= g->tiles;
    int64_t c = at_once && g->c > LMBI_BAND_IN ? LMBI_BAND_IN : g->c, band = banded || at_once ? LMBI_BAND : g->k;
    int64_t k = banded && way != WEIGHTS ? LMBI_BAND : g->k;
    return lmbi_winograd_points(g->block, g->c) + lmbi_winograd_points(g->block, k) + lmbi_winograd_points(c, band);
}

static lmb_status create(const lmb_call *c, int way, const lmbi_winograd_loops *loops, void **state, size_t *scratch,
                         lmb_error *err)
{
    lmb_conv v = lmb_conv_of_call(c);
    plan *p = malloc(sizeof *p);

    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a convolution");
    p->g = lmbi_winograd_of(&v, way == DATA);
    p->banded = is_deep(&p->g) && (way != FORWARD || !c->in[1].data);
    lmbi_winograd_lengthen(&p->g, p->banded ? p->g.tiles : way == WEIGHTS ? loops->longer : 1);
    p->loops = loops;
    p->u = NULL;
    *scratch = sizeof(float) * (size_t)room_for(&p->g, p->banded, way);
    *state = p;
    return LMB_OK;
}

/* Conv, ConvAct: constant weights are transformed once. */
static lmb_status prepare(const lmb_call *c, const lmbi_winograd_loops *loops, void **state, size_t *scratch,
                          lmb_error *err)
{
    LMB_TRY(create(c, FORWARD, loops, state, scratch, err));
    plan *p = *state;
    if (!c->in[1].data)
        return LMB_OK;
    p->u = malloc(sizeof(float) * (size_t)lmbi_winograd_points(p->g.c, p->g.k));
    if (!p->u) {
        destroy(p);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for transformed weights");
    }
    p->loops->weights(&p->g, c->in[1].data, 0, p->u);
    return LMB_OK;
}

static const lmbi_winograd_loops *best(void)
{
    const lmbi_winograd_loops *list[4];
    return lmbi_winograd_choices(list)[0];
}

#define CREATE(suffix, loops)                                                                                          \
    static lmb_status forward_create##suffix(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)         \
    {                                                                                                                  \
        return prepare(c, loops, state, scratch, err);                                                                 \
    }                                                                                                                  \
    static lmb_status backward_create##suffix(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)        \
    {                                                                                                                  \
        return create(c, DATA, loops, state, scratch, err);                                                            \
    }                                                                                                                  \
    static lmb_status weights_create##suffix(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)         \
    {                                                                                                                  \
        return create(c, WEIGHTS, loops, state, scratch, err);                                                         \
    }
CREATE(, best())
#if defined(LMB_CPU_BF16)
CREATE(_bf16, &lmbi_winograd_bf16)
#endif

/* Scratch: the transformed weights, then what the loops want. */
static void convolve(const plan *p, const lmb_run *r, int backward, const lmbi_winograd_end *e)
{
    float *u = p->u ? p->u : r->scratch, *rest = (float *)r->scratch + lmbi_winograd_points(p->g.c, p->g.k);

    if (p->banded) {
        p->loops->banded(&p->g, r->in[0].data, r->in[1].data, backward, e, r->out[0].data, r->scratch);
        return;
    }
    if (!p->u)
        p->loops->weights(&p->g, r->in[1].data, backward, u);
    p->loops->forward(&p->g, r->in[0].data, u, e, r->out[0].data, rest);
}

/* x, w, bias */
static lmb_status forward_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmbi_winograd_end e = { r->n_in > 2 ? r->in[2].data : NULL, NULL, -INFINITY, INFINITY };
    (void)err;
    convolve(state, r, 0, &e);
    return LMB_OK;
}

/* x, w, bias, add */
static lmb_status act_run(void *state, const lmb_run *r, lmb_error *err)
{
    const lmb_conv_act_attr *a = r->attr;
    bool relu = *a->function == 'R', clip = *a->function == 'C';
    lmbi_winograd_end e = { r->n_in > 2 ? r->in[2].data : NULL, r->n_in > 3 ? r->in[3].data : NULL,
                            relu ? 0 : clip ? a->lo : -INFINITY, clip ? a->hi : INFINITY };
    (void)err;
    convolve(state, r, 0, &e);
    return LMB_OK;
}

/* dy, w */
static lmb_status backward_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmbi_winograd_end e = { NULL, NULL, -INFINITY, INFINITY };
    (void)err;
    convolve(state, r, 1, &e);
    return LMB_OK;
}

/* ConvGradWeights: dy, x */
static lmb_status weights_run(void *state, const lmb_run *r, lmb_error *err)
{
    const plan *p = state;
    (void)err;
    p->loops->gradient(&p->g, r->in[1].data, r->in[0].data, r->out[0].data, r->scratch);
    return LMB_OK;
}

#define KERNEL(name_, text, Op, Domain, make, fn, ...)                                                                 \
    const lmb_kernel name_ = { .name = text, .op = Op, .domain = Domain, .accepts = accepts,                           \
                               .layout = lmbi_conv_layout, .create = make, .run = fn, .destroy = destroy,              \
                               __VA_ARGS__ }
KERNEL(lmbi_winograd_conv, "winograd:conv", "Conv", "", forward_create, forward_run, );
KERNEL(lmbi_winograd_conv_act, "winograd:conv_act", "ConvAct", "limbeck", forward_create, act_run, );
KERNEL(lmbi_winograd_conv_data, "winograd:conv_data", "ConvGradData", "limbeck", backward_create, backward_run, );
KERNEL(lmbi_winograd_conv_weights, "winograd:conv_weights", "ConvGradWeights", "limbeck", weights_create,
       weights_run, );
#if defined(LMB_CPU_BF16)
#define BF16 .storage = lmbi_conv_bf16
KERNEL(lmbi_bf16_winograd_conv, "winograd-bf16:conv", "Conv", "", forward_create_bf16, forward_run, BF16);
KERNEL(lmbi_bf16_winograd_conv_act, "winograd-bf16:conv_act", "ConvAct", "limbeck", forward_create_bf16, act_run, BF16);
KERNEL(lmbi_bf16_winograd_conv_data, "winograd-bf16:conv_data", "ConvGradData", "limbeck", backward_create_bf16,
       backward_run, BF16);
KERNEL(lmbi_bf16_winograd_conv_weights, "winograd-bf16:conv_weights", "ConvGradWeights", "limbeck", weights_create_bf16,
       weights_run, BF16);
#endif
