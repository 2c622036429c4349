/* Mirrors core/edge/pack.c and unpack.c: the plain file comes back to the byte, sparse and narrow weights take about
 * their entropy, and hostile bytes are refused. */
#include "core/edge/packed.h"

#include <math.h>
#include <string.h>

#include "core/base/random.h"
#include "core/edge/monitor.h"
#include "tests/check_main.h"
#include "tests/core/edge/hostile.h"
#include "tests/core/edge/network.h"

static char why[200];

static void ck_edge(lmb_edge_status s) { ck_assert_msg(s == LMB_EDGE_OK, "%d: %s", (int)s, why); }

/* A gemm of `rows` x 64 weights. */
static lmb_edge_buffer gemm_file(const int8_t *weights, uint32_t rows)
{
    lmb_edge_buffer file = { NULL, 0, 0 };
    lmb_edge_writer *w = lmb_edge_writer_create();
    const lmb_edge_quant q = { 0.02f, 120, 0, 255 };
    float *scales = malloc(sizeof *scales * rows);
    for (uint32_t i = 0; i < rows; i++)
        scales[i] = 0.01f;
    lmb_edge_gemm op = { lmb_edge_write_input(w, 1, 1, 64, LMB_EDGE_HWC, q, "x"), q, rows, weights, scales, NULL, "y" };
    lmb_edge_write_dequantise(w, lmb_edge_write_gemm(w, &op), "scores");
    ck_edge(lmb_edge_write_finish(w, 0, &file, why, sizeof why));
    lmb_edge_writer_destroy(w);
    free(scales);
    return file;
}

static lmb_edge_buffer packed_of(const lmb_edge_buffer *file, size_t signature)
{
    lmb_edge_buffer out = { NULL, 0, 0 };
    ck_edge(lmb_edge_pack(file->data, file->size, signature, &out, why, sizeof why));
    return out;
}

/* In blocks of exactly the size, so that a sanitizer sees a byte too far. */
static lmb_edge_status unpack_exactly(const uint8_t *file, size_t n, uint8_t **out, size_t *bytes)
{
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, file, n);
    *out = NULL;
    *bytes = 0;
    lmb_edge_status s = lmb_edge_unpacked_bytes(copy, n, bytes, why, sizeof why);
    if (s == LMB_EDGE_OK && *bytes && *bytes <= 1 << 22) {
        *out = malloc(*bytes);
        s = lmb_edge_unpack(copy, n, *out, *bytes, why, sizeof why);
    }
    free(copy);
    return s;
}

START_TEST(the_plain_file_comes_back)
{
    lmb_edge_buffer file = { NULL, 0, 0 };
    size_t bytes, plain, signature_bytes;
    const uint8_t *signature;
    uint8_t *back;

    ck_edge(small_network(&file, why, sizeof why));
    ck_edge(lmb_edge_unpacked_bytes(file.data, file.size, &bytes, why, sizeof why));
    ck_assert_uint_eq(bytes, 0);
    lmb_edge_buffer packed = packed_of(&file, 64);
    ck_edge(lmb_edge_signature(packed.data, packed.size, &plain, &signature, &signature_bytes, why, sizeof why));
    ck_assert_uint_eq(signature_bytes, 64);
    ck_edge(unpack_exactly(packed.data, packed.size, &back, &bytes));
    ck_edge(lmb_edge_signature(back, bytes, &plain, &signature, &signature_bytes, why, sizeof why));
    ck_assert_ptr_null(signature);
    ck_assert(try_file(back, bytes));

    lmb_edge_model a, b;
    ck_edge(lmb_edge_open(file.data, file.size, &a, why, sizeof why));
    ck_edge(lmb_edge_open(back, bytes, &b, why, sizeof why));
    ck_assert_uint_eq(a.weights_bytes, b.weights_bytes);
    ck_assert_mem_eq(a.weights, b.weights, a.weights_bytes);
    ck_assert_mem_eq(a.constants, b.constants, a.constants_bytes);
    ck_assert_mem_eq(a.ops, b.ops, (size_t)a.n_ops * LMBI_EDGE_OP);
    ck_assert_int_eq(lmb_edge_open(packed.data, packed.size, &b, why, sizeof why), LMB_EDGE_E_FORMAT);
    ck_assert_msg(strstr(why, "packed") != NULL, "%s", why);

    lmb_edge_buffer again = { NULL, 0, 0 }; /* an unsigned file, packed and unpacked, is itself */
    packed.size = 0;
    ck_edge(lmb_edge_pack(back, bytes, 0, &packed, why, sizeof why));
    ck_edge(unpack_exactly(packed.data, packed.size, &again.data, &again.size));
    ck_assert_uint_eq(again.size, bytes);
    ck_assert_mem_eq(again.data, back, bytes);
    ck_assert_int_eq(lmb_edge_pack(packed.data, packed.size, 0, &again, why, sizeof why), LMB_EDGE_E_ARG);
    free(again.data);
    free(back);
    free(packed.data);
    free(file.data);
}
END_TEST

/* Every value of s8, long runs of zeros and of FF in the code's carry. */
START_TEST(any_weights_come_back)
{
    enum { ROWS = 64 };
    int8_t *w = malloc(ROWS * 64);
    lmb_rand r = lmb_rand_at((uint64_t)_i, LMB_RAND_TEST, 0, 0);
    for (uint32_t i = 0; i < ROWS * 64; i++) {
        uint32_t u = (uint32_t)(lmb_rand_uniform(&r, i) * 16777216.0f);
        w[i] = (int8_t)(_i == 0                  ? 0
                        : _i == 1                ? -128
                        : _i == 2                ? (int)(i & 255) - 128
                        : u % (uint32_t)(2 * _i) ? 0
                                                 : (int)(u >> 16 & 255) - 128);
    }
    lmb_edge_buffer file = gemm_file(w, ROWS), packed = packed_of(&file, 0);
    uint8_t *back;
    size_t bytes;
    ck_edge(unpack_exactly(packed.data, packed.size, &back, &bytes));
    ck_assert_uint_eq(bytes, file.size);
    ck_assert_mem_eq(back, file.data, bytes);
    free(w);
    free(back);
    free(file.data);
    free(packed.data);
}
END_TEST

/* Narrow weights are coded as their numbers: the file comes back with its bits, and a code of the same numbers in bytes
 * is no smaller than by what the list of runs takes. */
START_TEST(narrow_weights_come_back)
{
    lmb_edge_buffer file = { NULL, 0, 0 }, bytes = { NULL, 0, 0 };
    lmb_edge_model a, b;
    uint8_t *back;
    size_t n;
    ck_edge(small_network_of(_i, 1, &file, why, sizeof why));
    ck_edge(small_network_of(_i, 0, &bytes, why, sizeof why));
    lmb_edge_buffer packed = packed_of(&file, 0), whole = packed_of(&bytes, 0);
    ck_assert_msg(packed.size <= whole.size + 64, "%zu, of bytes %zu", packed.size, whole.size);
    ck_edge(unpack_exactly(packed.data, packed.size, &back, &n));
    ck_edge(lmb_edge_open(file.data, file.size, &a, why, sizeof why));
    ck_edge(lmb_edge_open(back, n, &b, why, sizeof why));
    ck_assert_uint_eq(a.weights_bytes, b.weights_bytes);
    ck_assert_mem_eq(a.weights, b.weights, a.weights_bytes);
    ck_assert_mem_eq(a.ops, b.ops, (size_t)a.n_ops * LMBI_EDGE_OP);
    ck_assert_uint_eq(lmb_monitor_model(&a), lmb_monitor_model(&b));
    free(back);
    free(whole.data);
    free(packed.data);
    free(bytes.data);
    free(file.data);
}
END_TEST

/* A share of weights other than zero, of 14 values each as likely: H(share) + share log2(14) bits a weight, with 3 %
 * for what has to be learned. A bitmap and a nibble each take more, from a tenth on. */
START_TEST(sparse_weights_take_their_entropy)
{
    enum { ROWS = 2048, N = ROWS * 64 };
    const double shares[] = { 0.05, 0.1, 0.25 };
    double share = shares[_i];
    int8_t *w = malloc(N);
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, 0, 0);
    int kept = 0;
    for (uint32_t i = 0; i < N; i++) {
        float u = lmb_rand_uniform(&r, 2 * i), v = lmb_rand_uniform(&r, 2 * i + 1);
        int q = (int)(v * 14);
        w[i] = (int8_t)(u < share ? (q < 7 ? q - 7 : q - 6) : 0);
        kept += w[i] != 0;
    }
    lmb_edge_buffer file = gemm_file(w, ROWS), packed = packed_of(&file, 0);
    double p = (double)kept / N, bits = -p * log2(p) - (1 - p) * log2(1 - p) + p * log2(14);
    double rest = (double)file.size - N, got = (double)packed.size - rest, least = bits * N / 8;
    ck_assert_msg(got < 1.03 * least + 200, "share %g: %g bytes of code, entropy %g", share, got, least);
    ck_assert_msg(got < N / 8.0 + kept * 0.5, "share %g: %g bytes of code, bitmap and nibbles %g", share, got,
                  N / 8.0 + kept * 0.5);
    free(w);
    free(file.data);
    free(packed.data);
}
END_TEST

START_TEST(every_truncation_and_flip_is_refused)
{
    lmb_edge_buffer file = { NULL, 0, 0 };
    uint8_t *back;
    size_t bytes;
    ck_edge(small_network_of(_i ? 4 : 8, _i, &file, why, sizeof why));
    lmb_edge_buffer packed = packed_of(&file, 0);
    for (size_t n = 0; n < packed.size; n += n < 400 ? 1 : 37) {
        ck_assert_int_ne(unpack_exactly(packed.data, n, &back, &bytes), LMB_EDGE_OK);
        free(back);
    }
    for (size_t i = 0; i < packed.size;
         i += i < 400 ? 1 : 29) { /* with good checksums: only what is not code may pass */
        packed.data[i] ^= (uint8_t)(1 << i % 8);
        uint8_t *copy = malloc(packed.size);
        memcpy(copy, packed.data, packed.size);
        reseal(copy, packed.size);
        if (unpack_exactly(copy, packed.size, &back, &bytes) == LMB_EDGE_OK && bytes)
            try_file(back, bytes);
        free(back);
        free(copy);
        packed.data[i] ^= (uint8_t)(1 << i % 8);
    }
    free(packed.data);
    free(file.data);
}
END_TEST

/* Where WTSC lies in a packed file. */
static uint8_t *coded_of(lmb_edge_buffer *packed)
{
    for (uint32_t i = 0; i < lmbi_edge_u32(packed->data + 24); i++) {
        uint8_t *entry = packed->data + LMBI_EDGE_HEADER + (size_t)i * LMBI_EDGE_SECTION;
        if (lmbi_edge_u32(entry) == LMBI_EDGE_TYPE('W', 'T', 'S', 'C'))
            return packed->data + lmbi_edge_u64(entry + 8);
    }
    ck_abort_msg("no WTSC");
    return NULL;
}

START_TEST(false_claims_are_refused)
{
    static const struct { int at; uint8_t value; lmb_edge_status want; const char *word; } claims[] = {
        { 0, 3, LMB_EDGE_E_VERSION, "coding 3" },        /* another coding */
        { 4, 77, LMB_EDGE_E_FORMAT, "not those" },       /* the CRC of other weights */
        { 12, 1, LMB_EDGE_E_FORMAT, "1..1073741824" },   /* 4 GB and more */
        { 9, 0xF0, LMB_EDGE_E_FORMAT, "end early" },     /* more weights than there is code */
        { 9, 0, LMB_EDGE_E_FORMAT, "end late" },         /* fewer */
        { 16, 1, LMB_EDGE_E_FORMAT, "end late" },        /* a code that cannot begin so */
    };
    lmb_edge_buffer file = { NULL, 0, 0 };
    uint8_t *back;
    size_t bytes;
    ck_edge(small_network(&file, why, sizeof why));
    lmb_edge_buffer packed = packed_of(&file, 0);
    uint8_t *coded = coded_of(&packed), was = coded[claims[_i].at];
    coded[claims[_i].at] = claims[_i].value;
    ck_assert_int_ne(was, claims[_i].value);
    reseal(packed.data, packed.size);
    ck_assert_int_eq(unpack_exactly(packed.data, packed.size, &back, &bytes), claims[_i].want);
    ck_assert_msg(strstr(why, claims[_i].word) != NULL, "%s", why);
    free(back);
    free(packed.data);
    free(file.data);
}
END_TEST

/* The list of runs: their number, weights and bits of the first, bits of the last. */
START_TEST(false_runs_are_refused)
{
    static const struct { int at; uint32_t value; const char *word; } claims[] = {
        { 16, 0, "0 runs" },          { 16, 2050, "2050 runs" }, { 16, 1, "the runs of WTSC have" },
        { 16, UINT32_MAX, "runs of" }, { 20, 0, "0 weights" },    { 20, UINT32_MAX, "the runs of WTSC have" },
        { 24, 1, "of 1 bits" },       { 24, 9, "of 9 bits" },    { 24, 8, "the runs of WTSC have" },
    };
    lmb_edge_buffer file = { NULL, 0, 0 };
    uint8_t *back;
    size_t bytes;
    ck_edge(small_network_of(5, 1, &file, why, sizeof why));
    lmb_edge_buffer packed = packed_of(&file, 0);
    uint8_t *coded = coded_of(&packed);
    ck_assert_uint_eq(lmbi_edge_u32(coded), 2);
    for (int i = 0; i < 4; i++)
        coded[claims[_i].at + i] = (uint8_t)(claims[_i].value >> 8 * i);
    reseal(packed.data, packed.size);
    ck_assert_int_eq(unpack_exactly(packed.data, packed.size, &back, &bytes), LMB_EDGE_E_FORMAT);
    ck_assert_msg(strstr(why, claims[_i].word) != NULL, "%s", why);
    free(back);
    free(packed.data);
    free(file.data);
}
END_TEST

LMB_TEST_MAIN("core/edge/packed", add(the_plain_file_comes_back); add_loop(any_weights_come_back, 9);
              tcase_add_loop_test(tc_, narrow_weights_come_back, 2, 8);
              add_loop(sparse_weights_take_their_entropy, 3); add_loop(every_truncation_and_flip_is_refused, 2);
              add_loop(false_claims_are_refused, 6); add_loop(false_runs_are_refused, 9);)
