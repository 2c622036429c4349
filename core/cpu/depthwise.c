/* core/cpu/depthwise.c - convolutions of one filter a channel, of any kernel, stride and padding, and both gradients.
 *
 * Idea: nothing is shared between channels, so there is no matrix product; the work is bound by loads. With channels
 * last a vector of channels of a pixel is multiplied with a vector of weights, tap by tap; four pixels of a row share
 * the weights. The gradient of the input is the same loop over the taps turned round (conv.h). The gradient of the
 * weights holds the sums of nine taps in registers for a whole image, which is copied into a frame of zeros so that no
 * tap needs a question.
 */
#include <stdlib.h>
#include <string.h>

#include "core/cpu/conv.h"
#include "core/cpu/kernels.h"

enum { FRAMED = 512 }; /* pixels of images that may be copied into a frame */

typedef struct depthwise {
    lmbi_taps g, padded; /* padded: for images in a frame, if that pays */
    bool framed;
    const lmbi_conv_loops *l;
} depthwise;

/* The widest vectors that have no more lanes than there are channels; NULL: none. */
static const lmbi_conv_loops *loops_for(int64_t channels)
{
    const lmbi_conv_loops *list[4], *const *l = lmbi_conv_choices(list);
    while (*l && (*l)->lanes > channels)
        l++;
    return *l;
}

static bool accepts(const lmb_call *c, const char **why)
{
    *why = "only 2-D f32 convolutions with one filter a channel";
    if (c->in[0].shape.n != 4 || c->in[0].dtype != LMB_F32)
        return false;
    lmb_conv v = lmb_conv_of_call(c);
    return v.group == v.c && v.k == v.c && loops_for(v.c);
}

/* Where borders are few no frame is needed, and the time is that of the memory. */
static bool accepts_wide(const lmb_call *c, const char **why)
{
    if (!accepts(c, why))
        return false;
    lmb_conv v = lmb_conv_of_call(c);
    *why = "only images of more than 512 pixels";
    return v.oh * v.ow > FRAMED;
}

static void destroy(void *state)
{
    depthwise *s = state;
    if (s)
        lmbi_taps_free(&s->g);
    if (s && s->framed)
        lmbi_taps_free(&s->padded);
    free(s);
}

static lmb_status create(const lmb_call *c, bool backward, void **state, lmb_error *err)
{
    lmb_conv v = lmb_conv_of_call(c);
    depthwise *s = calloc(1, sizeof *s);

    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a convolution");
    s->l = loops_for(v.c);
    lmb_status st = lmbi_taps_create(&v, backward, &s->g, err);
    if (st != LMB_OK) {
        free(s);
        return st;
    }
    *state = s;
    return LMB_OK;
}

/* Pixels whose taps are not all inside are slow; where they are many, the image is copied into a frame of zeros. */
static lmb_status frame(depthwise *s, lmb_error *err)
{
    const lmbi_phase *p = s->g.phase;

    if (s->g.phases > 1 || s->g.taps < s->g.kernel || (p->rows * p->cols > FRAMED && s->g.above <= 1 && s->g.left <= 1))
        return LMB_OK;
    LMB_TRY(lmbi_taps_padded(&s->g, &s->padded, err));
    s->framed = true;
    return LMB_OK;
}

/* Scratch: the weights of all phases, [taps][c], then the frame. */
static lmb_status layers_create(const lmb_call *c, bool backward, void **state, size_t *scratch, lmb_error *err)
{
    LMB_TRY(create(c, backward, state, err));
    depthwise *s = *state;
    lmb_status st = frame(s, err);
    if (st != LMB_OK) {
        destroy(s);
        return st;
    }
    *scratch = sizeof(float) * (size_t)((s->g.kernel + (s->framed ? s->g.tall * s->g.side : 0)) * s->g.c);
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

static void convolve(const depthwise *s, const lmb_run *r, const lmbi_conv_end *e)
{
    const lmbi_taps *g = &s->g;
    int64_t C = g->c;
    const float *x = r->in[0].data, *w = r->in[1].data;
    float *y = r->out[0].data, *turned = r->scratch, *image = turned + g->kernel * C;

    for (int64_t t = 0; t < g->taps; t++)
        for (int64_t c = 0; c < C; c++)
            turned[t * C + c] = w[c * g->kernel + g->tap[t].weight];
    if (s->framed)
        memset(image, 0, sizeof *image * (size_t)(g->tall * g->side * C));
    for (int64_t n = 0; n < g->n; n++, x += g->h * g->w * C) {
        float *to = y + n * g->oh * g->ow * C;
        if (s->framed) {
            lmbi_pad(g, x, image);
            s->l->depthwise(&s->padded, s->padded.phase, image, turned, to);
        }
        for (const lmbi_phase *p = g->phase; !s->framed && p < g->phase + g->phases; p++)
            s->l->depthwise(g, p, x, turned + (p->tap - g->tap) * C, to);
        s->l->finish(e, g->oh * g->ow, C, n * g->oh * g->ow, y);
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

static lmb_status weights_create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    LMB_TRY(create(c, false, state, err));
    const depthwise *s = *state;
    *scratch = sizeof(float) * (size_t)(s->g.kernel * lmbi_up(s->g.c, s->l->lanes) + s->g.tall * s->g.side * s->g.c);
    return LMB_OK;
}

/* dy, x -> dw */
static lmb_status weights_run(void *state, const lmb_run *r, lmb_error *err)
{
    const depthwise *s = state;
    const lmbi_taps *g = &s->g;
    int64_t lanes = s->l->lanes, lds = lmbi_up(g->c, lanes);
    const float *dy = r->in[0].data, *x = r->in[1].data;
    float *sums = r->scratch, *image = sums + g->kernel * lds, *dw = r->out[0].data;

    (void)err;
    memset(sums, 0, sizeof *sums * (size_t)(g->kernel * lds + g->tall * g->side * g->c));
    for (int64_t n = 0; n < g->n; n++) {
        lmbi_pad(g, x + n * g->h * g->w * g->c, image);
        s->l->depthwise_gradient(g, image, dy + n * g->oh * g->ow * g->c, sums);
    }
    for (int64_t b = 0; b < g->c; b += lanes) { /* the last vector ends with the last channel */
        int64_t first = b + lanes <= g->c ? b : g->c - lanes;
        for (int64_t l = 0; l < lanes; l++)
            for (int64_t t = 0; t < g->kernel; t++)
                dw[(first + l) * g->kernel + g->tap[t].weight] = sums[t * lds + b + l];
    }
    return LMB_OK;
}

#define KERNEL(...) LMBI_CONV_KERNEL(lmbi_depthwise_, __VA_ARGS__, destroy)
KERNEL(wide_conv, "depthwise", "Conv", "", accepts_wide, forward_create, forward_run);
KERNEL(wide_conv_act, "depthwise_act", "ConvAct", "limbeck", accepts_wide, forward_create, act_run);
KERNEL(wide_conv_data, "depthwise_data", "ConvGradData", "limbeck", accepts_wide, data_create, data_run);
KERNEL(conv, "depthwise", "Conv", "", accepts, forward_create, forward_run);
KERNEL(conv_act, "depthwise_act", "ConvAct", "limbeck", accepts, forward_create, act_run);
KERNEL(conv_data, "depthwise_data", "ConvGradData", "limbeck", accepts, data_create, data_run);
KERNEL(conv_weights, "depthwise_weights", "ConvGradWeights", "limbeck", accepts, weights_create, weights_run);
