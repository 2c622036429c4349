/* tests/core/edge/test_kernels.c - every step, with every set of kernels this machine has, against an independent
 * formula: sums in int64 over ONNX-ordered weights with explicit padding, every float rounding made once from an
 * exact double (products of two binary32 fit) or long double (a product of 8 and 24 bits plus a binary32). */
#include <math.h>

#include "core/edge/integer.h"
#include "core/edge/kernels.h"
#include "tests/check_main.h"
#include "tests/core/edge/nets.h"

enum { RANDOM, HIGHEST, LOWEST, CHECKERED, FILLS };

/* Activations and weights: random, or the values that stress sums most. */
static void fill(uint64_t *seed, int how, uint8_t *q, size_t nq, int8_t *w, size_t nw)
{
    net_random_bytes(seed, q, nq);
    net_random_bytes(seed, w, nw);
    for (size_t i = 0; i < nq && how != RANDOM; i++)
        q[i] = how == CHECKERED ? (uint8_t)(q[i] & 1 ? 255 : 0) : 255;
    for (size_t i = 0; i < nw && how != RANDOM; i++)
        w[i] = how == HIGHEST ? 127 : how == LOWEST ? -128 : (int8_t)(w[i] & 1 ? 127 : -128);
}

static uint8_t exact_requantize(int64_t acc, float m, int zero, int lo, int hi)
{
    float scaled = (float)((double)(float)acc * (double)m);
    double q = nearbyint((double)scaled) + zero;
    return (uint8_t)(q < lo ? lo : q > hi ? hi : q);
}

/* Run with every set of kernels and compare with the expected bytes. */
static void expect(net_file f, const uint8_t *input, const uint8_t *want, size_t n, const char *what)
{
    ck_assert_msg(f.data != NULL, "%s: not written", what);
    for (int i = 0; lmb_edge_kernels_at(i); i++) {
        size_t bytes;
        uint8_t *got = net_run(f, lmb_edge_kernels_at(i), input, &bytes);
        ck_assert_ptr_nonnull(got);
        ck_assert_uint_eq(bytes, n);
        for (size_t k = 0; k < n; k++)
            ck_assert_msg(got[k] == want[k], "%s, %s: byte %zu of %zu is %u, should be %u", lmb_edge_kernels_at(i),
                          what, k, n, got[k], want[k]);
        free(got);
    }
    free(f.data);
}

static const struct conv_case {
    int h, w, in, out, groups;
    lmb_edge_window v; /* kernel h w, stride h w, dilation h w, pads top left bottom right */
} convs[] = {
    { 32, 32, 3, 16, 1, { 3, 3, 1, 1, 1, 1, 1, 1, 1, 1 } },   /* a stem                           */
    { 8, 8, 64, 64, 1, { 3, 3, 1, 1, 1, 1, 1, 1, 1, 1 } },    /* whole tiles                      */
    { 9, 7, 16, 32, 1, { 3, 3, 2, 2, 1, 1, 0, 0, 1, 1 } },    /* stride 2, padded on one side     */
    { 5, 5, 1, 1, 1, { 1, 1, 1, 1, 1, 1, 0, 0, 0, 0 } },      /* smallest                         */
    { 6, 17, 1, 5, 1, { 5, 5, 1, 1, 1, 1, 2, 2, 2, 2 } },     /* one channel, wide kernel         */
    { 7, 19, 5, 17, 1, { 1, 1, 1, 1, 1, 1, 0, 0, 0, 0 } },    /* odd channels, flattened rows     */
    { 7, 19, 5, 33, 1, { 1, 1, 2, 3, 1, 1, 0, 0, 0, 0 } },    /* strided pointwise                */
    { 4, 4, 7, 79, 1, { 4, 4, 1, 1, 1, 1, 0, 0, 0, 0 } },     /* the kernel is the image: 1x4     */
    { 11, 13, 6, 18, 1, { 3, 2, 2, 1, 2, 3, 2, 1, 0, 3 } },   /* dilated, lopsided                */
    { 10, 10, 8, 24, 1, { 3, 3, 1, 1, 4, 1, 4, 1, 4, 1 } },   /* tall dilation                    */
    { 9, 9, 20, 20, 20, { 3, 3, 1, 1, 1, 1, 1, 1, 1, 1 } },   /* depthwise, odd channels          */
    { 9, 9, 16, 16, 16, { 3, 3, 2, 2, 1, 1, 1, 1, 1, 1 } },   /* depthwise, stride 2              */
    { 12, 5, 33, 33, 33, { 5, 2, 1, 1, 1, 2, 2, 1, 2, 1 } },  /* depthwise, even number of taps   */
    { 6, 6, 4, 8, 4, { 3, 3, 1, 1, 1, 1, 1, 1, 1, 1 } },      /* depthwise with multiplier 2      */
    { 6, 6, 12, 21, 3, { 3, 3, 1, 1, 1, 1, 1, 1, 1, 1 } },    /* groups                           */
    { 6, 6, 6, 38, 2, { 1, 1, 1, 1, 1, 1, 0, 0, 0, 0 } },     /* grouped pointwise, odd parts     */
    { 1, 1, 300, 10, 1, { 1, 1, 1, 1, 1, 1, 0, 0, 0, 0 } },   /* a gemm in disguise               */
    { 1, 49, 10, 20, 1, { 1, 9, 1, 2, 1, 1, 0, 4, 0, 4 } },   /* one-dimensional                  */
};
enum { CONVS = sizeof convs / sizeof convs[0] };

/* All of one output channel; weights [in / groups][kh][kw], input HWC. */
static void exact_conv(const struct conv_case *c, const uint8_t *q, int zero, const int8_t *w, int64_t bias, int oc,
                       int out_h, int out_w, int64_t *acc)
{
    const int cin = c->in / c->groups, first = oc / (c->out / c->groups) * cin;
    for (int y = 0; y < out_h; y++)
        for (int x = 0; x < out_w; x++) {
            int64_t sum = bias;
            for (int i = 0; i < cin; i++)
                for (int ky = 0; ky < c->v.kernel_h; ky++)
                    for (int kx = 0; kx < c->v.kernel_w; kx++) {
                        int iy = y * c->v.stride_h + ky * c->v.dilation_h - c->v.pad_top;
                        int ix = x * c->v.stride_w + kx * c->v.dilation_w - c->v.pad_left;
                        int inside = iy >= 0 && iy < c->h && ix >= 0 && ix < c->w;
                        int64_t v = inside ? q[(iy * c->w + ix) * c->in + first + i] : zero;
                        sum += (v - zero) * w[(i * c->v.kernel_h + ky) * c->v.kernel_w + kx];
                    }
            acc[y * out_w + x] = sum;
        }
}

START_TEST(conv_is_exact)
{
    const struct conv_case *c = &convs[_i % CONVS];
    const int how = _i / CONVS, zero = (const int[]){ 131, 0, 255, 77 }[how];
    const int products = c->in / c->groups * c->v.kernel_h * c->v.kernel_w;
    const int span_h = (c->v.kernel_h - 1) * c->v.dilation_h + 1, span_w = (c->v.kernel_w - 1) * c->v.dilation_w + 1;
    const int out_h = (c->h + c->v.pad_top + c->v.pad_bottom - span_h) / c->v.stride_h + 1;
    const int out_w = (c->w + c->v.pad_left + c->v.pad_right - span_w) / c->v.stride_w + 1;
    const size_t nq = (size_t)(c->h * c->w * c->in), nw = (size_t)(c->out * products);
    const size_t n = (size_t)(out_h * out_w * c->out);
    const float s_x = 0.021f, s_y = 0.047f;
    const lmb_edge_quant y = { s_y, 11, how == RANDOM ? 11 : 0, how == RANDOM ? 240 : 255 };
    uint64_t seed = 17 + (uint64_t)_i;
    uint8_t *q = malloc(nq), *want = malloc(n);
    int8_t *w = malloc(nw);
    float *scale = malloc((size_t)c->out * sizeof *scale);
    int32_t *bias = malloc((size_t)c->out * sizeof *bias);
    int64_t *acc = malloc((size_t)(out_h * out_w) * sizeof *acc);
    char what[80];

    fill(&seed, how, q, nq, w, nw);
    for (int oc = 0; oc < c->out; oc++) {
        scale[oc] = 0.04f * (float)(1 + net_random(&seed) % 100) / 100 / sqrtf((float)products);
        bias[oc] = (int32_t)(net_random(&seed) % 20001) - 10000;
        float m = (float)((double)(float)((double)s_x * scale[oc]) / (double)s_y);
        exact_conv(c, q, zero, w + oc * products, bias[oc], oc, out_h, out_w, acc);
        for (int p = 0; p < out_h * out_w; p++)
            want[p * c->out + oc] = exact_requantize(acc[p], m, 11, y.lo, y.hi);
    }
    lmb_edge_writer *writer = lmb_edge_writer_create();
    int t = lmb_edge_write_input(writer, "x", c->h, c->w, c->in, s_x, zero, 0);
    t = lmb_edge_write_conv(writer, "conv", t, c->out, c->groups, &c->v, w, scale, bias, y);
    snprintf(what, sizeof what, "conv row %d, fill %d", _i % CONVS, how);
    expect(net_finish(writer, t), q, want, n, what);
    free(q);
    free(want);
    free(w);
    free(scale);
    free(bias);
    free(acc);
}
END_TEST

/* Source shape and outputs; the last has the longest sum a file may have. */
static const int gemms[][4] = { { 1, 1, 64, 10 }, { 3, 5, 7, 66 }, { 1, 1, 1, 1 }, { 4, 4, 2048, 3 } };

START_TEST(gemm_is_exact)
{
    const int *g = gemms[_i / FILLS], how = _i % FILLS, pixels = g[0] * g[1], k = pixels * g[2], out = g[3];
    const lmb_edge_quant y = { 0.1f, 100, 0, 255 };
    uint64_t seed = 5 + (uint64_t)_i;
    uint8_t *q = malloc((size_t)k), *want = malloc((size_t)out);
    int8_t *w = malloc((size_t)(k * out));
    float *scale = malloc((size_t)out * sizeof *scale);
    fill(&seed, how, q, (size_t)k, w, (size_t)(k * out));
    for (int oc = 0; oc < out; oc++) {
        int64_t acc = 0;
        for (int c = 0; c < g[2]; c++) /* weights come in the order of a flattened CHW tensor */
            for (int p = 0; p < pixels; p++)
                acc += (q[p * g[2] + c] - 255) * w[oc * k + c * pixels + p];
        scale[oc] = how == RANDOM ? 0.01f / sqrtf((float)k) : 1e-4f / (float)k;
        want[oc] = exact_requantize(acc, (float)((double)(float)((double)0.5f * scale[oc]) / (double)0.1f), 100, 0, 255);
    }
    lmb_edge_writer *writer = lmb_edge_writer_create();
    int t = lmb_edge_write_input(writer, "x", g[0], g[1], g[2], 0.5f, 255, 0);
    t = lmb_edge_write_gemm(writer, "gemm", t, out, w, scale, NULL, y);
    expect(net_finish(writer, t), q, want, (size_t)out, "gemm");
    free(q);
    free(want);
    free(w);
    free(scale);
}
END_TEST

/* All pairs of activations, with the kernels called directly: an add of two inputs is one step of a network. Most
 * pairs of the first two scales are ties but for rounding errors; the textbook sum of two rescaled terms must differ
 * somewhere, or they would not tell the formulae apart. */
START_TEST(add_is_exact)
{
    static const float scales[][3] = { { 0.1f, 0.1f, 0.6f }, { 0.3f, 0.5f, 1.4f }, { 1, 1e-6f, 1e-3f } };
    enum { N = 65536, LO = 33, HI = 250 };
    const float *s = scales[_i];
    const float ra = (float)((double)s[0] / s[2]), rb = (float)((double)s[1] / s[2]);
    const float zb = (float)((double)rb * 7);
    const float base = (float)(33.0 - (double)(float)((long double)ra * 140 + zb));
    const lmb_edge_add_terms terms = lmb_edge_add_prepare(s[0], 140, s[1], 7, s[2], 33);
    uint8_t *a = malloc(N), *b = malloc(N), *got = malloc(N);
    int textbook_differs = 0;
    ck_assert(terms.ra == ra && terms.rb == rb && terms.base == base);
    for (int k = 0; k < 2; k++) {
        const lmb_edge_tensor t = { 1, 256, 256, 0, s[2], 33, { 0 }, 0, 0 };
        lmb_edge_op op = { .kind = LMB_EDGE_ADD, .inputs = 2, .lo = LO, .hi = HI, .a = ra, .b = rb, .base = base };
        lmbi_edge_step step = { .op = &op, .in = { &t, &t }, .out = &t, .src = { a, b }, .dst = got };
        const lmbi_edge_kernels *set = k ? lmbi_edge_best() : &lmbi_edge_scalar;
        for (int i = 0; i < N; i++) {
            a[i] = (uint8_t)i;
            b[i] = (uint8_t)(i >> 8);
        }
        set->op[LMB_EDGE_ADD]->run(&step);
        for (int i = 0; i < N; i++) {
            float inner = (float)((long double)a[i] * ra + base);
            double v = nearbyint((double)(float)((long double)b[i] * rb + inner));
            float plain = (float)((double)(float)((double)b[i] * rb) + (double)(float)((double)a[i] * ra)) + base;
            int want = (int)(v < LO ? LO : v > HI ? HI : v);
            textbook_differs += nearbyintf(plain < LO ? LO : plain > HI ? HI : plain) != want;
            ck_assert_msg(got[i] == want, "%s: %u + %u is %u, should be %d", set->name, a[i], b[i], got[i], want);
        }
    }
    ck_assert(textbook_differs > 0 || _i == 2);
    free(a);
    free(b);
    free(got);
}
END_TEST

START_TEST(global_average_is_exact)
{
    static const int shapes[][3] = { { 8, 8, 64 }, { 1, 1, 3 }, { 7, 5, 37 } };
    const int *d = shapes[_i], n = d[0] * d[1];
    uint8_t q[4096], want[64];
    uint64_t seed = 9;
    net_random_bytes(&seed, q, sizeof q);
    const float m = (float)((double)0.03f / (double)(float)((double)0.01f * n));
    for (int c = 0; c < d[2]; c++) {
        int64_t acc = 0;
        for (int p = 0; p < n; p++)
            acc += q[p * d[2] + c] - 99;
        want[c] = exact_requantize(acc, m, 20, 20, 255);
    }
    lmb_edge_writer *writer = lmb_edge_writer_create();
    int t = lmb_edge_write_input(writer, "x", d[0], d[1], d[2], 0.03f, 99, 0);
    t = lmb_edge_write_global_avg(writer, "mean", t, (lmb_edge_quant){ 0.01f, 20, 20, 255 });
    expect(net_finish(writer, t), q, want, (size_t)d[2], "global average");
}
END_TEST

START_TEST(max_pool_is_exact)
{
    static const lmb_edge_window windows[] = {
        { 2, 2, 2, 2, 1, 1, 0, 0, 0, 0 }, { 3, 3, 2, 2, 1, 1, 1, 1, 1, 1 }, { 3, 2, 1, 2, 2, 3, 2, 1, 1, 3 }
    };
    enum { H = 9, W = 8, C = 67 };
    const lmb_edge_window v = windows[_i];
    const int out_h = (H + v.pad_top + v.pad_bottom - ((v.kernel_h - 1) * v.dilation_h + 1)) / v.stride_h + 1;
    const int out_w = (W + v.pad_left + v.pad_right - ((v.kernel_w - 1) * v.dilation_w + 1)) / v.stride_w + 1;
    uint8_t q[H * W * C], *want = malloc((size_t)(out_h * out_w * C));
    uint64_t seed = 23;
    net_random_bytes(&seed, q, sizeof q);
    for (int y = 0; y < out_h; y++)
        for (int x = 0; x < out_w; x++)
            for (int c = 0; c < C; c++) {
                int most = 0;
                for (int ky = 0; ky < v.kernel_h; ky++)
                    for (int kx = 0; kx < v.kernel_w; kx++) {
                        int iy = y * v.stride_h + ky * v.dilation_h - v.pad_top;
                        int ix = x * v.stride_w + kx * v.dilation_w - v.pad_left;
                        if (iy >= 0 && iy < H && ix >= 0 && ix < W && q[(iy * W + ix) * C + c] > most)
                            most = q[(iy * W + ix) * C + c];
                    }
                want[(y * out_w + x) * C + c] = (uint8_t)most;
            }
    lmb_edge_writer *writer = lmb_edge_writer_create();
    int t = lmb_edge_write_input(writer, "x", H, W, C, 0.03f, 99, 0);
    t = lmb_edge_write_max_pool(writer, "pool", t, &v);
    expect(net_finish(writer, t), q, want, (size_t)(out_h * out_w * C), "max pool");
    free(want);
}
END_TEST

START_TEST(requantize_is_dequantize_then_quantize)
{
    uint8_t q[256], want[256];
    for (int i = 0; i < 256; i++) {
        float x = (float)((double)(i - 128) * (double)0.02f);
        double v = nearbyint((double)(float)((double)x / (double)0.013f)) + 50;
        q[i] = (uint8_t)i;
        want[i] = (uint8_t)(v < 50 ? 50 : v > 255 ? 255 : v);
    }
    lmb_edge_writer *writer = lmb_edge_writer_create();
    int t = lmb_edge_write_input(writer, "x", 4, 8, 8, 0.02f, 128, 0);
    t = lmb_edge_write_requantize(writer, "to", t, (lmb_edge_quant){ 0.013f, 50, 50, 255 });
    expect(net_finish(writer, t), q, want, 256, "requantise");
}
END_TEST

/* Worked by hand: ties go to even, clamps hold far outside int32. */
START_TEST(rounding_known_answers)
{
    ck_assert_int_eq(lmb_edge_requantize(1, 0.5f, 10, 0, 255), 10);
    ck_assert_int_eq(lmb_edge_requantize(3, 0.5f, 10, 0, 255), 12);
    ck_assert_int_eq(lmb_edge_requantize(5, 0.5f, 10, 0, 255), 12);
    ck_assert_int_eq(lmb_edge_requantize(-1, 0.5f, 10, 0, 255), 10);
    ck_assert_int_eq(lmb_edge_requantize(-3, 0.5f, 10, 0, 255), 8);
    ck_assert_int_eq(lmb_edge_requantize(-3, 0.5f, 10, 10, 255), 10);
    ck_assert_int_eq(lmb_edge_requantize(INT32_MAX, 1e30f, 10, 0, 255), 255);
    ck_assert_int_eq(lmb_edge_requantize(INT32_MIN, 1e30f, 10, 3, 255), 3);
    ck_assert_int_eq(lmb_edge_requantize(16777217, 1.0f / 16777216, 0, 0, 255), 1);
}
END_TEST

/* "123456789" has the check value the CRC catalogue lists for CRC-32/ISCSI. */
START_TEST(crc_known_answer)
{
    ck_assert_uint_eq(lmbi_edge_crc32c("123456789", 9), 0xe3069283u);
    ck_assert_uint_eq(lmbi_edge_crc32c("", 0), 0);
}
END_TEST

LMB_TEST_MAIN("core/edge/kernels", add_loop(conv_is_exact, CONVS * FILLS);
              add_loop(gemm_is_exact, (int)(sizeof gemms / sizeof gemms[0]) * FILLS); add_loop(add_is_exact, 3);
              add_loop(global_average_is_exact, 3); add_loop(max_pool_is_exact, 3);
              add(requantize_is_dequantize_then_quantize); add(rounding_known_answers); add(crc_known_answer);)
