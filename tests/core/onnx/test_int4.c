/* Mirrors core/onnx/int4.c: what is written is opset 21 and half as large, what is read is the same s8, and INT4
 * anywhere else is refused. */
#include <string.h>

#include "core/graph/op.h"
#include "core/onnx/onnx.h"
#include "tests/check_main.h"

static lmb_error err;

/* y = Gemm(x, dequantised w' [3, 5]) with odd rows of weights; `wide` is one that needs 8 bits. */
static lmb_graph *model(int wide)
{
    static const int8_t zeros[3] = { 0, 0, 0 };
    const float scale[3] = { 0.1f, 0.2f, 0.3f };
    int8_t w[15];
    lmb_graph *g;

    err = (lmb_error)LMB_ERROR_INIT;
    for (int i = 0; i < 15; i++)
        w[i] = (int8_t)(i - 8); /* -8 .. 6 */
    w[14] = (int8_t)wide;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 5), NULL);
    lmb_vid q = lmb_emit_value(&b, LMB_ROLE_CONSTANT, "w_q", LMB_S8, LMB_SHAPE(3, 5), w),
            s = lmb_emit_value(&b, LMB_ROLE_CONSTANT, "w_s", LMB_F32, LMB_SHAPE(3), scale);
    lmb_vid z = lmb_emit_value(&b, LMB_ROLE_CONSTANT, "w_z", LMB_S8, LMB_SHAPE(3), zeros);
    lmb_vid d = lmb_emit(&b, "DequantizeLinear", "d_q", LMB_IN(q, s, z), LMB_ATTRS(LMB_AINT("axis", 0)));
    lmb_emit_output(&b, "y", lmb_emit(&b, "Gemm", "g", LMB_IN(x, d), LMB_ATTRS(LMB_AINT("transB", 1))));
    ck_ok(lmb_builder_status(&b));
    return g;
}

static lmb_str file_of(const lmb_graph *g, bool int4)
{
    const lmb_onnx_export_options o = { .strict = true, .int4 = int4 };
    lmb_str s = LMB_STR_INIT;
    ck_ok(lmb_onnx_export(g, &o, &s, &err));
    return s;
}

/* TensorProto by hand: 15 numbers in 8 bytes, -8 in the low half of the first (8), -7 in the high one (9). */
static const uint8_t packed[8] = { 0x98, 0xba, 0xdc, 0xfe, 0x10, 0x32, 0x54, 0x07 };

START_TEST(there_and_back)
{
    lmb_graph *g = model(7), *back;
    lmb_str file = file_of(g, true), plain = file_of(g, false);
    lmb_onnx_info *info;
    int found = 0;

    ck_ok(lmb_onnx_describe(file.text, file.n, &info, &err));
    ck_assert(info->opset == 21 && info->ir_version == 10);
    lmb_onnx_info_destroy(info);
    ck_ok(lmb_onnx_describe(plain.text, plain.n, &info, &err));
    ck_assert(info->opset == 13 && info->ir_version == 7);
    lmb_onnx_info_destroy(info);
    ck_assert_ptr_nonnull(memmem(file.text, file.n, packed, sizeof packed));
    ck_assert_ptr_null(memmem(plain.text, plain.n, packed, sizeof packed));
    ck_ok(lmb_onnx_import(file.text, file.n, NULL, &back, &err));
    for (int v = 0; v < back->n_values; v++)
        if (strcmp(back->value[v].name, "w_q") == 0) {
            found++;
            ck_assert_int_eq(back->value[v].dtype, LMB_S8);
            for (int i = 0; i < 15; i++)
                ck_assert_int_eq(((const int8_t *)back->value[v].data)[i], i < 14 ? i - 8 : 7);
        }
    ck_assert_int_eq(found, 1);
    lmb_str_free(&file);
    lmb_str_free(&plain);
    lmb_graph_destroy(g);
    lmb_graph_destroy(back);
}
END_TEST

START_TEST(a_wider_weight_stays_a_byte)
{
    lmb_graph *g = model(8), *back;
    lmb_str file = file_of(g, true);
    ck_assert_ptr_null(memmem(file.text, file.n, packed, 7));
    ck_ok(lmb_onnx_import(file.text, file.n, NULL, &back, &err));
    lmb_str_free(&file);
    lmb_graph_destroy(g);
    lmb_graph_destroy(back);
}
END_TEST

/* The Gemm is made to read the INT4 itself, in the bytes of the file: its input d_q becomes w_q. */
START_TEST(other_readers_are_refused)
{
    lmb_graph *g = model(7), *back;
    lmb_str file = file_of(g, true);
    char *at = memmem(file.text, file.n,
                      "\x0a\x03"
                      "d_q",
                      5);
    ck_assert_ptr_nonnull(at);
    at[2] = 'w';
    ck_assert_int_eq(lmb_onnx_import(file.text, file.n, NULL, &back, &err), LMB_E_UNSUPPORTED);
    ck_assert_msg(strstr(err.msg, "only a DequantizeLinear may") != NULL, "%s", err.msg);
    lmb_str_free(&file);
    lmb_graph_destroy(g);
}
END_TEST

/* Every byte of the file changed, one at a time: refused, or another sound model. */
START_TEST(damage_does_no_harm)
{
    lmb_graph *g = model(7), *back;
    lmb_str file = file_of(g, true);
    for (size_t i = 0; i < file.n; i++) {
        char was = file.text[i];
        file.text[i] = (char)(was ^ (1 << i % 8));
        err = (lmb_error)LMB_ERROR_INIT;
        if (lmb_onnx_import(file.text, file.n, NULL, &back, &err) == LMB_OK)
            lmb_graph_destroy(back);
        file.text[i] = was;
    }
    lmb_str_free(&file);
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("core/onnx/int4", add(there_and_back); add(a_wider_weight_stays_a_byte); add(other_readers_are_refused);
              add(damage_does_no_harm);)
