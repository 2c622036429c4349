/* tests/core/edge/test_write.c - from builder to file to result: whole networks, the memory plan, what a file tells
 * about itself, and what the builder refuses. */
#include "tests/check_main.h"
#include "tests/core/edge/nets.h"

static lmb_edge_model open_file(net_file f)
{
    lmb_edge_model m;
    char why[200] = "";
    ck_assert_ptr_nonnull(f.data);
    ck_assert_msg(lmb_edge_open(f.data, f.bytes, &m, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    return m;
}

/* All kernels give the same bytes, for several inputs, and the result depends on the input. */
static void same_bytes_everywhere(net_file f, size_t input_bytes)
{
    uint8_t *input = malloc(input_bytes), *first = NULL;
    uint64_t seed = 41;
    int differ = 0;
    for (int round = 0; round < 8; round++) {
        size_t n, n2;
        net_random_bytes(&seed, input, input_bytes);
        uint8_t *want = net_run(f, "scalar", input, &n);
        ck_assert_ptr_nonnull(want);
        for (int i = 0; lmb_edge_kernels_at(i); i++) {
            uint8_t *got = net_run(f, lmb_edge_kernels_at(i), input, &n2);
            ck_assert_ptr_nonnull(got);
            ck_assert_uint_eq(n, n2);
            ck_assert_mem_eq(want, got, n);
            free(got);
        }
        differ += first && memcmp(first, want, n) != 0;
        if (!first)
            first = want;
        else
            free(want);
    }
    ck_assert_int_gt(differ, 0);
    free(first);
    free(input);
}

START_TEST(resnet8_runs_the_same_everywhere)
{
    net_file f = net_resnet8(7);
    lmb_edge_model m = open_file(f);
    size_t len;
    ck_assert_uint_eq(m.n_ops, 14);
    ck_assert_uint_eq(lmb_edge_macs(&m), 12501632); /* the count MLPerf Tiny's reference model has */
    ck_assert_uint_eq(lmb_edge_parameters(&m), 77360 + 346);
    ck_assert_uint_le(f.bytes, 84 * 1024);
    /* The largest set alive at once: the input of the first block and both its convolutions, 3 x 32x32x16. */
    ck_assert_uint_eq(m.arena_bytes, 49152);
    ck_assert_int_eq(m.input_is_chw, 1);
    ck_assert_str_eq(lmb_edge_name(&m, m.ops[0].name), "stem");
    ck_assert_str_eq(lmb_edge_kind_name(m.ops[0].kind), "conv");
    ck_assert_int_eq(strncmp(lmb_edge_meta(&m, "labels", &len), "airplane,automobile", 19), 0);
    ck_assert_uint_eq(len, strlen("airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"));
    ck_assert_ptr_null(lmb_edge_meta(&m, "label", &len));
    same_bytes_everywhere(f, 32 * 32 * 3);
    free(f.data);
}
END_TEST

START_TEST(every_kind_runs_the_same_everywhere)
{
    net_file f = net_every_kind(3);
    lmb_edge_model m = open_file(f);
    unsigned seen = 0;
    for (uint32_t i = 0; i < m.n_ops; i++)
        seen |= 1u << m.ops[i].kind;
    ck_assert_uint_eq(seen, (1u << LMB_EDGE_KINDS) - 2);
    same_bytes_everywhere(f, 9 * 7 * 3);
    free(f.data);
}
END_TEST

/* The same bytes as CHW and as HWC: the flag only moves them. */
START_TEST(input_order_is_declared)
{
    const uint8_t chw[] = { 1, 2, 3, 4, 5, 6 }, hwc[] = { 1, 4, 2, 5, 3, 6 };
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)i;
    for (int is_chw = 0; is_chw < 2; is_chw++) {
        lmb_edge_writer *w = lmb_edge_writer_create();
        int t = lmb_edge_write_input(w, "x", 1, 3, 2, 1, 0, is_chw);
        t = lmb_edge_write_table(w, "same", t, table, (lmb_edge_quant){ 1, 0, 0, 255 });
        net_file f = net_finish(w, t);
        size_t n;
        uint8_t *y = net_run(f, NULL, is_chw ? chw : hwc, &n);
        ck_assert_ptr_nonnull(y);
        ck_assert_mem_eq(y, hwc, 6);
        free(y);
        free(f.data);
    }
}
END_TEST

/* Random lives: no two tensors alive together overlap, and owners share. */
START_TEST(plan_never_overlaps)
{
    enum { N = 40 };
    uint64_t bytes[N], offset[N], seed = 100 + (uint64_t)_i, total = 0;
    uint32_t birth[N], death[N], owner[N];
    for (uint32_t i = 0; i < N; i++) {
        bytes[i] = 1 + net_random(&seed) % 5000;
        birth[i] = i;
        death[i] = i + net_random(&seed) % 6;
        owner[i] = i;
        total += bytes[i];
    }
    owner[20] = 10;
    bytes[20] = bytes[10];
    death[10] = 30;
    uint64_t arena = lmb_edge_plan(bytes, birth, death, owner, N, offset);
    ck_assert_uint_lt(arena, total);
    ck_assert_uint_eq(offset[20], offset[10]);
    for (int a = 0; a < N; a++) {
        ck_assert_uint_le(offset[a] + bytes[a], arena);
        for (int b = 0; b < a; b++)
            if (a != 20 && b != 20 && birth[a] <= death[b] && birth[b] <= death[a])
                ck_assert(offset[a] >= offset[b] + bytes[b] || offset[b] >= offset[a] + bytes[a]);
    }
}
END_TEST

START_TEST(dequantize_follows_onnx)
{
    const lmb_edge_tensor t = { 1, 1, 3, 0, 0.5f, 128, { 0 }, 0, 0 };
    const uint8_t q[] = { 0, 128, 255 };
    float y[3];
    lmb_edge_dequantize(&t, q, 3, y);
    ck_assert(y[0] == -64.0f && y[1] == 0.0f && y[2] == 63.5f);
}
END_TEST

START_TEST(calls_out_of_order_are_refused)
{
    net_file f = net_every_kind(3);
    lmb_edge_model m = open_file(f);
    uint8_t byte = 0;
    ck_assert_int_eq(lmb_edge_run(&m, &byte, &byte, &byte), LMB_EDGE_E_ARG);
    ck_assert_int_eq(lmb_edge_use(&m, "abacus"), LMB_EDGE_E_NOIMPL);
    ck_assert_int_eq(lmb_edge_use(&m, "scalar"), LMB_EDGE_OK);
    ck_assert_str_eq(lmb_edge_kernels(&m), "scalar");
    ck_assert_uint_eq(lmb_edge_prepare_bytes(&m), 0);
    ck_assert_int_eq(lmb_edge_run(&m, &byte, &byte, &byte), LMB_EDGE_E_ARG);
    ck_assert_int_eq(lmb_edge_use(&m, lmb_edge_kernels_at(0)), LMB_EDGE_OK);
    if (lmb_edge_prepare_bytes(&m) > 0)
        ck_assert_int_eq(lmb_edge_prepare(&m, &byte, 1), LMB_EDGE_E_ARG);
    free(f.data);
}
END_TEST

/* Each row breaks one thing; the sentence must name it. */
static const struct {
    int src, out, groups, kernel, pad, lo, hi;
    float scale;
    const char *sentence;
} broken[] = {
    { 5, 4, 1, 3, 1, 0, 255, 0.1f, "its input is tensor 5, there are 1" },
    { 0, 4, 3, 3, 1, 0, 255, 0.1f, "3 groups do not divide 4 input" },
    { 0, 4, 1, 0, 1, 0, 255, 0.1f, "kernel, stride and dilation" },
    { 0, 4, 1, 3, 3, 0, 255, 0.1f, "padding must be smaller" },
    { 0, 4, 1, 9, 0, 0, 255, 0.1f, "a shape of 0x0x4" },
    { 0, 4, 1, 3, 1, 9, 8, 0.1f, "clamps to 9..8" },
    { 0, 4, 1, 3, 1, 0, 256, 0.1f, "clamps to 0..256" },
    { 0, 4, 1, 3, 1, 0, 255, 0.0f, "scale 0 must be in" },
};

START_TEST(builder_refuses)
{
    lmb_edge_writer *w = lmb_edge_writer_create();
    lmb_edge_buffer b = { NULL, 0, 0 };
    int8_t weights[4 * 4 * 81] = { 0 };
    const float scale[4] = { 1, 1, 1, 1 };
    char why[200] = "";
    const lmb_edge_window v = net_window(broken[_i].kernel, 1, broken[_i].pad, broken[_i].pad);
    lmb_edge_write_input(w, "x", 8, 8, 4, 0.1f, 0, 0);
    int t = lmb_edge_write_conv(w, "c", broken[_i].src, broken[_i].out, broken[_i].groups, &v, weights, scale, NULL,
                                (lmb_edge_quant){ broken[_i].scale, 0, broken[_i].lo, broken[_i].hi });
    ck_assert_int_lt(lmb_edge_writer_finish(w, t < 0 ? 0 : t, &b, why, sizeof why), 0);
    ck_assert_msg(strstr(why, broken[_i].sentence) != NULL, "said: %s", why);
    ck_assert_uint_eq(b.bytes, 0);
    free(b.data);
    lmb_edge_writer_destroy(w);
}
END_TEST

LMB_TEST_MAIN("core/edge/write", add(resnet8_runs_the_same_everywhere); add(every_kind_runs_the_same_everywhere);
              add(input_order_is_declared); add_loop(plan_never_overlaps, 20); add(dequantize_follows_onnx);
              add(calls_out_of_order_are_refused);
              add_loop(builder_refuses, (int)(sizeof broken / sizeof broken[0]));)
