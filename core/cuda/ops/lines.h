/* core/cuda/ops/lines.h - a tensor as lines along one axis, each of which a team takes. */
#ifndef LMB_CORE_CUDA_OPS_LINES_H
#define LMB_CORE_CUDA_OPS_LINES_H

#include "core/cuda/ops/grid.h"
#include "core/cuda/ops/table.h"
#include "core/ops/attrs.h"
#include "core/ops/common.h"

namespace lmb {

/* A tensor as lines of n along an axis. */
struct lines {
    int n, inner;
    int64_t count;
    LMB_BODY int base(int line) const { return line / inner * n * inner + line % inner; }
};

inline lines lines_of(const lmb_shape *s, int axis)
{
    lines l = { (int)s->d[axis], 1, 1 };
    for (int i = 0; i < s->n; i++)
        if (i != axis)
            l.count *= s->d[i];
    for (int i = axis + 1; i < s->n; i++)
        l.inner *= (int)s->d[i];
    return l;
}

} // namespace lmb

#endif
