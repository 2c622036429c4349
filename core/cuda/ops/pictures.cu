/* core/cuda/ops/pictures.cu - images that came as bytes become the floats that a model takes, changed on the way:
 * core/plan/picture.h says how, picture_ops.h what a policy's operations do.
 *
 * Idea: shifted, mirrored and cut, a pixel depends on one pixel of the old image: a thread each. With operations a team
 * takes an image: one after another they go over it, and those that want to know all of it first (histograms, means)
 * count it in memory that the team shares. All in integers, so bytes are those of datasets/augment.h.
 *
 *   room   between two operations an image of n bytes lies in its own 4 n bytes of floats: in the third quarter or the
 *          last, in turn, after the last operation in the last quarter. Made floats from the front on, it is never run
 *          over: float i ends where byte 4 i + 4 of the room does, at or below byte 3 n + i + 1. A team reads as many
 *          pixels as it has lanes before it writes one of them.
 */
#include "core/cuda/internal.h"
#include "core/cuda/ops/grid.h"
#include "core/plan/device_step.h"
#include "core/plan/picture_ops.h"

namespace lmb
{
namespace
{

/* A thread a pixel: reads of a row lie together, but for those that are mirrored. */
struct change_pictures {
    lmb_step_work w;
    LMB_BODY void operator()(int i) const
    {
        int x = i % w.width, row = i / w.width, plane = row / w.height, y = row % w.height;
        const uint8_t *from = w.pixels + (size_t)plane * w.height * w.width;
        w.vector[i] = !w.change ? (float)w.pixels[i]
                                : (float)lmb_picture_at(&w.change[plane / w.channels], from, w.height, w.width, y, x);
    }
};

constexpr int values = 256, most_channels = 3;

/* What the lanes of a team share of an image. */
struct facts {
    unsigned count[most_channels][values];
    lmb_picture_facts of[most_channels];
    uint8_t table[most_channels][values];
};

/* Behind it, all lanes see what each has written. */
LMB_BODY void together()
{
#ifdef __CUDA_ARCH__
    __syncthreads();
#endif
}

LMB_BODY void count_one(unsigned *n)
{
#ifdef __CUDA_ARCH__
    atomicAdd(n, 1u);
#else
    ++*n;
#endif
}

LMB_BODY void widen(lmb_picture_facts *of, int v)
{
#ifdef __CUDA_ARCH__
    atomicMin(&of->lo, v);
    atomicMax(&of->hi, v);
#else
    of->lo = v < of->lo ? v : of->lo;
    of->hi = v > of->hi ? v : of->hi;
#endif
}

struct operate {
    lmb_step_work w;

    /* What is to be known of the image, for those who ask. */
    template <class Team> LMB_BODY void look(const Team &t, const lmb_picture_op &op, const uint8_t *in, facts *f) const
    {
        int n = w.height * w.width;
        double greys = 0; /* whole numbers, their sum below 2^53: exact in any order */

        for (int i = t.lane(); op.kind == LMB_PICTURE_CONTRAST && i < n; i += t.lanes())
            greys += lmb_picture_grey(in, w.channels, n, i);
        greys = op.kind == LMB_PICTURE_CONTRAST ? t.sum(greys) : 0;
        for (int i = t.lane(); i < w.channels * values; i += t.lanes())
            f->count[i / values][i % values] = 0;
        for (int c = t.lane(); c < w.channels; c += t.lanes())
            f->of[c] = lmb_picture_facts{ values - 1, 0, 0, lmb_picture_mean((int64_t)greys, n) };
        together();
        if (op.kind < LMB_PICTURE_AUTO_CONTRAST)
            return;
        for (int i = t.lane(); i < w.channels * n; i += t.lanes())
            count_one(&f->count[i / n][in[i]]);
        together();
        for (int i = t.lane(); i < w.channels * values; i += t.lanes())
            if (f->count[i / values][i % values])
                widen(&f->of[i / values], i % values);
        together();
        for (int c = t.lane(); c < w.channels; c += t.lanes())
            f->of[c].step = lmb_picture_step(n, (int)f->count[c][f->of[c].hi]);
        together();
    }

    template <class Team> LMB_BODY void tables(const Team &t, const lmb_picture_op &op, facts *f) const
    {
        for (int i = t.lane(); i < w.channels * values; i += t.lanes()) {
            int c = i / values, v = i % values, before = 0;
            for (int k = 0; op.kind == LMB_PICTURE_EQUALIZE && k < v; k++)
                before += (int)f->count[c][k];
            f->table[c][v] = lmb_picture_entry(&op, &f->of[c], before, v);
        }
        together();
    }

    template <class Team>
    LMB_BODY void one(const Team &t, const lmb_picture_op &op, const uint8_t *in, uint8_t *out, facts *f) const
    {
        int n = w.height * w.width, all = w.channels * n;
        bool table = op.kind >= LMB_PICTURE_INVERT;

        if (table) {
            look(t, op, in, f);
            tables(t, op, f);
        }
        for (int i = t.lane(); i < all; i += t.lanes()) {
            int c = i / n, y = i % n / w.width, x = i % w.width;
            out[i] = table ? f->table[c][in[i]]
                           : lmb_picture_op_at(&op, in, w.channels, w.height, w.width, c, y, x);
        }
        together();
    }

    template <class Team> LMB_BODY void operator()(const Team &t, int row) const
    {
#ifdef __CUDA_ARCH__
        __shared__ facts shared;
        facts *f = &shared;
#else
        facts local, *f = &local;
#endif
        int n = w.height * w.width, all = w.channels * n, todo = 0;
        const lmb_picture_change &change = w.change[row];
        const uint8_t *image = w.pixels + (size_t)row * all;
        float *to = w.vector + (size_t)row * all;
        uint8_t *room = (uint8_t *)to;

        for (int k = 0; k < LMB_PICTURE_OPS; k++)
            todo += change.op[k].kind != LMB_PICTURE_SAME;
        uint8_t *at = room + (size_t)all * (3 - todo % 2);
        for (int i = t.lane(); i < all; i += t.lanes())
            at[i] = lmb_picture_moved(&change, image + i / n * n, w.height, w.width, i % n / w.width, i % w.width);
        together();
        for (int k = 0; k < LMB_PICTURE_OPS; k++)
            if (change.op[k].kind != LMB_PICTURE_SAME) {
                uint8_t *next = at == room + (size_t)all * 3 ? room + (size_t)all * 2 : room + (size_t)all * 3;
                one(t, change.op[k], at, next, f);
                at = next;
            }
        for (int first = 0; first < all; first += t.lanes()) {
            int i = first + t.lane(), y = i % n / w.width, x = i % w.width;
            float v = i < all && !lmb_picture_cut(&change, y, x) ? (float)at[i] : 0;
            together();
            if (i < all)
                to[i] = v;
        }
    }
};

} // namespace
} // namespace lmb

using namespace lmb;

lmb_status lmbi_cuda_pictures(const lmb_run *r, const lmb_step_work *w, lmb_error *err)
{
    if (!w->change || !w->operations)
        return each(r, (int64_t)w->rows * w->channels * w->height * w->width, change_pictures{ *w }, err);
    if (w->channels > most_channels)
        return LMB_FAIL(err, LMB_E_ARG, "operations on images of %d channels; there are 1 or 3", w->channels);
    return teams(r, w->rows, operate{ *w }, err);
}
