/* tests/core/edge/test_c_source.c - a C export compiles without a warning and gives the bytes of the runtime; its own
 * rounding and fused multiply-add are those of libm. */
#include "core/edge/c_source.h"

#include <math.h>

#include "core/base/random.h"
#include "core/edge/c_kernels.h"
#include "tests/core/edge/c_compile.h"
#include "tests/core/edge/network.h"
#include "tests/temp_dir.h"

static char dir[256], why[200];

static void setup(void) { temp_make(dir, sizeof dir); }
static void teardown(void) { temp_remove(dir); }

/* The whole network with every kind of op, by compilers that may contract or not; weights of 8 and of 4 bits. */
START_TEST(every_kind_of_op)
{
    static const char *const flags[] = { "-O1", "-O3 -ffp-contract=fast -march=native", "-O0" };
    lmb_edge_buffer file = { NULL, 0, 0 };
    lmb_edge_model m;
    ck_assert_msg(small_network_of(_i < 3 ? 8 : 4, 1, &file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    c_agrees(&m, dir, "small", flags[_i % 3], 200);
    free(file.data);
}
END_TEST

/* Outputs of u8, in planes and in pixels; an input that is read where it lies; one whose memory an op takes over. */
START_TEST(layouts)
{
    const lmb_edge_quant q = { 0.05f, 100, 0, 255 }, r = { 0.07f, 90, 20, 240 };
    lmb_edge_layout in = _i & 1 ? LMB_EDGE_CHW : LMB_EDGE_HWC, out = _i & 2 ? LMB_EDGE_CHW : LMB_EDGE_HWC;
    lmb_edge_buffer file = { NULL, 0, 0 };
    lmb_edge_writer *w = lmb_edge_writer_create();
    lmb_edge_model m;
    int x = lmb_edge_write_input(w, 3, 4, 5, in, q, "x");
    int y = lmb_edge_write_add(w, x, lmb_edge_write_requantise(w, x, r, "requantised"), r, "*/ sum /*");
    if (_i & 4)
        lmb_edge_write_dequantise(w, y, "floats");
    lmb_edge_write_output_layout(w, out);
    ck_assert_msg(lmb_edge_write_finish(w, 0, &file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    c_agrees(&m, dir, "layout", "-O2", 50);
    lmb_edge_writer_destroy(w);
    free(file.data);
}
END_TEST

/* The self test tells an export that answers otherwise: here one bias of the last layer is another. */
START_TEST(self_test_sees_another_answer)
{
    lmb_edge_buffer file = { NULL, 0, 0 }, test = { NULL, 0, 0 };
    lmb_edge_model m;
    ck_assert_msg(small_network(&file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_write_c_test(&m, "small", &test, why, sizeof why), LMB_EDGE_OK);
    lmb_edge_op last;
    lmb_edge_op_at(&m, m.n_ops - 2, &last);
    ck_assert_int_eq(last.kind, LMB_EDGE_GEMM);
    file.data[last.constants - file.data + 4 * 3 + 1] ^= 0x40; /* of output 3, by 16,384 */
    c_write_model(&m, dir, "small");
    c_write(dir, "small_test", "c", test.data, test.size); /* what was right before */
    void *library = c_compile(dir, "small", "-O1");
    ck_assert_int_eq(c_self_tested(library, "small"), 1);
    ck_assert_int_eq(lmb_edge_write_c_test(&m, "2nd", &test, why, sizeof why), LMB_EDGE_E_ARG);
    dlclose(library);
    free(test.data);
    free(file.data);
}
END_TEST

static void *compile_arithmetic(void)
{
    static const char tail[] = "float try_fused(int32_t q, float r, float z);\nfloat try_fused(int32_t q, float r, "
                               "float z) { return fused(q, r, z); }\n"
                               "int try_nearest(float v);\nint try_nearest(float v) { return (int)nearest(v); }\n"
                               "void *keep(void);\nvoid *keep(void) { return (void *)(size_t)(sizeof add); }\n";
    const char *begin = "#include <stdint.h>\n#include <string.h>\n#undef __FP_FAST_FMAF\n";
    size_t n = strlen(begin);
    char *all = calloc(1, 1 << 16);
    ck_assert_ptr_nonnull(all);
    memcpy(all, begin, n);
    for (const lmbi_c_row *row = lmbi_c_rows; row->text; row++)
        if (row->needed_by & LMBI_C_ADD) {
            memcpy(all + n, row->text, strlen(row->text));
            n += strlen(row->text);
        }
    memcpy(all + n, tail, sizeof tail);
    c_write(dir, "arithmetic", "c", all, strlen(all));
    free(all);
    return c_compile(dir, "arithmetic", "-O2 -Wno-unused-function -Wno-pedantic");
}

/* Sums that lie halfway between two floats but for less than binary64 can tell: q * m is half a step of z, as nearly as
 * a product of that q can be. There, rounding twice goes wrong. Both rows against libm. */
START_TEST(arithmetic_is_that_of_libm)
{
    void *library = compile_arithmetic(), *f = c_symbol(library, "try_fused"), *g = c_symbol(library, "try_nearest");
    float (*fused)(int32_t, float, float);
    int (*nearest)(float);
    int hard = 0;
    memcpy(&fused, &f, sizeof fused);
    memcpy(&nearest, &g, sizeof nearest);
    lmb_rand r = lmb_rand_at(5, LMB_RAND_TEST, 0, 0);
    for (uint32_t i = 0; i < 300000; i++) {
        int32_t q = (int32_t)(i % 256);
        float m = i & 256 && q ? ldexpf(rintf(ldexpf(1, 31) / (float)q), -55)
                               : ldexpf((float)(0x800000 | (lmb_rand_u32(&r, 3 * i) & 0x7fffff)), -30 - (int)(i % 7));
        float z = ldexpf((float)(0x800000 | (lmb_rand_u32(&r, 3 * i + 1) & 0x7fffff)), -23);
        z = i & 512 ? -z : z;
        float want = fmaf((float)q, m, z), got = fused(q, m, z), twice = (float)((double)q * (double)m + (double)z);
        ck_assert_msg(memcmp(&want, &got, sizeof want) == 0, "%d * %a + %a = %a, not %a", q, (double)m, (double)z,
                      (double)want, (double)got);
        hard += memcmp(&want, &twice, sizeof want) != 0;
        float v = ldexpf((float)(lmb_rand_u32(&r, 3 * i + 2) & 0xffffff), -14 - (int)(i % 13));
        v = (i & 1 ? -1.0f : 1.0f) * (i % 5 ? v : floorf(v) + 0.5f);
        ck_assert_int_eq(nearest(v), v < -1024 ? -1024 : v > 1024 ? 1024 : (int)lrintf(v));
    }
    ck_assert_int_gt(hard, 0); /* or the correction was never tried */
    dlclose(library);
}
END_TEST

START_TEST(bad_names_are_refused)
{
    static const char *const bad[] = {
        "", "9lives", "two words", "a-b", "_x", "caf\xc3\xa9", "a234567890123456789012345678901234567890123456789"
    };
    lmb_edge_buffer file = { NULL, 0, 0 }, source = { NULL, 0, 0 }, header = { NULL, 0, 0 };
    lmb_edge_model m;
    ck_assert_msg(small_network(&file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_int_eq(lmb_edge_write_c(&m, bad[i], &source, &header, why, sizeof why), LMB_EDGE_E_ARG);
        ck_assert_ptr_nonnull(strstr(why, "is no prefix of C names"));
    }
    ck_assert(source.size == 0 && header.size == 0);
    free(file.data);
}
END_TEST

static void skip_without_compiler(void)
{
    if (!have_compiler()) {
        printf("skipped: no cc on this machine\n");
        exit(0);
    }
}

LMB_TEST_MAIN("core/edge/c_source", skip_without_compiler(); tcase_add_checked_fixture(tc_, setup, teardown);
              add_loop(every_kind_of_op, 6); add_loop(layouts, 8); add(self_test_sees_another_answer);
              add(arithmetic_is_that_of_libm); add(bad_names_are_refused);)
