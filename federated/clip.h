/* federated/clip.h - a vector's L2 norm, and the vector scaled down to a bound on it; what clients, servers and
 * simulations share. */
#ifndef LMB_FEDERATED_CLIP_H
#define LMB_FEDERATED_CLIP_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

static inline double lmbi_norm(const float *v, size_t n)
{
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += (double)v[i] * (double)v[i];
    return sqrt(square);
}

/* What makes `norm` the bound, 1 when it is not above. A little below: what single precision rounds away may not add up
 * to more than the bound. */
static inline double lmbi_clip_scale(double norm, double bound) { return norm > bound ? (1 - 1e-6) * bound / norm : 1; }

/* True when it was not above the bound. */
static inline bool lmbi_clip(float *v, size_t n, double bound)
{
    double scale = lmbi_clip_scale(lmbi_norm(v, n), bound);
    for (size_t i = 0; scale < 1 && i < n; i++)
        v[i] = (float)(scale * (double)v[i]);
    return scale >= 1;
}

#endif
