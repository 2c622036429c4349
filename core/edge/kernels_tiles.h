/* core/edge/kernels_tiles.h - conv, gemm, depthwise, averages, max pool and add, written once for every vector unit.
 *
 * A kernel file defines its vector unit and includes this. Direct convolution, no im2col: one `mac` multiplies a few
 * neighbouring activations, broadcast as 4 bytes, with their weights of LANES output channels and adds to LANES
 * int32 sums. In HWC memory the taps of one kernel row are neighbours, so a window is a few contiguous segments:
 * `kernel height` segments of kernel width * channels, or one a tap when the kernel is dilated. Weights are packed
 * [out / LANES][segment][group][line], zeros at the ragged ends: what is read past a segment is multiplied by zero.
 *
 * A convolution with pads first copies its input into scratch with a border of zero points; the zero point is folded
 * into the bias (bias - zp * sum w), so borders need no special case. Units that have no product of bytes (TAP 2) get
 * all inputs as s16 this way. Sums may wrap on the way: the true result fits in int32 (checked at open) and
 * arithmetic modulo 2^32 finds it. Weights that lie in the file as the kernels read them (laid.h) are anybody's: sums
 * of them wrap too, and conversions saturate, so they do no more than give other answers.
 *
 * Depthwise and averages go through the channels instead: kernels_deep.h.
 *
 * What runs between a tile's wide instructions is a UNIT, too: compilers give other functions the instructions of x86
 * from before AVX, each of which waits, on an Emerald Rapids, for the wide register that it writes a part of. Copying
 * tiles to their places so took half the time of a whole network.
 *
 * What the file defines:
 *   SET, UNIT                 name of its table; attribute of its functions
 *   LANES, TAP, FLIP          int32 lanes; bytes of an activation; 0x80 if `four` gives x - 128, else 0
 *   BY_CHANNEL                1: a line of weights is [channel][activation of the group]; 0: the other way (layout.h)
 *   tap_weight, TAPS          of depthwise: type of a weight, taps a step
 *   ints, floats, bytes       LANES int32, LANES binary32, 4 * LANES u8
 *   output, output_of(zp, lo, hi)
 *   load_ints, load_floats, four(p), load_line(p), mac(acc, x, line), scaled(acc, m)
 *   narrow(a, b, c, d, q)     bytes(clamp(rne(.) + zp, lo, hi)), 4 values of each, then the next 4 of each ...
 *   ordered(v)                of that: all of a, all of b ...
 *   store, store_some(p, v, n)   all bytes; the first n
 *   load_bytes(p), every_byte(v), larger, smaller   of bytes
 *   taps(acc, x, at, w)       four sums of depthwise += taps at x + at[0 .. TAPS)
 *   from_bytes(p)             LANES u8 as floats;  multiply_add(a, b, c)  fma
 *   widen(to, from)           16 bytes to s16 (TAP 2)
 *   TILES                     X(pixels, blocks) ..., blocks of LANES channels; 1 x 1 is there anyway
 *   HALF                      pixels of a tile of half a block: kernels_half.h; undefined: there is none
 */
#include "core/edge/layout.h"

#define INLINE UNIT __attribute__((always_inline)) static inline
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

enum { WIDE = 4 * LANES, SMALL = 8 }; /* sums of a small tile, at most */
#ifndef HALF
#define NO_HALF
#define HALF 0
#endif
static const lmbi_edge_layout layout = { LANES, TAP, FLIP, BY_CHANNEL, TAPS, sizeof(tap_weight), HALF };

/* ---- borders ---------------------------------------------------------------------------------------------- */

static int padded(const lmbi_edge_step *s)
{
    return s->op.pads[0] || s->op.pads[1] || s->op.pads[2] || s->op.pads[3];
}

static size_t row_of(const lmbi_edge_step *s) { return lmbi_row_of(s); }

static uint64_t bordered(const lmbi_edge_step *s)
{
    return ((uint64_t)s->x.h + s->op.pads[0] + s->op.pads[2]) * row_of(s);
}

static uint64_t border_bytes(const lmbi_edge_step *s) { return padded(s) ? bordered(s) : 0; }

static const uint8_t *with_border(const lmbi_edge_step *s, const uint8_t *x, uint8_t *scratch)
{
    if (!padded(s))
        return x;
    size_t row = row_of(s), inner = (size_t)s->x.w * s->x.c, left = (size_t)s->op.pads[1] * s->x.c;
    uint8_t *to = scratch;
    size_t border = s->op.pads[0] * row + left; /* from the end of one row's pixels to the next one's */
    for (size_t i = 0; i < s->x.h; i++, x += inner, to += border + inner, border = row - inner) {
        memset(to, s->x.zero_point, border);
        memcpy(to + border, x, inner);
    }
    memset(to, s->x.zero_point, (size_t)(scratch + bordered(s) - to));
    return scratch;
}

#if TAP == 2
static uint64_t conv_scratch(const lmbi_edge_step *s) { return 2 * bordered(s) + 32; }

/* As with_border, to s16. A row is written in sixteens; what is written too far is written again. */
UNIT static const uint8_t *conv_input(const lmbi_edge_step *s, const uint8_t *x, uint8_t *scratch)
{
    size_t row = row_of(s), inner = (size_t)s->x.w * s->x.c, left = (size_t)s->op.pads[1] * s->x.c;
    int16_t *to = (int16_t *)(void *)scratch, *end = to + bordered(s);
    size_t border = s->op.pads[0] * row + left;
    for (size_t i = 0; i <= s->x.h; i++, x += inner, border = row - inner) {
        size_t n = i < s->x.h ? border : (size_t)(end - to);
        for (size_t j = 0; j < n; j++)
            *to++ = s->x.zero_point;
        if (i == s->x.h)
            break;
        for (size_t j = 0; j < inner; j += 16)
            widen(to + j, x + j);
        to += inner;
    }
    return scratch;
}
#else
static uint64_t conv_scratch(const lmbi_edge_step *s) { return border_bytes(s); }
#define conv_input with_border
#endif

/* ---- conv and gemm ---------------------------------------------------------------------------------------- */

/* Head of the packed memory of a conv; segment offsets and, unless they lie in the file, weights follow. */
typedef struct conv_plan {
    size_t segments, groups; /* of a window; 4-byte groups of a segment  */
    size_t pairs;            /* of groups: steps of half a block         */
    size_t block;            /* bytes of weights of LANES channels       */
    const uint8_t *weights;
    uintptr_t distance;      /* of the weights from this struct          */
    int64_t offset[]; /* of each segment from the window's origin, in bytes */
} conv_plan;

static uint64_t blocks_of(const lmbi_edge_step *s) { return lmbi_blocks_of(layout, s); }
static __attribute__((noinline)) size_t columns_of(const lmbi_edge_step *s) { return lmbi_columns_of(s, row_of(s)); }

#ifdef NO_HALF
#define halves(s) 0
#else
static __attribute__((noinline)) int halves(const lmbi_edge_step *s) { return lmbi_halves(layout, s, columns_of(s)); }
#endif

static int conv_accepts(const lmbi_edge_step *s) { return lmbi_conv_accepts(s); }

static size_t segments_of(const lmbi_edge_step *s) { return lmbi_segments_of(s); }

static uint64_t conv_head(const lmbi_edge_step *s)
{
    return lmbi_edge_round_up(sizeof(conv_plan) + segments_of(s) * sizeof(int64_t));
}

static uint64_t conv_packed_bytes(const lmbi_edge_step *s)
{
    return conv_head(s) + (s->laid ? 0 : lmbi_conv_bytes(layout, s, segments_of(s)));
}

static void conv_pack(lmbi_edge_step *s)
{
    conv_plan *p = (conv_plan *)s->packed;
    size_t segments = segments_of(s), n = lmbi_segment_length(s, segments), columns = segments / s->op.kernel[0];
    p->segments = segments;
    p->groups = lmbi_groups_of(layout, n);
    p->pairs = (p->groups + 1) / 2;
    p->block = segments * p->groups * WIDE;
    for (size_t i = 0; i < segments; i++)
        p->offset[i] = TAP * (int64_t)(i / columns * s->op.dilation[0] * row_of(s) +
                                       i % columns * s->op.dilation[1] * s->x.c);
    uint8_t *w = (uint8_t *)(uintptr_t)s->laid; /* only read */
    if (w) {
        size_t biases = (size_t)lmbi_edge_round_up((uint64_t)s->y.c * 4);
        s->bias = (int32_t *)(void *)w;
        s->m = (float *)(void *)(w + biases);
        w += 2 * biases;
    } else {
        w = (uint8_t *)p + conv_head(s);
        const lmbi_conv_shape shape = { segments, n, p->groups, halves(s) ? (s->y.c - 1) / LANES : SIZE_MAX };
        memset(w, 0, (size_t)blocks_of(s) * p->block);
        lmbi_conv_lay(layout, s, shape, s->bias, w);
    }
    p->weights = w;
    p->distance = (uintptr_t)w - (uintptr_t)p;
}

typedef struct tile {
    const conv_plan *plan;
    const lmbi_edge_step *step;
    size_t block;       /* first block of LANES output channels       */
    size_t pixel_bytes; /* between the windows of neighbouring pixels */
    size_t last;        /* channels in the tile's last block          */
    int whole;          /* the tile's channels are all there are      */
} tile;

/* 1 to LANES <= 16 bytes by at most two moves, which may overlap: a call of memcpy costs more than the tile. */
UNIT static inline void store_few(uint8_t *to, const uint8_t *from, size_t n)
{
    if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}

/* A finished tile, pixel by pixel, to its place among all channels; `width` bytes of a pixel's last block. */
UNIT static void store_tile(const tile *t, uint8_t *y, const uint8_t *from, size_t pixels, size_t blocks, size_t width)
{
    size_t channels = t->step->y.c;
    y += LANES * t->block;
    for (; pixels; pixels--, y += channels, from += width) {
        for (size_t b = 0; b + 1 < blocks; b++, from += LANES)
            memcpy(y + b * LANES, from, LANES);
        store_few(y + (blocks - 1) * LANES, from, t->last);
    }
}

/* Sums are variables, not an array: compilers keep those in registers. Sum n is of pixel n / blocks and block n %
 * blocks; what a tile does not have folds away. */
#define SUMS(F)                                                                                                        \
    F(0)                                                                                                               \
    F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15) F(16) F(17) F(18) F(19) F(20)     \
        F(21) F(22) F(23)
#define OF_BLOCK(n, v) (n % blocks == 0 ? v##0 : n % blocks == 1 ? v##1 : n % blocks == 2 ? v##2 : v##3)
#define START(n) ints a##n = OF_BLOCK(n, b);
#define PRODUCT(n)                                                      \
    if (n < pixels * blocks) {                                          \
        if (n % blocks == 0)                                            \
            x4 = four(q + (size_t)(n / blocks) * t->pixel_bytes);       \
        a##n = mac(a##n, x4, OF_BLOCK(n, k));                           \
    }
#define SCALED(n) scaled(a##n, OF_BLOCK(n, m))
#define FINISH(n0, n1, n2, n3)                                                                      \
    if (n0 < pixels * blocks)                                                                       \
        store(to + n0 * LANES, ordered(narrow(SCALED(n0), SCALED(n1), SCALED(n2), SCALED(n3), &q8)));
#define KEEP(n)                \
    if (n < pixels * blocks || n < 4) \
        sums[n < SMALL ? n : 0] = a##n; /* there is none beyond; compilers that look before they fold want to see it */

/* What the large tiles do by themselves, where sums are in registers, for all others: small code. */
UNIT static void finish(const tile *t, uint8_t *y, const ints *sums, size_t pixels, size_t blocks)
{
    const lmbi_edge_step *s = t->step;
    const float *scale = s->m + LANES * t->block;
    output q8 = output_of(s->y.zero_point, s->op.lo, s->op.hi);
    uint8_t rows[SMALL * LANES], *to = t->whole && pixels * blocks > 1 ? y : rows;
    for (size_t i = 0; i < pixels * blocks; i += 4) {
        floats v[4];
        UNROLL for (size_t k = 0; k < 4; k++)
            v[k] = scaled(sums[i + k], load_floats(scale + (i + k) % blocks * LANES));
        store(to + i * LANES, ordered(narrow(v[0], v[1], v[2], v[3], &q8)));
    }
    if (to == rows)
        store_tile(t, y, rows, pixels, blocks, LANES);
}

/* `pixels` neighbouring outputs x `blocks` of LANES channels, 24 at most. Both are constants where this is inlined. */
INLINE void conv_tile(const tile *t, const uint8_t *x, uint8_t *y, const int pixels, const int blocks)
{
    const lmbi_edge_step *s = t->step;
    const conv_plan *p = t->plan;
    const uint8_t *w = p->weights + t->block * p->block;
    const int32_t *bias = s->bias + LANES * t->block;
    const float *scale = s->m + LANES * t->block;
    ints b0 = load_ints(bias), b1 = blocks > 1 ? load_ints(bias + LANES) : b0;
    ints b2 = blocks > 2 ? load_ints(bias + 2 * LANES) : b0, b3 = blocks > 3 ? load_ints(bias + 3 * LANES) : b0;
    ints k0, k1 = b0, k2 = b0, k3 = b0, x4 = b0;
    SUMS(START)
    const int64_t *at = p->offset, *end = at + p->segments;
    do { /* there is a segment and a group; a loop that might not run costs registers */
        const uint8_t *q = x + *at;
        size_t n = p->groups;
        do {
            k0 = load_line(w);
            if (blocks > 1)
                k1 = load_line(w + p->block);
            if (blocks > 2)
                k2 = load_line(w + 2 * p->block);
            if (blocks > 3)
                k3 = load_line(w + 3 * p->block);
            SUMS(PRODUCT)
            q += 4;
            w += WIDE;
        } while (--n);
    } while (++at < end);
    if (pixels * blocks <= SMALL) {
        ints sums[SMALL];
        SUMS(KEEP)
        finish(t, y, sums, pixels, blocks);
        return;
    }
    output q8 = output_of(s->y.zero_point, s->op.lo, s->op.hi);
    floats m0 = load_floats(scale), m1 = blocks > 1 ? load_floats(scale + LANES) : m0;
    floats m2 = blocks > 2 ? load_floats(scale + 2 * LANES) : m0, m3 = blocks > 3 ? load_floats(scale + 3 * LANES) : m0;
    uint8_t rows[24 * LANES], *to = t->whole ? y : rows;
    FINISH(0, 1, 2, 3) FINISH(4, 5, 6, 7) FINISH(8, 9, 10, 11) FINISH(12, 13, 14, 15) FINISH(16, 17, 18, 19)
    FINISH(20, 21, 22, 23)
    if (!t->whole)
        store_tile(t, y, rows, pixels, blocks, LANES);
}

#define X(pixels, blocks)                                                                        \
    UNIT static void tile_##pixels##x##blocks(const tile *t, const uint8_t *x, uint8_t *y)       \
    {                                                                                            \
        conv_tile(t, x, y, pixels, blocks);                                                      \
    }
TILES X(1, 1)
#undef X

typedef struct tile_row {
    size_t pixels, blocks;
    void (*run)(const tile *t, const uint8_t *x, uint8_t *y);
} tile_row;

#define X(pixels, blocks) { pixels, blocks, tile_##pixels##x##blocks },
static const tile_row tiles[] = { TILES X(1, 1) };
#undef X

#ifndef NO_HALF
#include "core/edge/kernels_half.h"
#else
static const tile_row half_tile; /* nobody asks for it */
#endif

/* The least work a block of channels: products, and a load for each pixel and each block. A tile may have more blocks
 * than are left, if there are as many: those before them are computed again. */
static const tile_row *best_tile(size_t columns, size_t left, size_t blocks)
{
    const tile_row *best = NULL;
    size_t least = 0, most = 1;
    for (size_t i = 0; i < sizeof tiles / sizeof tiles[0]; i++) {
        const tile_row *r = &tiles[i];
        if (r->pixels > columns || r->blocks > blocks)
            continue;
        size_t work = (columns + r->pixels - 1) / r->pixels * (r->pixels * r->blocks + r->pixels + r->blocks + 1);
        size_t gain = r->blocks < left ? r->blocks : left;
        if (!best || work * most < least * gain) {
            best = r;
            least = work;
            most = gain;
        }
    }
    return best;
}

static void conv(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *x = conv_input(s, arena + s->x.place, scratch);
    size_t columns = columns_of(s), rows = columns == s->y.w ? s->y.h : 1;
    size_t blocks = (size_t)blocks_of(s), whole = halves(s) ? blocks - 1 : blocks;
    size_t next_row = s->op.stride[0] * row_of(s), next = (size_t)s->op.stride[1] * s->x.c;
    tile t = { (const conv_plan *)s->packed, s, 0, TAP * next, LANES, 0 };
    while (t.block < blocks) {
        const tile_row *r = t.block < whole ? best_tile(columns, whole - t.block, whole) : &half_tile;
        if (t.block < whole && t.block + r->blocks > whole)
            t.block = whole - r->blocks;
        t.last = t.block + r->blocks == blocks ? s->y.c - LANES * (blocks - 1) : LANES;
        t.whole = s->y.c == LANES * r->blocks;
        for (size_t i = 0; i < rows; i++) {
            uint8_t *y = arena + s->y.place + i * columns * s->y.c;
            for (size_t j = 0; j < columns; j += r->pixels) {
                size_t at = j + r->pixels <= columns ? j : columns - r->pixels; /* the last tile overlaps */
                r->run(&t, x + TAP * (i * next_row + at * next), y + at * s->y.c);
            }
        }
        t.block += r->blocks;
    }
}

#include "core/edge/kernels_deep.h"

/* ---- add -------------------------------------------------------------------------------------------------- */

/* Reads past the end where that is within the slack. */
UNIT static void add(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *a = arena + s->in_at[0], *b = arena + s->in_at[1];
    uint8_t *y = arena + s->y.place;
    const float *c = s->constant;
    output q = output_of(0, s->op.lo, s->op.hi);
    (void)scratch;
    for (size_t left = s->y.count;; left -= WIDE, a += WIDE, b += WIDE, y += WIDE) {
        floats ra = every_lane(c[0]), rb = every_lane(c[1]), base = every_lane(c[2]), v[4];
        UNROLL for (int k = 0; k < 4; k++)
            v[k] = multiply_add(from_bytes(a + k * LANES), ra, multiply_add(from_bytes(b + k * LANES), rb, base));
        bytes u = ordered(narrow(v[0], v[1], v[2], v[3], &q));
        if (left < WIDE) {
            store_some(y, u, left);
            break;
        }
        store(y, u);
    }
}

/* ---- max pool --------------------------------------------------------------------------------------------- */

/* Padding never wins; a window that is all padding gives lo. */
UNIT static void max_pool(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const uint8_t *x = arena + s->x.place;
    uint8_t *y = arena + s->y.place;
    size_t channels = s->x.c, row = s->x.w * channels, down = s->op.dilation[0] * row,
           right = s->op.dilation[1] * channels;
    (void)scratch;
    for (uint32_t i = 0; i < s->y.count / channels; i++, y += channels) {
        lmbi_edge_window v = lmbi_edge_window_at(s, i / s->y.w, i % s->y.w);
        const uint8_t *origin = x + (ptrdiff_t)(v.y * (int64_t)row + v.x * (int64_t)channels);
        for (size_t c = 0; c < channels; c += WIDE) {
            bytes most = every_byte(s->op.lo);
            for (int64_t ky = v.ky0; ky < v.ky1; ky++)
                for (int64_t kx = v.kx0; kx < v.kx1; kx++)
                    most = larger(most, load_bytes(origin + (ptrdiff_t)(ky * (int64_t)down + kx * (int64_t)right) + c));
            most = smaller(most, every_byte(s->op.hi));
            if (channels - c >= WIDE)
                store(y + c, most);
            else
                store_some(y + c, most, channels - c);
        }
    }
}

const lmbi_edge_kernel SET[] = {
    { LMB_EDGE_CONV, 1, conv_accepts, conv_packed_bytes, conv_pack, conv_scratch, conv },
    { LMB_EDGE_GEMM, 1, NULL, conv_packed_bytes, conv_pack, conv_scratch, conv },
    { LMB_EDGE_CONV, 0, deep_accepts, deep_packed_bytes, deep_pack, deep_scratch, deep },
    { LMB_EDGE_GLOBAL_AVERAGE, 0, average_accepts, deep_packed_bytes, deep_pack, NULL, deep },
    { LMB_EDGE_ADD, 0, NULL, NULL, NULL, NULL, add },
    { LMB_EDGE_MAX_POOL, 0, NULL, NULL, NULL, NULL, max_pool },
    { (lmb_edge_kind)0, 0, NULL, NULL, NULL, NULL, NULL },
};
