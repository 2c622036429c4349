/* core/cpu/pool_disjoint.c - see pool_disjoint.h.
 *
 * Idea: vectors of 8 channels. With fewer channels than that a vector runs into the next pixel, whose own vector is
 * stored later and puts it right; only the last window of a row must keep to its own numbers. With more, the last
 * vector ends with the last channel and does some channels twice, which changes nothing.
 */
#include "core/cpu/pool_disjoint.h"

#include <string.h>

#include "core/base/compiler.h"

enum { LANES = 8 };
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define LOAD(p) (*(const vec *)(const void *)(p))
#define STORE(p, v) (*(vec *)(void *)(p) = (v))
#define INLINE __attribute__((always_inline)) static inline

bool lmbi_pool_is_disjoint(const lmb_pooling *p)
{
    for (int i = 1; i <= 2; i++)
        if (p->before[i] != 0 || p->stride[i] < p->kernel[i] ||
            (p->out[i] - 1) * p->stride[i] + p->kernel[i] > p->in[i])
            return false;
    return p->kernel[1] * p->kernel[2] > 0;
}

/* One channel of a window. x, dx: its first element; dx NULL: forward. */
INLINE void single(const lmb_pooling *p, int64_t row, const float *x, const float *dy, float *dx, float *y)
{
    int64_t C = p->c;
    float best = *x;
    bool taken = false;

    for (int64_t i = 0; i < p->kernel[1]; i++)
        for (int64_t j = 0; j < p->kernel[2]; j++)
            best = x[i * row + j * C] > best ? x[i * row + j * C] : best;
    if (!dx) {
        *y = best;
        return;
    }
    for (int64_t i = 0; i < p->kernel[1]; i++)
        for (int64_t j = 0; j < p->kernel[2]; j++) {
            float v = x[i * row + j * C];
            bool mine = !taken && (v == best || best != best); /* of NaN the first */
            dx[i * row + j * C] = mine ? *dy : 0;
            taken |= mine;
        }
}

INLINE void several(const lmb_pooling *p, int64_t row, int64_t high, int64_t wide, const float *x, const float *dy,
                    float *dx, float *y)
{
    int64_t C = p->c;
    vec best = LOAD(x);

    for (int64_t i = 0; i < high; i++)
        for (int64_t j = 0; j < wide; j++) {
            vec v = LOAD(x + i * row + j * C);
            ivec more = v > best;
            best = (vec)((more & (ivec)v) | (~more & (ivec)best));
        }
    if (!dx) {
        STORE(y, best);
        return;
    }
    vec d = LOAD(dy);
    ivec left = ~(ivec){ 0 };
    for (int64_t i = 0; i < high; i++)
        for (int64_t j = 0; j < wide; j++) {
            vec v = LOAD(x + i * row + j * C);
            ivec mine = left & ((v == best) | (best != best));
            STORE(dx + i * row + j * C, (vec)((ivec)d & mine));
            left &= ~mine;
        }
}

INLINE void all(const lmb_pooling *p, int64_t high, int64_t wide, const float *x, const float *dy, float *dx, float *y)
{
    int64_t C = p->c, row = p->in[2] * C, vectors = p->out[2];

    if (C < LANES) /* none that leaves the row of windows, here or in the result; no pixels between windows */
        while (vectors > 0 &&
               (p->stride[2] > wide || ((vectors - 1) * wide + wide - 1) * C + LANES > p->out[2] * wide * C ||
                (vectors - 1) * C + LANES > p->out[2] * C))
            vectors--;
    for (int64_t n = 0; n < p->n; n++)
        for (int64_t oy = 0; oy < p->out[1]; oy++) {
            int64_t from = (n * p->in[1] + oy * p->stride[1]) * row, to = (n * p->out[1] + oy) * p->out[2] * C;
            for (int64_t ox = 0; ox < p->out[2]; ox++, from += p->stride[2] * C, to += C) {
                int64_t c = 0;
                for (; ox < vectors && c < C; c += LANES) {
                    int64_t at = c + LANES <= C || C < LANES ? c : C - LANES;
                    several(p, row, high, wide, x + from + at, dx ? dy + to + at : NULL, dx ? dx + from + at : NULL,
                            y ? y + to + at : NULL);
                }
                for (; c < C; c++)
                    single(p, row, x + from + c, dx ? dy + to + c : NULL, dx ? dx + from + c : NULL,
                           y ? y + to + c : NULL);
            }
        }
}

LMB_HOT static void all_2x2(const lmb_pooling *p, const float *x, float *y)
{
    all(p, 2, 2, x, NULL, NULL, y);
}

LMB_HOT static void all_of(const lmb_pooling *p, const float *x, float *y)
{
    all(p, p->kernel[1], p->kernel[2], x, NULL, NULL, y);
}

LMB_HOT static void grad_2x2(const lmb_pooling *p, const float *dy, const float *x, float *dx)
{
    all(p, 2, 2, x, dy, dx, NULL);
}

LMB_HOT static void grad_of(const lmb_pooling *p, const float *dy, const float *x, float *dx)
{
    all(p, p->kernel[1], p->kernel[2], x, dy, dx, NULL);
}

void lmbi_max_disjoint(const lmb_pooling *p, const float *x, float *y)
{
    (p->kernel[1] == 2 && p->kernel[2] == 2 ? all_2x2 : all_of)(p, x, y);
}

void lmbi_max_disjoint_grad(const lmb_pooling *p, const float *dy, const float *x, float *dx)
{
    if (p->out[1] * p->kernel[1] < p->in[1] || p->out[2] * p->kernel[2] < p->in[2])
        memset(dx, 0, sizeof *dx * (size_t)(p->n * p->in[1] * p->in[2] * p->c));
    (p->kernel[1] == 2 && p->kernel[2] == 2 ? grad_2x2 : grad_of)(p, dy, x, dx);
}
