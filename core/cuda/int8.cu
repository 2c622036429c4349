/* core/cuda/int8.cu - integer networks on a GPU: the bytes of core/edge, whose formulas these are (core/edge/lmb.h).
 *
 * Idea: a thread of a convolution keeps 4 places x 8 outputs in registers and multiplies four bytes at a time (dp4a),
 * in loads of 16 bytes where channels allow it. Neighbouring threads have neighbouring outputs of the same places, so
 * that a warp reads few pixels, and weights packed the way they are read. Padding is read as the zero point, which
 * adds nothing once the zero point's share is taken off in the bias. Sums wrap as unsigned numbers and are right
 * whenever int32 holds them, which the format promises. The bodies run on the host as well, so that every byte is
 * checked without a device.
 *
 *   limits   a step has fewer than 2^31 bytes on either side: int8.c chooses its batch so
 */
#include "core/cuda/int8_body.h"

namespace {

using namespace lmb;

/* ---- convolution ---- */

/* The first byte of tap (ky, kx) of a place, or NULL where it falls on padding. */
struct place {
    const uint8_t *example;
    int y, x;
    LMB_BODY const uint8_t *tap(const lmb_int8_step &s, int ky, int kx) const
    {
        int ty = y + ky * s.dilation[0], tx = x + kx * s.dilation[1];
        return ty < 0 || tx < 0 || ty >= s.x.h || tx >= s.x.w ? nullptr : example + (ty * s.x.w + tx) * s.x.c;
    }
};

LMB_BODY place place_of(const lmb_int8_step &s, int pixel)
{
    int row = pixel / s.y.w, n = row / s.y.h;
    place p;
    p.example = s.x.at + n * (s.x.h * s.x.w * s.x.c);
    p.y = row % s.y.h * s.stride[0] - s.pads[0];
    p.x = pixel % s.y.w * s.stride[1] - s.pads[1];
    return p;
}

template <int WIDTH> struct conv {
    static constexpr int words = WIDTH == 16 ? 4 : 1, outputs = LMB_INT8_OUTPUTS, places = LMB_INT8_PIXELS;
    lmb_int8_step s;
    int pixels, channels, per_group, tiles, loads; /* of a group: channels, outputs, tiles of outputs, loads of a tap */

    /* The next bytes of a pixel, at most `left`. */
    LMB_BODY static void load(const uint8_t *x, int at, int left, uint32_t zero, uint32_t v[words])
    {
        for (int i = 0; i < words; i++)
            v[i] = zero;
        if (x && WIDTH == 1)
            v[0] = bytes_of(x + at, left);
        else if (x)
            words_of<words>(x + at, v);
    }

    LMB_BODY void multiply(uint32_t sum[places][outputs], const place at[places], const int8_t *w, int group) const
    {
        constexpr int width = WIDTH == 1 ? 4 : WIDTH;
        uint32_t zero = (uint32_t)s.zero_x * 0x01010101u, x[places][words], k[words];

        for (int ky = 0; ky < s.kernel[0]; ky++)
            for (int kx = 0; kx < s.kernel[1]; kx++) {
                const uint8_t *tap[places];
                for (int p = 0; p < places; p++) {
                    tap[p] = at[p].tap(s, ky, kx);
                    tap[p] += tap[p] ? group * channels : 0;
                }
                for (int l = 0; l < loads; l++, w += outputs * width) {
                    for (int p = 0; p < places; p++)
                        load(tap[p], l * width, channels - l * width, zero, x[p]);
                    for (int o = 0; o < outputs; o++) {
                        words_of<words>((const uint8_t *)w + o * width, k);
                        for (int p = 0; p < places; p++)
                            for (int i = 0; i < words; i++)
                                sum[p][o] = dot4(sum[p][o], x[p][i], k[i]);
                    }
                }
            }
    }

    LMB_BODY void write(const uint32_t sum[outputs], int pixel, int first, int n) const
    {
        uint8_t *y = s.y.at + pixel * s.y.c + first, q[outputs];

        for (int o = 0; o < n; o++)
            q[o] =
                quantise((float)(int32_t)(sum[o] + (uint32_t)s.bias[first + o]) * s.m[first + o], s.zero_y, s.lo, s.hi);
        if (n == outputs && s.y.c % outputs == 0 && first % outputs == 0)
            eight_bytes(y, q);
        else
            for (int o = 0; o < n; o++)
                y[o] = q[o];
    }

    LMB_BODY void operator()(int i) const
    {
        constexpr int width = WIDTH == 1 ? 4 : WIDTH;
        int all = s.groups * tiles, t = i % all, pixel = i / all * places, group = t / tiles, tile = t % tiles;
        uint32_t sum[places][outputs] = {};
        place at[places];

        for (int p = 0; p < places; p++)
            at[p] = place_of(s, pixel + p < pixels ? pixel + p : pixels - 1);
        multiply(sum, at,
                 s.weights + (size_t)t * (size_t)(s.kernel[0] * s.kernel[1]) * (size_t)(loads * width * outputs),
                 group);
        int first = tile * outputs, left = per_group - first;
        for (int p = 0; p < places && pixel + p < pixels; p++)
            write(sum[p], pixel + p, group * per_group + first, left < outputs ? left : outputs);
    }
};

template <int WIDTH> lmb_status run_conv(const lmb_run *r, const lmb_int8_step *s, int64_t n, lmb_error *err)
{
    conv<WIDTH> f = { *s, (int)n * s->y.h * s->y.w, s->x.c / s->groups, s->y.c / s->groups, 0, 0 };
    int width = WIDTH == 1 ? 4 : WIDTH;
    f.tiles = (f.per_group + LMB_INT8_OUTPUTS - 1) / LMB_INT8_OUTPUTS;
    f.loads = (f.channels + width - 1) / width;
    int64_t tasks = ((int64_t)f.pixels + LMB_INT8_PIXELS - 1) / LMB_INT8_PIXELS * f.tiles * s->groups;
    if (tasks > INT32_MAX)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "an integer convolution of %lld examples is too large at once",
                        (long long)n);
    return each(r, tasks, f, err);
}

/* Groups of one channel; AT_ONCE channels by a thread, of one output each where that is more than one. */
template <int AT_ONCE> struct depthwise {
    lmb_int8_step s;
    int per_group;
    LMB_BODY void operator()(int i) const
    {
        int all = s.y.c / AT_ONCE, pixel = i / all, first = i % all * AT_ONCE;
        place at = place_of(s, pixel);
        int32_t sum[AT_ONCE] = {};

        for (int ky = 0; ky < s.kernel[0]; ky++)
            for (int kx = 0; kx < s.kernel[1]; kx++) {
                const uint8_t *x = at.tap(s, ky, kx);
                const int8_t *w = s.weights + (ky * s.kernel[1] + kx) * s.y.c + first;
                uint32_t q = (uint32_t)s.zero_x * 0x01010101u, k;
                if (AT_ONCE == 4) {
                    if (x)
                        words_of<1>(x + first, &q);
                    words_of<1>((const uint8_t *)w, &k);
                } else {
                    q = x ? x[first / per_group] : q;
                    k = (uint8_t)*w;
                }
                for (int c = 0; c < AT_ONCE; c++)
                    sum[c] += (int32_t)(q >> 8 * c & 255) * (int8_t)(k >> 8 * c);
            }
        for (int c = 0; c < AT_ONCE; c++)
            s.y.at[pixel * s.y.c + first + c] =
                quantise((float)(int32_t)((uint32_t)sum[c] + (uint32_t)s.bias[first + c]) * s.m[first + c], s.zero_y,
                         s.lo, s.hi);
    }
};

/* ---- one byte after the other ---- */

struct sum_of_two {
    lmb_int8_step s;
    LMB_BODY void operator()(int i) const
    {
        s.y.at[i] = quantise(fmaf((float)s.x.at[i], s.f[0], fmaf((float)s.b.at[i], s.f[1], s.f[2])), 0, s.lo, s.hi);
    }
};

struct by_table {
    lmb_int8_step s;
    LMB_BODY void operator()(int i) const { s.y.at[i] = s.table[s.x.at[i]]; }
};

struct dequantise {
    lmb_int8_step s;
    LMB_BODY void operator()(int i) const { ((float *)s.y.at)[i] = (float)(s.x.at[i] - s.zero_x) * s.f[0]; }
};

/* Element i of x. */
struct channels_of {
    lmb_int8_step s;
    LMB_BODY void operator()(int i) const { s.y.at[i / s.x.c * s.y.c + s.first + i % s.x.c] = s.x.at[i]; }
};

/* Element i of y, HWC. */
struct to_pixels {
    lmb_int8_step s;
    LMB_BODY void operator()(int i) const
    {
        int pixels = s.y.h * s.y.w, c = i % s.y.c, p = i / s.y.c % pixels, n = i / s.y.c / pixels;
        s.y.at[i] = s.x.at[(n * s.y.c + c) * pixels + p];
    }
};

/* Element i of y, CHW. */
template <class T> struct to_planes {
    lmb_int8_step s;
    LMB_BODY void operator()(int i) const
    {
        int pixels = s.x.h * s.x.w, p = i % pixels, c = i / pixels % s.x.c, n = i / pixels / s.x.c;
        ((T *)s.y.at)[i] = ((const T *)s.x.at)[(n * pixels + p) * s.x.c + c];
    }
};

/* ---- windows ---- */

struct average {
    lmb_int8_step s;
    LMB_BODY void operator()(int i) const
    {
        int pixels = s.x.h * s.x.w, c = i % s.x.c;
        const uint8_t *x = s.x.at + i / s.x.c * pixels * s.x.c + c;
        int32_t sum = -pixels * s.zero_x;
        for (int p = 0; p < pixels; p++)
            sum += x[p * s.x.c];
        s.y.at[i] = quantise((float)sum * s.f[0], s.zero_y, s.lo, s.hi);
    }
};

/* Padding never wins; a window that is all padding gives lo. */
struct max_pool {
    lmb_int8_step s;
    LMB_BODY void operator()(int i) const
    {
        int c = i % s.y.c, best = s.lo;
        place at = place_of(s, i / s.y.c);
        for (int ky = 0; ky < s.kernel[0]; ky++)
            for (int kx = 0; kx < s.kernel[1]; kx++) {
                const uint8_t *x = at.tap(s, ky, kx);
                if (x && x[c] > best)
                    best = x[c];
            }
        s.y.at[i] = (uint8_t)(best < s.hi ? best : s.hi);
    }
};

} // namespace

lmb_status lmbi_cuda_int8_step(const lmb_int8_step *s, int64_t n, lmb_cuda_queue *q, lmb_error *err)
{
    int64_t from = n * s->x.h * s->x.w * s->x.c, to = n * s->y.h * s->y.w * s->y.c;
    lmb_run run = {}, *r = &run;

    run.queue = q;
    if (from > INT32_MAX || to > INT32_MAX)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%lld examples are too many at once for an integer network",
                        (long long)n);
    switch (s->kind) {
    case LMB_INT8_CONV:
        return s->width == 16  ? run_conv<16>(r, s, n, err)
               : s->width == 4 ? run_conv<4>(r, s, n, err)
                               : run_conv<1>(r, s, n, err);
    case LMB_INT8_DEPTHWISE:
        return s->width == 4 ? each(r, to / 4, depthwise<4>{ *s, 1 }, err)
                             : each(r, to, depthwise<1>{ *s, s->y.c / s->groups }, err);
    case LMB_INT8_ADD:
        return each(r, to, sum_of_two{ *s }, err);
    case LMB_INT8_AVERAGE:
        return each(r, to, average{ *s }, err);
    case LMB_INT8_MAX_POOL:
        return each(r, to, max_pool{ *s }, err);
    case LMB_INT8_CHANNELS:
        return each(r, from, channels_of{ *s }, err);
    case LMB_INT8_TABLE:
        return each(r, to, by_table{ *s }, err);
    case LMB_INT8_DEQUANTISE:
        return each(r, to, dequantise{ *s }, err);
    case LMB_INT8_TO_PIXELS:
        return each(r, to, to_pixels{ *s }, err);
    case LMB_INT8_TO_PLANES:
        return s->size == 4 ? each(r, to, to_planes<uint32_t>{ *s }, err) : each(r, to, to_planes<uint8_t>{ *s }, err);
    }
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "the CUDA module has no integer step %d; build it again", (int)s->kind);
}
