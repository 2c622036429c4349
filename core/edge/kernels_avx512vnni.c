/* core/edge/kernels_avx512vnni.c - the steps on AVX-512 with VNNI; same bytes as kernels_scalar.c.
 *
 * Idea: a convolution is a set of dot products over runs of neighbouring input bytes, and vpdpbusd does 16 output
 * channels times 4 input bytes at once. With dilation 1 and one group a whole kernel row (kernel_w * C bytes) is one
 * run; otherwise each tap is a run of its own. A run need not be a multiple of 4: the weights behind its end are
 * zero, so whatever bytes are read there do not count. Likewise a tile always computes all its pixels and stores
 * only those that exist. Both read a little beyond the tensor, which extra_bytes accounts for.
 *
 * Padding: the input is copied once into a frame whose border holds the zero point. The zero point itself is folded
 * into the bias, acc = sum q w + (bias - z sum w), exact modulo 2^32.
 *
 *   packed   per block of 16 output channels: int32 bias[16], float m[16], then s8 [run][bytes / 4][16][4]
 *            depthwise: bias[16], m[16], then s16 [(taps + 1) / 2][16][2], two taps to one vpdpwssd
 *   source   tiles as in oneDNN's and XNNPACK's direct VNNI convolutions; 16x1 and 8x2 keep 16 sums in registers
 */
#include <immintrin.h>
#include <string.h>

#include "core/edge/integer.h"
#include "core/edge/kernels.h"

#define INLINE static inline __attribute__((always_inline))

enum { BLOCK = 16, HEAD = 2 * BLOCK * 4, TILE = 16 };

/* A convolution as runs. Byte distances refer to the input, or to its padded copy. */
typedef struct {
    uint32_t out_h, out_w, groups, group_out; /* output channels of one group */
    uint32_t runs_h, runs_w;                  /* runs per window              */
    size_t run_bytes, quads;                  /* bytes of a run, / 4 rounded up */
    size_t run_dy, run_dx;                    /* from one run to the next     */
    size_t step_y, step_x;                    /* from one window to the next  */
    size_t group_dx;                          /* from one group to the next   */
    size_t row, frame_bytes;                  /* the frame: a row, all rows; 0 bytes when nothing is padded */
    size_t input_bytes;                       /* of what is read: the frame or the tensor */
} geometry;

static int is_depthwise(const lmbi_edge_step *s)
{
    return s->op->kind == LMB_EDGE_CONV && s->op->groups > 1 && s->op->groups == s->in[0]->c &&
           s->out->c == s->in[0]->c;
}

static geometry gemm_geometry(const lmbi_edge_step *s)
{
    geometry g;
    memset(&g, 0, sizeof g);
    g.out_h = g.out_w = g.groups = g.runs_h = g.runs_w = 1;
    g.group_out = s->out->c;
    g.run_bytes = g.input_bytes = lmb_edge_tensor_bytes(s->in[0]);
    g.quads = (g.run_bytes + 3) / 4;
    return g;
}

static geometry conv_geometry(const lmbi_edge_step *s)
{
    const lmb_edge_op *o = s->op;
    const lmb_edge_tensor *in = s->in[0];
    const int padded = o->pad_top || o->pad_left || o->pad_bottom || o->pad_right;
    const int join = o->groups == 1 && o->dilation_w == 1;
    const size_t cin = in->c / o->groups, frame_h = (size_t)in->h + o->pad_top + o->pad_bottom;
    geometry g;
    g.out_h = s->out->h;
    g.out_w = s->out->w;
    g.groups = o->groups;
    g.group_out = s->out->c / o->groups;
    g.row = ((size_t)in->w + o->pad_left + o->pad_right) * in->c;
    g.frame_bytes = padded ? g.row * frame_h : 0;
    g.input_bytes = g.row * frame_h;
    g.runs_h = o->kernel_h;
    g.runs_w = join ? 1 : o->kernel_w;
    g.run_bytes = join ? cin * o->kernel_w : cin;
    g.quads = (g.run_bytes + 3) / 4;
    g.run_dy = g.row * o->dilation_h;
    g.run_dx = (size_t)in->c * o->dilation_w;
    g.step_y = g.row * o->stride_h;
    g.step_x = (size_t)in->c * o->stride_w;
    g.group_dx = cin;
    if (g.step_y == g.out_w * g.step_x) { /* e.g. 1x1 with stride 1: one long row fills the tiles better */
        g.out_w *= g.out_h;
        g.out_h = 1;
    }
    return g;
}

static geometry geometry_of(const lmbi_edge_step *s)
{
    return s->op->kind == LMB_EDGE_GEMM ? gemm_geometry(s) : conv_geometry(s);
}

/* How far tiles and quads read: the frame, if any, and what lies beyond the last byte of the input. */
static size_t extra_bytes(const lmbi_edge_step *s)
{
    const geometry g = geometry_of(s);
    const size_t columns = g.out_w == 1 ? 1 : ((size_t)g.out_w + TILE - 1) / TILE * TILE;
    const size_t reach = (g.groups - 1) * g.group_dx + (g.out_h - 1) * g.step_y + (columns - 1) * g.step_x +
                         (g.runs_h - 1) * g.run_dy + (g.runs_w - 1) * g.run_dx + g.quads * 4;
    return g.frame_bytes + (is_depthwise(s) || reach <= g.input_bytes ? 0 : reach - g.input_bytes);
}

/* What the step reads: the source itself or its copy inside a border of zero points. */
static const uint8_t *framed(const lmbi_edge_step *s, const geometry *g)
{
    const lmb_edge_op *o = s->op;
    const lmb_edge_tensor *in = s->in[0];
    const size_t line = (size_t)in->w * in->c, left = (size_t)o->pad_left * in->c;
    const size_t right = (size_t)o->pad_right * in->c;
    unsigned char *at = s->extra;
    uint32_t y;
    if (!g->frame_bytes)
        return s->src[0];
    memset(at, in->zero, g->row * o->pad_top + left);
    at += g->row * o->pad_top + left;
    for (y = 0; y < in->h; y++) {
        const size_t gap = y + 1 < in->h ? right + left : right;
        memcpy(at, s->src[0] + y * line, line);
        memset(at + line, in->zero, gap);
        at += line + gap;
    }
    memset(at, in->zero, g->row * o->pad_bottom);
    return s->extra;
}

/* ---- epilogue -------------------------------------------------------------------------------------------- */

typedef struct {
    __m512 lo, hi; /* clamp before the zero point is added */
    __m512i zero;
} finish;

static finish finish_of(const lmbi_edge_step *s)
{
    finish f;
    f.lo = _mm512_set1_ps((float)(s->op->lo - s->out->zero));
    f.hi = _mm512_set1_ps((float)(s->op->hi - s->out->zero));
    f.zero = _mm512_set1_epi32(s->out->zero);
    return f;
}

/* lmb_edge_requantize, 16 at a time. */
INLINE __m128i requantize(__m512i acc, __m512 m, const finish *f)
{
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), m);
    v = _mm512_min_ps(_mm512_max_ps(v, f->lo), f->hi);
    return _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(v), f->zero));
}

/* The lanes that exist when n channels are left. */
INLINE __mmask16 lanes(size_t n) { return (__mmask16)(n >= BLOCK ? 0xffff : (1u << n) - 1); }

/* ---- dense and grouped convolution, gemm ----------------------------------------------------------------- */

static size_t block_bytes(const geometry *g) { return HEAD + (size_t)g->runs_h * g->runs_w * g->quads * 64; }

static size_t group_blocks(const geometry *g) { return (g->group_out + BLOCK - 1) / BLOCK; }

/* One channel of a block: bias, multiplier, and its weights strewn over the quads. */
static void pack_channel(const lmbi_edge_step *s, const geometry *g, uint32_t oc, unsigned lane, unsigned char *block)
{
    const lmb_edge_channel *row = &s->model->channels[s->op->channels + oc];
    const size_t runs = (size_t)g->runs_h * g->runs_w;
    const int8_t *w = s->model->weights + s->op->weights + oc * runs * g->run_bytes;
    int32_t sum = 0, bias;
    size_t r, i;
    for (r = 0; r < runs; r++)
        for (i = 0; i < g->run_bytes; i++) {
            int8_t v = w[r * g->run_bytes + i];
            sum += v;
            block[HEAD + (r * g->quads + i / 4) * 64 + lane * 4 + i % 4] = (unsigned char)v;
        }
    bias = (int32_t)((uint32_t)row->bias - (uint32_t)s->in[0]->zero * (uint32_t)sum);
    memcpy(block + lane * 4, &bias, 4);
    memcpy(block + BLOCK * 4 + lane * 4, &row->m, 4);
}

static void dense_pack(const lmbi_edge_step *s, const geometry *g, unsigned char *dst)
{
    uint32_t group, c;
    memset(dst, 0, g->groups * group_blocks(g) * block_bytes(g));
    for (group = 0; group < g->groups; group++)
        for (c = 0; c < g->group_out; c++)
            pack_channel(s, g, group * g->group_out + c, c % BLOCK,
                         dst + (group * group_blocks(g) + c / BLOCK) * block_bytes(g));
}

/* What a tile needs: its first window, its weights and where its results go. */
typedef struct {
    const geometry *g;
    const finish *f;
    const uint8_t *x;
    const unsigned char *w; /* first block                   */
    uint8_t *dst;           /* first pixel, first channel    */
    size_t dst_step;        /* from pixel to pixel           */
    size_t pixels;          /* that exist, at most the tile  */
    size_t channels;        /* left from the first block on  */
} tile_job;

/* pixels x blocks sums at once; both are constants where this is called, so the sums stay in registers. */
INLINE void tile(const tile_job *t, const int pixels, const int blocks)
{
    const geometry *g = t->g;
    const size_t stride = block_bytes(g), step = g->step_x;
    const unsigned char *w = t->w + HEAD;
    __m512i acc[16];
    uint32_t ry, rx;
    size_t q;
    int p, b;
#pragma GCC unroll 16
    for (p = 0; p < pixels; p++)
#pragma GCC unroll 4
        for (b = 0; b < blocks; b++)
            acc[p * blocks + b] = _mm512_loadu_si512(t->w + (size_t)b * stride);
    for (ry = 0; ry < g->runs_h; ry++)
        for (rx = 0; rx < g->runs_w; rx++) {
            const uint8_t *x = t->x + ry * g->run_dy + rx * g->run_dx;
            for (q = 0; q < g->quads; q++, x += 4, w += 64) {
                __m512i k[4];
#pragma GCC unroll 4
                for (b = 0; b < blocks; b++)
                    k[b] = _mm512_loadu_si512(w + (size_t)b * stride);
#pragma GCC unroll 16
                for (p = 0; p < pixels; p++) {
                    int32_t quad;
                    __m512i v;
                    memcpy(&quad, x + (size_t)p * step, 4);
                    v = _mm512_set1_epi32(quad);
#pragma GCC unroll 4
                    for (b = 0; b < blocks; b++)
                        acc[p * blocks + b] = _mm512_dpbusd_epi32(acc[p * blocks + b], v, k[b]);
                }
            }
        }
#pragma GCC unroll 4
    for (b = 0; b < blocks; b++) {
        const __m512 m = _mm512_loadu_ps(t->w + (size_t)b * stride + BLOCK * 4);
        const __mmask16 mask = lanes(t->channels - (size_t)b * BLOCK);
        uint8_t *dst = t->dst + (size_t)b * BLOCK;
#pragma GCC unroll 16
        for (p = 0; p < pixels; p++)
            if ((size_t)p < t->pixels)
                _mm_mask_storeu_epi8(dst + (size_t)p * t->dst_step, mask, requantize(acc[p * blocks + b], m, t->f));
    }
}

static void tile_16x1(const tile_job *t) { tile(t, 16, 1); }
static void tile_8x2(const tile_job *t) { tile(t, 8, 2); }
static void tile_1x1(const tile_job *t) { tile(t, 1, 1); }
static void tile_1x4(const tile_job *t) { tile(t, 1, 4); }

/* The tile for a row of `columns` windows with `blocks` blocks left. */
typedef struct {
    void (*run)(const tile_job *t);
    size_t pixels, blocks;
} tile_shape;

static tile_shape choose_tile(size_t columns, size_t blocks)
{
    static const tile_shape one = { tile_1x1, 1, 1 }, four = { tile_1x4, 1, 4 };
    static const tile_shape narrow = { tile_16x1, 16, 1 }, wide = { tile_8x2, 8, 2 };
    if (columns == 1)
        return blocks >= 4 ? four : one;
    return blocks >= 2 ? wide : narrow;
}

/* All windows of one group for the blocks of one tile: the blocks' weights stay in the first-level cache. */
static void dense_blocks(tile_job t, const tile_shape shape)
{
    const geometry *g = t.g;
    const uint8_t *row = t.x;
    uint32_t y;
    size_t x;
    for (y = 0; y < g->out_h; y++, row += g->step_y) {
        t.x = row;
        for (x = 0; x < g->out_w; x += shape.pixels) {
            t.pixels = g->out_w - x < shape.pixels ? g->out_w - x : shape.pixels;
            shape.run(&t);
            t.x += shape.pixels * g->step_x;
            t.dst += t.pixels * t.dst_step;
        }
    }
}

static void dense_run(const lmbi_edge_step *s, const geometry *g, const uint8_t *x)
{
    const finish f = finish_of(s);
    const size_t all = group_blocks(g);
    uint32_t group;
    size_t b;
    for (group = 0; group < g->groups; group++)
        for (b = 0; b < all;) {
            const tile_shape shape = choose_tile(g->out_w, all - b);
            tile_job t;
            t.g = g;
            t.f = &f;
            t.x = x + group * g->group_dx;
            t.w = s->packed + (group * all + b) * block_bytes(g);
            t.dst = s->dst + (size_t)group * g->group_out + b * BLOCK;
            t.dst_step = s->out->c;
            t.pixels = 0;
            t.channels = g->group_out - b * BLOCK;
            dense_blocks(t, shape);
            b += shape.blocks;
        }
}

/* ---- depthwise convolution ------------------------------------------------------------------------------- */

static size_t tap_pairs(const lmb_edge_op *o) { return ((size_t)o->kernel_h * o->kernel_w + 1) / 2; }

static size_t depthwise_bytes(const lmb_edge_op *o) { return HEAD + tap_pairs(o) * 64; }

static void depthwise_pack(const lmbi_edge_step *s, unsigned char *dst)
{
    const lmb_edge_op *o = s->op;
    const size_t taps = (size_t)o->kernel_h * o->kernel_w;
    uint32_t c;
    size_t i;
    memset(dst, 0, (s->out->c + BLOCK - 1) / BLOCK * depthwise_bytes(o));
    for (c = 0; c < s->out->c; c++) {
        const lmb_edge_channel *row = &s->model->channels[o->channels + c];
        const int8_t *w = s->model->weights + o->weights + c * taps;
        unsigned char *block = dst + c / BLOCK * depthwise_bytes(o);
        int32_t sum = 0, bias;
        for (i = 0; i < taps; i++) {
            int16_t v = w[i];
            sum += v;
            memcpy(block + HEAD + i / 2 * 64 + c % BLOCK * 4 + i % 2 * 2, &v, 2);
        }
        bias = row->bias - s->in[0]->zero * sum;
        memcpy(block + c % BLOCK * 4, &bias, 4);
        memcpy(block + BLOCK * 4 + c % BLOCK * 4, &row->m, 4);
    }
}

/* One window of 16 channels: two taps side by side in the 16-bit halves of each lane. */
INLINE __m512i depthwise_window(const lmb_edge_op *o, const geometry *g, const uint8_t *x, const unsigned char *block,
                                __mmask16 mask)
{
    __m512i acc = _mm512_loadu_si512(block), even = _mm512_setzero_si512();
    const unsigned char *w = block + HEAD;
    unsigned tap = 0;
    int ky, kx;
    for (ky = 0; ky < o->kernel_h; ky++)
        for (kx = 0; kx < o->kernel_w; kx++, tap ^= 1) {
            const uint8_t *at = x + (size_t)ky * g->run_dy + (size_t)kx * g->run_dx;
            const __m512i v = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, at));
            if (!tap) {
                even = v;
                continue;
            }
            acc = _mm512_dpwssd_epi32(acc, _mm512_or_si512(even, _mm512_slli_epi32(v, 16)), _mm512_loadu_si512(w));
            w += 64;
        }
    return tap ? _mm512_dpwssd_epi32(acc, even, _mm512_loadu_si512(w)) : acc;
}

static void depthwise_run(const lmbi_edge_step *s, const geometry *g, const uint8_t *x)
{
    const finish f = finish_of(s);
    const uint32_t channels = s->out->c;
    uint32_t y, column, c;
    for (y = 0; y < g->out_h; y++)
        for (column = 0; column < g->out_w; column++)
            for (c = 0; c < channels; c += BLOCK) {
                const unsigned char *block = s->packed + c / BLOCK * depthwise_bytes(s->op);
                const __mmask16 mask = lanes(channels - c);
                const uint8_t *at = x + y * g->step_y + column * g->step_x + c;
                const __m512i acc = depthwise_window(s->op, g, at, block, mask);
                _mm_mask_storeu_epi8(s->dst + ((size_t)y * g->out_w + column) * channels + c, mask,
                                     requantize(acc, _mm512_loadu_ps(block + BLOCK * 4), &f));
            }
}

/* ---- the rows -------------------------------------------------------------------------------------------- */

static size_t conv_pack_bytes(const lmbi_edge_step *s)
{
    const geometry g = geometry_of(s);
    if (is_depthwise(s))
        return (s->out->c + BLOCK - 1) / BLOCK * depthwise_bytes(s->op);
    return g.groups * group_blocks(&g) * block_bytes(&g);
}

static void conv_pack(const lmbi_edge_step *s, unsigned char *dst)
{
    const geometry g = geometry_of(s);
    if (is_depthwise(s))
        depthwise_pack(s, dst);
    else
        dense_pack(s, &g, dst);
}

static void conv_run(const lmbi_edge_step *s)
{
    const geometry g = geometry_of(s);
    const uint8_t *x = framed(s, &g);
    if (is_depthwise(s))
        depthwise_run(s, &g, x);
    else
        dense_run(s, &g, x);
}

/* lmb_edge_add, 16 at a time. */
static void add_run(const lmbi_edge_step *s)
{
    const __m512 ra = _mm512_set1_ps(s->op->a), rb = _mm512_set1_ps(s->op->b), base = _mm512_set1_ps(s->op->base);
    const __m512 lo = _mm512_set1_ps(s->op->lo), hi = _mm512_set1_ps(s->op->hi);
    const size_t n = lmb_edge_tensor_bytes(s->out);
    size_t i;
    for (i = 0; i < n; i += BLOCK) {
        const __mmask16 mask = lanes(n - i);
        const __m512 a = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, s->src[0] + i)));
        const __m512 b = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, s->src[1] + i)));
        __m512 v = _mm512_fmadd_ps(b, rb, _mm512_fmadd_ps(a, ra, base));
        v = _mm512_min_ps(_mm512_max_ps(v, lo), hi);
        _mm_mask_storeu_epi8(s->dst + i, mask, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
    }
}

static void global_avg_run(const lmbi_edge_step *s)
{
    const lmb_edge_tensor *in = s->in[0];
    const size_t pixels = (size_t)in->h * in->w;
    const finish f = finish_of(s);
    const __m512 m = _mm512_set1_ps(s->op->a);
    uint32_t c;
    size_t p;
    for (c = 0; c < in->c; c += BLOCK) {
        const __mmask16 mask = lanes(in->c - c);
        __m512i acc = _mm512_set1_epi32(-(int32_t)pixels * in->zero);
        for (p = 0; p < pixels; p++)
            acc = _mm512_add_epi32(
                acc, _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, s->src[0] + p * in->c + c)));
        _mm_mask_storeu_epi8(s->dst + c, mask, requantize(acc, m, &f));
    }
}

/* One window, all channels; taps outside the input are left out. */
static void max_window(const lmbi_edge_step *s, int64_t y0, int64_t x0, uint8_t *dst)
{
    const lmb_edge_op *o = s->op;
    const lmb_edge_tensor *in = s->in[0];
    uint32_t c;
    int ky, kx;
    for (c = 0; c < in->c; c += 64) {
        const __mmask64 mask = in->c - c >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (in->c - c)) - 1;
        __m512i most = _mm512_setzero_si512();
        for (ky = 0; ky < o->kernel_h; ky++)
            for (kx = 0; kx < o->kernel_w; kx++) {
                const int64_t y = y0 + (int64_t)ky * o->dilation_h, x = x0 + (int64_t)kx * o->dilation_w;
                if (y < 0 || y >= in->h || x < 0 || x >= in->w)
                    continue;
                most = _mm512_max_epu8(
                    most, _mm512_maskz_loadu_epi8(mask, s->src[0] + ((size_t)y * in->w + (size_t)x) * in->c + c));
            }
        _mm512_mask_storeu_epi8(dst + c, mask, most);
    }
}

static void max_pool_run(const lmbi_edge_step *s)
{
    const lmb_edge_op *o = s->op;
    uint8_t *dst = s->dst;
    uint32_t y, x;
    for (y = 0; y < s->out->h; y++)
        for (x = 0; x < s->out->w; x++, dst += s->out->c)
            max_window(s, (int64_t)y * o->stride_h - o->pad_top, (int64_t)x * o->stride_w - o->pad_left, dst);
}

static int usable(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

static const lmbi_edge_kernel conv_kernel = { conv_pack_bytes, conv_pack, extra_bytes, conv_run };
static const lmbi_edge_kernel add_kernel = { NULL, NULL, NULL, add_run };
static const lmbi_edge_kernel global_avg_kernel = { NULL, NULL, NULL, global_avg_run };
static const lmbi_edge_kernel max_pool_kernel = { NULL, NULL, NULL, max_pool_run };

const lmbi_edge_kernels lmbi_edge_avx512vnni = {
    "avx512vnni",
    usable,
    {
        [LMB_EDGE_CONV] = &conv_kernel,
        [LMB_EDGE_GEMM] = &conv_kernel,
        [LMB_EDGE_ADD] = &add_kernel,
        [LMB_EDGE_GLOBAL_AVG] = &global_avg_kernel,
        [LMB_EDGE_MAX_POOL] = &max_pool_kernel,
    },
};
