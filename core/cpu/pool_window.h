/* core/cpu/pool_window.h - the walk over the windows of a pooling, for pool.c and pool_bf16.c. */
#ifndef LMB_CORE_CPU_POOL_WINDOW_H
#define LMB_CORE_CPU_POOL_WINDOW_H

#include "core/ops/pool.h"

/* Rows and columns [y0, y1) x [x0, x1) of the input under window (oy, ox). */
typedef struct window { int64_t y0, y1, x0, x1; double n; } window;

static inline window window_at(const lmb_pooling *p, int64_t oy, int64_t ox, bool include_pad)
{
    int64_t y = oy * p->stride[1] - p->before[1], x = ox * p->stride[2] - p->before[2];
    int64_t ye = y + p->kernel[1], xe = x + p->kernel[2];
    int64_t ymax = p->in[1] + p->after[1], xmax = p->in[2] + p->after[2];
    window w = { y < 0 ? 0 : y, ye > p->in[1] ? p->in[1] : ye, x < 0 ? 0 : x, xe > p->in[2] ? p->in[2] : xe, 0 };
    w.n = include_pad ? (double)(((ye > ymax ? ymax : ye) - y) * ((xe > xmax ? xmax : xe) - x))
                      : (double)((w.y1 - w.y0) * (w.x1 - w.x0));
    return w;
}

/* With `lmb_pooling p`: n, oy, ox run over all windows; where a window's result and input elements begin, channels
 * last. */
#define EACH_WINDOW                                           \
    for (int64_t n = 0; n < p.n; n++)                         \
        for (int64_t oy = 0; oy < p.out[1]; oy++)             \
            for (int64_t ox = 0; ox < p.out[2]; ox++)
#define OUT_AT (((n * p.out[1] + oy) * p.out[2] + ox) * p.c)
#define IN_AT(yy, xx) (((n * p.in[1] + (yy)) * p.in[2] + (xx)) * p.c)

#endif
