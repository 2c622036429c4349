/* tests/core/edge/test_narrow.c - weights of 2 to 7 bits: narrow in the file, the s8 network when run, whoever damaged
 * them. */
#include <string.h>

#include "core/base/random.h"
#include "core/edge/write.h"
#include "tests/check_main.h"
#include "tests/core/edge/hostile.h"
#include "tests/core/edge/network.h"

static char why[200];

static lmb_edge_buffer network(int bits, int narrow)
{
    lmb_edge_buffer file = { NULL, 0, 0 };
    ck_assert_msg(small_network_of(bits, narrow, &file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    return file;
}

/* By hand from the text of lmb.h: 4 bits, the first number in the low half; 3 bits: 001, 010, 011, 100, 101 from the
 * lowest bit on, the third across the two bytes. */
START_TEST(known_answers)
{
    const uint8_t four[] = { 0x97, 0x0f }, three[] = { 0xd1, 0x58 };
    const int want4[] = { 7, -7, -1 }, want3[] = { 1, 2, 3, -4, -3 };
    const lmb_edge_op a = { .bits = 4, .weights = (const int8_t *)four },
                      b = { .bits = 3, .weights = (const int8_t *)three };
    ck_assert_uint_eq(lmb_edge_weight_bytes(3, 4), 2);
    ck_assert_uint_eq(lmb_edge_weight_bytes(5, 3), 2);
    ck_assert_uint_eq(lmb_edge_weight_bytes(8, 7), 7);
    ck_assert_uint_eq(lmb_edge_weight_bytes(LMB_EDGE_MAX_COUNT, 7), (size_t)LMB_EDGE_MAX_COUNT / 8 * 7);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(lmb_edge_weight_at(&a, i), want4[i]);
    for (uint32_t i = 0; i < 5; i++)
        ck_assert_int_eq(lmb_edge_weight_at(&b, i), want3[i]);
}
END_TEST

static void run(const lmb_edge_buffer *file, const char *kernels, const uint8_t *input, float *out)
{
    lmb_edge_model m;
    ck_assert_msg(lmb_edge_open(file->data, file->size, &m, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    ck_assert_int_eq(lmb_edge_use(&m, kernels), LMB_EDGE_OK);
    void *memory = malloc(lmb_edge_prepare_bytes(&m)),
         *arena = malloc(lmb_edge_arena_bytes(&m)); /* exactly: ASan looks */
    ck_assert(memory && arena);
    lmb_edge_prepare(&m, memory);
    ck_assert_int_eq(lmb_edge_run(&m, arena, input, out), LMB_EDGE_OK);
    free(memory);
    free(arena);
}

START_TEST(narrow_runs_as_bytes_do)
{
    lmb_edge_buffer bytes = network(_i, 0), narrow = network(_i, 1);
    uint8_t input[NETWORK_IN];
    float want[NETWORK_OUT], got[NETWORK_OUT];
    const char *name;
    int usable;
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, 0, (uint64_t)_i);

    ck_assert_uint_lt(narrow.size, bytes.size);
    for (int i = 0; i < NETWORK_IN; i++)
        input[i] = (uint8_t)lmb_rand_u32(&r, (uint32_t)i);
    run(&bytes, "scalar", input, want);
    for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++)
        if (usable) {
            run(&narrow, name, input, got);
            ck_assert_mem_eq(got, want, sizeof want);
        }
    lmb_edge_model m;
    lmb_edge_op op;
    uint64_t parameters, macs;
    ck_assert_int_eq(lmb_edge_open(bytes.data, bytes.size, &m, why, sizeof why), LMB_EDGE_OK);
    parameters = lmb_edge_parameters(&m);
    macs = lmb_edge_macs(&m);
    ck_assert_int_eq(lmb_edge_open(narrow.data, narrow.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert(lmb_edge_parameters(&m) == parameters && lmb_edge_macs(&m) == macs);
    lmb_edge_op_at(&m, 0, &op);
    ck_assert(op.kind == LMB_EDGE_CONV && op.bits == _i && op.n_weights == 17 * 27);
    free(bytes.data);
    free(narrow.data);
}
END_TEST

static uint8_t *ops_of(const lmb_edge_buffer *file)
{
    lmb_edge_model m;
    ck_assert_int_eq(lmb_edge_open(file->data, file->size, &m, why, sizeof why), LMB_EDGE_OK);
    return file->data + (m.ops - file->data);
}

START_TEST(false_claims_are_refused)
{
    static const struct {
        uint8_t at, value;
        const char *sentence;
    } claims[] = {
        { 44, 0, "2..7 bits" },
        { 44, 1, "2..7 bits" },
        { 44, 8, "2..7 bits" },
        { 45, 1, "2..7 bits" },
        { 0, LMB_EDGE_CONV, "reserved bytes" },
        { 53, 1, "do not lie in WTS" },
        { 40, 0, "groups" },
        { 0, 11, "unknown to this reader" },
    };
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        lmb_edge_buffer file = network(3, 1);
        lmb_edge_model m;
        ops_of(&file)[claims[i].at] = claims[i].value;
        reseal(file.data, file.size);
        ck_assert_int_ne(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
        ck_assert_msg(strstr(why, claims[i].sentence), "%s: %s", claims[i].sentence, why);
        free(file.data);
    }
}
END_TEST

/* 17 * 27 weights of 3 bits end in bit 0 of a byte: what lies behind is zero or the file is refused. */
START_TEST(bits_behind_the_last_are_zero)
{
    lmb_edge_buffer file = network(3, 1);
    lmb_edge_model m;
    lmb_edge_op op;
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    lmb_edge_op_at(&m, 0, &op);
    size_t at = (size_t)((const uint8_t *)op.weights - file.data) + lmb_edge_weight_bytes(17 * 27, 3) - 1;
    file.data[at] |= 0x80;
    reseal(file.data, file.size);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_E_FORMAT);
    ck_assert_msg(strstr(why, "behind its narrow weights"), "%s", why);
    free(file.data);
}
END_TEST

START_TEST(damage_with_good_checksums)
{
    lmb_edge_buffer file = network(_i, 1);
    uint8_t *hit = malloc(file.size);
    int ran = 0;
    ck_assert_ptr_nonnull(hit);
    for (uint32_t k = 0; k < 400; k++) {
        lmb_rand r = lmb_rand_at(11, LMB_RAND_TEST, (uint64_t)_i, k);
        memcpy(hit, file.data, file.size);
        for (uint32_t j = 0; j <= k % 3; j++)
            hit[lmb_rand_u32(&r, 2 * j) % file.size] = (uint8_t)lmb_rand_u32(&r, 2 * j + 1);
        reseal(hit, file.size);
        ran += try_file(hit, file.size);
    }
    ck_assert_int_gt(ran, 0); /* most weights may be anything */
    ck_assert_int_lt(ran, 400);
    free(hit);
    free(file.data);
}
END_TEST

START_TEST(a_weight_too_wide_is_refused_when_written)
{
    const lmb_edge_quant image = { 0.02f, 0, 0, 255 };
    const int8_t wide[2] = { 7, 8 }, low[2] = { -8, 7 };
    const float scale = 0.5f;
    for (int k = 0; k < 2; k++) {
        lmb_edge_buffer file = { NULL, 0, 0 };
        lmb_edge_writer *w = lmb_edge_writer_create();
        lmb_edge_gemm g = { .x = lmb_edge_write_input(w, 1, 1, 2, LMB_EDGE_HWC, image, "x"),
                            .y = image,
                            .channels = 1,
                            .weights = k ? low : wide,
                            .weight_scales = &scale,
                            .name = "y",
                            .bits = 4 };
        lmb_edge_write_gemm(w, &g);
        ck_assert_int_eq(lmb_edge_write_finish(w, 0, &file, why, sizeof why), k ? LMB_EDGE_OK : LMB_EDGE_E_ARG);
        ck_assert(k || strstr(why, "it does not fit in 4 bits"));
        lmb_edge_writer_destroy(w);
        free(file.data);
    }
}
END_TEST

LMB_TEST_MAIN("core/edge/narrow", add(known_answers); tcase_add_loop_test(tc_, narrow_runs_as_bytes_do, 2, 8);
              add(false_claims_are_refused); add(bits_behind_the_last_are_zero);
              tcase_add_loop_test(tc_, damage_with_good_checksums, 2, 8);
              add(a_weight_too_wide_is_refused_when_written);)
