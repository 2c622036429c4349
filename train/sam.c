/* train/sam.c - sharpness-aware minimisation: the gradient of a step is that a little further uphill.
 *
 * Idea: weights whose neighbours have a low loss as well generalise better than those at the bottom of a narrow ravine.
 * So a step has two passes over its batch. With g, the gradient at the weights w, of the whole batch of all ranks,
 *
 *     climb    w' = w + rho g / ||g||           adaptive: w + rho |w| |w| g / || |w| g ||, number by number
 *     back     the second pass' gradient, at w', is what the optimizer steps w with
 *
 * Weight decay, clipping and terms (lmb_trainer_terms) belong to that step alone, at w. What a model remembers besides
 * its weights (BatchNormalization's running statistics, ranges of fake quantisation, a loss's memory) is what the first
 * pass made of it, and the second pass finds it as the first one did; dropout and augmentation draw by seed, epoch and
 * sample, so that both see the same network and the same images. Loss and accuracy told are those of the first pass.
 *
 *   source  Foret et al. 2021, arXiv:2010.01412, equation 2, with the norm of the whole batch where they have one for
 *           each device; adaptive: Kwon et al. 2021, arXiv:2102.11600, equation 7 without their eta
 */
#include <math.h>
#include <string.h>

#include "core/base/compiler.h"
#include "train/trainer_internal.h"

LMB_HOT static void by_size(float *LMB_RESTRICT g, const float *LMB_RESTRICT w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        g[i] *= fabsf(w[i]);
}

LMB_HOT static void climb(float *LMB_RESTRICT w, const float *LMB_RESTRICT g, float way, size_t n)
{
    for (size_t i = 0; i < n; i++)
        w[i] += way * g[i];
}

static bool is_trained(const lmb_segment *s) { return s->role == LMB_ROLE_PARAMETER && !s->frozen; }

typedef struct ascent { lmb_trainer *t; float *v, way; } ascent;

static void size_range(void *ctx, int i, int worker)
{
    const ascent *a = ctx;
    const lmbi_range *o = &a->t->parts->own[i];

    (void)worker;
    if (is_trained(&a->t->layout->segment[o->segment]))
        by_size(a->v + o->from, a->t->s.state + o->offset, o->n);
}

static void climb_range(void *ctx, int i, int worker)
{
    const ascent *a = ctx;
    const lmbi_range *o = &a->t->parts->own[i];
    float *w = a->t->s.state + o->offset, *g = a->v + o->from;

    (void)worker;
    if (!is_trained(&a->t->layout->segment[o->segment])) {
        memcpy(a->t->kept + o->at, g, o->n * sizeof *g);
        return;
    }
    memcpy(a->t->kept + o->at, w, o->n * sizeof *w);
    if (a->t->c.sam.adaptive)
        by_size(g, w, o->n);
    climb(w, g, a->way, o->n);
}

static void back_range(void *ctx, int i, int worker)
{
    const ascent *a = ctx;
    const lmbi_range *o = &a->t->parts->own[i];
    bool trained = is_trained(&a->t->layout->segment[o->segment]);

    (void)worker;
    if (trained || a->v)
        memcpy(trained ? a->t->s.state + o->offset : a->v + o->from, a->t->kept + o->at, o->n * sizeof *a->t->kept);
}

lmb_status lmbi_sam_climb(lmb_trainer *t, float *sum, lmb_pool *pool, lmb_error *err)
{
    ascent a = { t, sum + LMBI_SUMS, 0 };
    double norm;

    if (t->c.sam.adaptive)
        lmb_pool_run(pool, t->parts->n_own, size_range, &a);
    LMB_TRY(lmbi_trainer_norm(t, sum, true, &norm, err));
    a.way = (float)(t->c.sam.rho / (norm + LMB_SAM_LEAST));
    lmb_pool_run(pool, t->parts->n_own, climb_range, &a);
    return LMB_OK;
}

void lmbi_sam_back(lmb_trainer *t, float *sum, lmb_pool *pool)
{
    ascent a = { t, sum ? sum + LMBI_SUMS : NULL, 0 };
    lmb_pool_run(pool, t->parts->n_own, back_range, &a);
}

lmb_status lmbi_sam_check(const lmb_train_config *c, lmb_error *err)
{
    if (c->sam.adaptive && c->sam.rho <= 0)
        return LMB_FAIL(err, LMB_E_ARG,
                        "train.sam.adaptive has no effect while train.sam.rho is 0; set train.sam.rho, such as 0.5, or "
                        "leave both out");
    if (c->sam.rho > 0 && c->pipeline.stages > 1)
        return LMB_FAIL(err, LMB_E_ARG,
                        "train.sam.rho is %g, and train.pipeline.stages is %lld: stages of a pipeline take one pass a "
                        "step; leave one of them out",
                        c->sam.rho, (long long)c->pipeline.stages);
    return LMB_OK;
}
