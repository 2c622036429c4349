/* core/cuda/ops/dropout.cu - Dropout and its gradient, which draws the same numbers again instead of keeping a mask.
 * The numbers, by seed, epoch, sample and place, are the reference's (core/ops/dropout.c).
 */
#include "core/base/random.h"
#include "core/cuda/ops/grid.h"
#include "core/cuda/ops/table.h"
#include "core/ops/attrs.h"

namespace lmb {
namespace {

/* Philox4x32-10 as core/base/random.c has it; Salmon et al., SC11. */
LMB_BODY void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4] = { counter[0], counter[1], counter[2], counter[3] }, k0 = key[0], k1 = key[1];
    for (int i = 0; i < 10; i++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)p1, c[3] = (uint32_t)p0, c[0] = n0, c[2] = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++)
        out[i] = c[i];
}

/* Four elements of a row share one block of the generator. */
struct dropout {
    const float *x;
    float *y;
    uint8_t *mask;
    const uint32_t *sample; /* of each row; NULL: the row number */
    lmb_rand stream;        /* of sample 0 */
    const lmb_step_there *there; /* seed and epoch of a recorded run; NULL: those of `stream` */
    int width, quads;
    float keep;
    uint32_t threshold;
    LMB_BODY void operator()(int i) const
    {
        int row = i / quads, quad = i % quads;
        uint32_t key[2] = { there ? (uint32_t)there->seed : stream.key[0],
                            there ? (uint32_t)(there->seed >> 32) ^ ((uint32_t)LMB_RAND_DROPOUT << 24)
                                  : stream.key[1] };
        uint32_t counter[4] = { (uint32_t)quad, there ? there->epoch : stream.counter[1],
                                sample ? sample[row] : (uint32_t)row, stream.counter[3] },
                 word[4];
        philox(counter, key, word);
        for (int k = 0; k < 4 && 4 * quad + k < width; k++) {
            int at = row * width + 4 * quad + k;
            bool kept = word[k] >= threshold;
            y[at] = kept ? x[at] * keep : 0.0f;
            if (mask)
                mask[at] = kept;
        }
    }
};
struct pass {
    const float *x;
    float *y;
    uint8_t *mask;
    LMB_BODY void operator()(int i) const
    {
        y[i] = x[i];
        if (mask)
            mask[i] = 1;
    }
};

template <bool gradient> struct dropout_kernel {
    int64_t seed;
    float ratio;
    static bool accepts(const lmb_call *c, const char **why)
    {
        *why = "numbers are not f32, or too many";
        return c->in[0].dtype == LMB_F32 && small_enough(c);
    }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_dropout_attr *a = (const lmb_dropout_attr *)c->attr;
        bool training = c->n_in > 2 && c->in[2].present && c->in[2].data && *(const uint8_t *)c->in[2].data;
        seed = a->seed;
        ratio = gradient ? a->ratio : 0;
        if (!gradient && training)
            ratio = c->n_in > 1 && c->in[1].present && c->in[1].data
                        ? (c->in[1].dtype == LMB_F64 ? (float)*(const double *)c->in[1].data
                                                     : *(const float *)c->in[1].data)
                        : 0.5f;
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        const lmb_shape *s = &r->in[0].shape;
        int64_t rows = s->n ? s->d[0] : 1, width = rows ? lmb_shape_count(s) / rows : 0, quads = (width + 3) / 4;
        if (ratio == 0)
            return each(r, rows * width, pass{ in<const float>(r, 0), out<float>(r, 0), out<uint8_t>(r, 1) }, err);
        lmb_rand stream = lmb_rand_at(r->step->seed, LMB_RAND_DROPOUT, r->step->epoch, (uint64_t)seed << 32);
        return each(r, rows * quads,
                    dropout{ in<const float>(r, 0), out<float>(r, 0), out<uint8_t>(r, 1), r->step->sample, stream,
                             r->there, (int)width, (int)quads, 1.0f / (1.0f - ratio),
                             (uint32_t)(ratio * 16777216.0f) << 8 },
                    err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_dropout = kernel<dropout_kernel<false>>("cuda:dropout", "Dropout", "");
const lmb_kernel lmbi_cuda_op_dropout_grad =
    kernel<dropout_kernel<true>>("cuda:dropout_grad", "DropoutGrad", "limbeck");
}
