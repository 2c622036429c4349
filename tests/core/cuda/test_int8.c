/* Mirrors core/cuda/int8.c: every op of integer networks gives the bytes of core/edge's scalar kernels. Runs on what
 * LMB_CUDA_MODULE names: the played module, whose kernels run on the host, or, labelled gpu, the real one. */
#include "core/cuda/int8.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "core/cuda/device.h"
#include "core/edge/write.h"
#include "tests/gpu_main.h"

enum { EXAMPLES = 18 }; /* of batches of 16: one of them is not full */

static lmb_error err;
static lmb_rand stream;
static uint32_t drawn;

static uint32_t below(uint32_t n) { return lmb_rand_below(&stream, drawn++, n); }

static void begin(uint64_t row)
{
    err = (lmb_error)LMB_ERROR_INIT;
    stream = lmb_rand_at(47, LMB_RAND_TEST, 0, row);
    drawn = 0;
}

/* Finish the model; the GPU's answers to random images are those of the scalar kernels. */
static void same_bytes(lmb_edge_writer *w)
{
    char why[200] = "";
    lmb_edge_buffer file = { NULL, 0, 0 };
    lmb_edge_tensor x, y;
    lmb_edge_model m;
    lmb_int8 *r;

    ck_assert_msg(lmb_edge_write_finish(w, 0, &file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    lmb_edge_writer_destroy(w);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_use(&m, "scalar"), LMB_EDGE_OK);
    void *memory = malloc(lmb_edge_prepare_bytes(&m)), *arena = malloc(lmb_edge_arena_bytes(&m));
    lmb_edge_prepare(&m, memory);
    lmb_edge_tensor_at(&m, 0, &x);
    lmb_edge_tensor_at(&m, m.n_ops, &y);
    uint8_t *in = malloc((size_t)EXAMPLES * x.bytes), *want = malloc((size_t)EXAMPLES * y.bytes),
            *got = malloc((size_t)EXAMPLES * y.bytes);
    for (size_t i = 0; i < (size_t)EXAMPLES * x.bytes; i++)
        in[i] = (uint8_t)(below(8) ? below(256) : below(2) * 255);
    for (size_t i = 0; i < EXAMPLES; i++)
        ck_assert_int_eq(lmb_edge_run(&m, arena, in + i * x.bytes, want + i * y.bytes), LMB_EDGE_OK);
    memset(got, 0x5A, (size_t)EXAMPLES * y.bytes);
    ck_ok(lmb_int8_create(lmb_gpu_api(test_gpu), lmb_gpu_device(test_gpu), &m, 16, &r, &err));
    ck_assert_int_eq(lmb_int8_batch(r), 16);
    ck_ok(lmb_int8_run(r, in, EXAMPLES, got, &err));
    for (size_t i = 0; i < (size_t)EXAMPLES * y.bytes; i++)
        ck_assert_msg(got[i] == want[i], "byte %zu is %d, not %d", i, got[i], want[i]);
    lmb_int8_destroy(r);
    free(in);
    free(want);
    free(got);
    free(memory);
    free(arena);
    free(file.data);
}

typedef struct conv_row {
    uint32_t h, w, c, channels, groups;
    uint16_t kernel[2], stride[2], dilation[2], pads[4];
    uint8_t bits;
} conv_row;

static const conv_row convs[] = {
    { 8, 8, 16, 16, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 0 },   /* loads of 16 bytes */
    { 8, 8, 48, 24, 1, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 0, 0, 1, 1 }, 0 },   /* several of them  */
    { 9, 11, 3, 16, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 0 },   /* byte by byte     */
    { 7, 10, 1, 5, 1, { 5, 5 }, { 1, 1 }, { 1, 1 }, { 2, 2, 2, 2 }, 0 },    /* one channel      */
    { 8, 8, 4, 20, 1, { 1, 1 }, { 2, 2 }, { 1, 1 }, { 0, 0, 0, 0 }, 0 },    /* loads of four    */
    { 5, 6, 20, 9, 1, { 2, 3 }, { 1, 2 }, { 1, 1 }, { 1, 0, 0, 2 }, 0 },    /* asymmetric, outputs left over */
    { 9, 9, 5, 17, 1, { 3, 3 }, { 1, 1 }, { 2, 3 }, { 2, 3, 2, 3 }, 0 },    /* dilated          */
    { 1, 40, 2, 48, 1, { 1, 9 }, { 1, 1 }, { 1, 1 }, { 0, 4, 0, 4 }, 0 },   /* one-dimensional  */
    { 3, 3, 3, 1, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 }, 0 },     /* one output       */
    { 4, 4, 8, 16, 1, { 7, 7 }, { 3, 3 }, { 1, 1 }, { 6, 6, 6, 6 }, 0 },    /* windows of padding alone */
    { 7, 7, 16, 16, 16, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 0 },  /* depthwise, by fours */
    { 8, 9, 21, 21, 21, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 0, 0, 1, 1 }, 0 },  /* by ones          */
    { 6, 6, 40, 40, 40, { 5, 4 }, { 1, 1 }, { 1, 2 }, { 2, 3, 2, 3 }, 0 },
    { 5, 5, 6, 12, 6, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 0 },    /* two outputs of each channel */
    { 6, 6, 12, 8, 4, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 0 },    /* groups of three  */
    { 6, 6, 32, 20, 2, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 0 },   /* groups of sixteen, tiles left over */
    { 6, 5, 12, 16, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 4 },   /* narrow weights   */
};

static void conv_network(const conv_row *r, uint8_t zero_x, int extreme, lmb_edge_layout layout)
{
    size_t per_output = (size_t)r->kernel[0] * r->kernel[1] * (r->c / r->groups), n = per_output * r->channels;
    const lmb_edge_quant xq = { 0.03f, zero_x, 0, 255 }, yq = { 0.05f, 12, extreme ? 3 : 12, 250 };
    int8_t *weights = malloc(n);
    float *scales = malloc(r->channels * sizeof *scales);
    int32_t *bias = malloc(r->channels * sizeof *bias);
    int range = r->bits ? 1 << r->bits : 256;

    for (size_t i = 0; i < n; i++)
        weights[i] =
            (int8_t)(extreme && !r->bits ? (extreme == 1 ? -128 : 127) : (int)below((uint32_t)range) - range / 2);
    for (uint32_t o = 0; o < r->channels; o++) {
        scales[o] = 0.0002f * (float)(1 + below(100)) / (float)(1 + per_output / 8);
        bias[o] = (int32_t)below(20001) - 10000;
    }
    lmb_edge_writer *w = lmb_edge_writer_create();
    lmb_edge_conv op = { lmb_edge_write_input(w, r->h, r->w, r->c, layout, xq, "x"),
                         yq,
                         r->channels,
                         r->groups,
                         { r->kernel[0], r->kernel[1] },
                         { r->stride[0], r->stride[1] },
                         { r->dilation[0], r->dilation[1] },
                         { r->pads[0], r->pads[1], r->pads[2], r->pads[3] },
                         weights,
                         scales,
                         bias,
                         "y",
                         r->bits };
    lmb_edge_write_conv(w, &op);
    lmb_edge_write_output_layout(w, layout);
    same_bytes(w);
    free(weights);
    free(scales);
    free(bias);
}

START_TEST(convolutions)
{
    begin((uint64_t)_i);
    conv_network(&convs[_i], 117, 0, LMB_EDGE_CHW);
    conv_network(&convs[_i], 0, 1, LMB_EDGE_HWC);
    conv_network(&convs[_i], 255, 2, LMB_EDGE_CHW);
}
END_TEST

/* Every number of channels past the widest load, in and out. */
START_TEST(every_tail)
{
    uint32_t n = (uint32_t)_i + 1, m = n * 29 % 35 + 1;
    const conv_row rows[] = {
        { 3, 5, n, m, 1, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 }, 0 },
        { 2, n, 3, m, 1, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 0 },
        { 3, 4, n, n, n, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 0 },
    };
    begin(1000 + (uint64_t)_i);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        conv_network(&rows[i], 117, 0, LMB_EDGE_CHW);
}
END_TEST

START_TEST(gemm)
{
    static const uint32_t rows[][4] = {
        { 1, 1, 64, 10 }, { 4, 3, 5, 33 }, { 2, 2, 16, 128 }, { 1, 1, 1, 1 }, { 7, 1, 3, 70 }
    };
    const uint32_t *r = rows[_i];
    const lmb_edge_quant xq = { 0.02f, 9, 0, 255 }, yq = { 0.3f, 140, 0, 255 };
    int8_t weights[128 * 64];
    float scales[128];
    int32_t bias[128];

    begin(300 + (uint64_t)_i);
    for (uint32_t i = 0; i < r[0] * r[1] * r[2] * r[3]; i++)
        weights[i] = (int8_t)((int)below(256) - 128);
    for (uint32_t o = 0; o < r[3]; o++) {
        bias[o] = (int32_t)below(2000) - 1000;
        scales[o] = 0.001f * (float)(1 + below(50));
    }
    lmb_edge_writer *w = lmb_edge_writer_create();
    lmb_edge_gemm op = {
        lmb_edge_write_input(w, r[0], r[1], r[2], LMB_EDGE_CHW, xq, "x"), yq, r[3], weights, scales, bias, "y", 0
    };
    lmb_edge_write_gemm(w, &op);
    same_bytes(w);
}
END_TEST

/* The other ops in one network: a table beside its input, their sum and concatenation, pooled, averaged, requantised,
 * dequantised. */
START_TEST(the_others)
{
    const lmb_edge_quant q = { 0.02f, 50, 0, 255 }, t = { 0.029f, 201, 0, 255 }, wide = { 0.05f, 70, 60, 240 },
                         y = { 0.013f, 128, 110, 200 };
    const uint16_t kernel[2] = { 3, 2 }, stride[2] = { 2, 1 }, dilation[2] = { 1, 2 }, pads[4] = { 1, 0, 1, 1 };
    uint32_t n = (uint32_t)_i + 1;
    uint8_t table[256];

    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i * 7 + 3);
    for (int last = 0; last < 4; last++) {
        begin(600 + 4 * (uint64_t)_i + (uint64_t)last);
        lmb_edge_writer *w = lmb_edge_writer_create();
        int x = lmb_edge_write_input(w, 7, 6, n, last % 2 ? LMB_EDGE_HWC : LMB_EDGE_CHW, q, "x");
        int sum = lmb_edge_write_add(w, x, lmb_edge_write_table(w, x, t, table, "t"), wide, "sum");
        int pooled = lmb_edge_write_max_pool(w, sum, kernel, stride, dilation, pads, 60, 222, "pooled");
        int three[3] = { pooled, lmb_edge_write_table(w, pooled, wide, table, "u"), pooled };
        int all = lmb_edge_write_concat(w, three, 3, "all");
        if (last > 0)
            all = lmb_edge_write_requantise(w, all, y, "q");
        if (last > 1)
            all = lmb_edge_write_global_average(w, all, wide, "mean");
        if (last != 2)
            lmb_edge_write_dequantise(w, all, "y");
        if (last != 1)
            lmb_edge_write_output_layout(w, LMB_EDGE_CHW);
        same_bytes(w);
    }
}
END_TEST

LMB_GPU_TEST_MAIN("core/cuda/int8", add_loop(convolutions, (int)(sizeof convs / sizeof *convs));
                  add_loop(every_tail, 20); add_loop(gemm, 5); add_loop(the_others, 18);)
