/* Mirrors distill/quantize: fewer bits, learned steps, symmetric activations, powers of two, also in two phases.
 * Whatever the scheme, the integers answer as their simulation does, every kernel set alike, and the ONNX file of every
 * profile lowers to the same network. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/onnx/onnx.h"
#include "core/ops/quantize.h"
#include "core/passes/fold.h"
#include "distill/quantize/bits.h"
#include "distill/quantize/integer_form.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/profile.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/qdq.h"
#include "distill/quantize/steps.h"
#include "distill/quantize/unfolded.h"
#include "tests/distill/data_logits.h"
#include "tests/distill/train_on.h"

static lmb_error err;
static lmb_dataset *data;

static const char *const models[] = { "{name: resnet, depth: 8, width: 5, mean: 128, scale: 0.02}",
                                      "{name: mobilenet_v2, width: 0.1, mean: 128, scale: 0.02}",
                                      "{name: lenet, mean: 128, scale: 0.03}" };

static const struct scheme {
    const char *qat, *profiles;
    float tolerance;
    bool unfolded; /* in two phases */
} schemes[] = {
    { "{bits: 4}", "ort-x86 ort-arm int4", 0.06f },
    { "{bits: 3, ends: 8, activation_bits: 4}", "ort-x86 ort-arm tensorrt universal int4", 0.16f },
    { "{bits: 2, ends: 4}", "ort-x86 ort-arm int4 weights7", 0.10f },
    { "{bits: 7, ends: 7}", "ort-x86 ort-arm weights7", 0.06f },
    { "{activations: symmetric}", "ort-x86 ort-arm tensorrt universal", 0.06f },
    { "{scales: power_of_two}", "ort-x86 ort-arm pot", 0.08f },
    { "{scales: power_of_two, activations: symmetric, bits: 7, ends: 7}",
      "ort-x86 ort-arm tensorrt universal pot weights7", 0.08f },
    { "{scheme: learned}", "ort-x86 ort-arm", 0.06f },
    { "{scheme: learned, bits: 4, activation_bits: 4}", "ort-x86 ort-arm tensorrt universal int4", 0.16f },
    { "{scheme: learned, bits: 4, activation_bits: 4, activation_ends: 8}", "ort-x86 ort-arm int4", 0.16f },
    { "{}", "ort-x86 ort-arm", 0.06f, true },
    { "{activations: symmetric, bits: 4, activation_bits: 5}", "ort-x86 ort-arm tensorrt universal int4", 0.16f, true },
    { "{scales: power_of_two}", "ort-x86 ort-arm pot", 0.08f, true },
    { "{bits: 4, activation_bits: 4, activation_ends: 7}", "ort-x86 ort-arm tensorrt universal int4", 0.16f, true },
    { "{scheme: learned}", "ort-x86 ort-arm", 0.06f, true },
};
enum { N_MODELS = 3, N_SCHEMES = sizeof schemes / sizeof *schemes };

static lmb_graph *set_up(const char *model)
{
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 128, classes: 4, height: 16, width: 16, noise: 0.4}", LMB_PART_TRAIN);
    lmb_graph *g = model_of(model, data, 5);
    train_on(data, g, "{epochs: 2, batch: 32, lr: 0.02, threads: 1}");
    return g;
}

static float *integer_logits(const lmb_str *file, const char *kernels)
{
    float *all = malloc(sizeof *all * (size_t)(data->n * data->classes));
    lmb_metrics m;
    ck_ok(lmb_metrics_init(&m, data->classes, &err));
    ck_ok(lmb_deploy_evaluate(file->text, file->n, data, kernels, 1, &m, all, NULL, &err));
    lmb_metrics_deinit(&m);
    return all;
}

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* ONNX Runtime computes a layer in floats if a clamp that bites stands between it and its QuantizeLinear. */
static void check_layers_are_integers(const lmb_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i], *q = NULL;
        int made = is(n, "Relu") || is(n, "Clip") ? g->value[n->in[0]].node : LMB_NONE;
        if (made == LMB_NONE || is(&g->node[made], "DequantizeLinear") || is(&g->node[made], "Relu"))
            continue;
        for (int k = 0; k < g->n_nodes; k++)
            if (g->node[k].in[0] == n->out[0])
                q = &g->node[k];
        const lmb_value *zero = &g->value[q->in[2]];
        ck_assert_msg(is(n, "Relu") && is(q, "QuantizeLinear") &&
                          *(const int8_t *)zero->data == (zero->dtype == LMB_U8 ? 0 : -128),
                      "%s clamps what %s has made", n->name, g->node[made].name);
    }
}

static void check_zero_points(const lmb_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        const lmb_value *zero = n->n_in > 2 && n->in[2] != LMB_NONE ? &g->value[n->in[2]] : NULL;
        if (is(n, "DequantizeLinear") && zero && zero->dtype == LMB_U8)
            ck_assert_int_eq(*(const uint8_t *)zero->data, 128);
        if (is(n, "DequantizeLinear") && zero && zero->dtype == LMB_S8)
            ck_assert_int_eq(*(const int8_t *)zero->data, 0);
    }
}

/* TensorRT's parser refuses a DequantizeLinear of s32. A bias that is no number, or too large, is refused by us. */
static void check_float_biases(lmb_graph *g)
{
    static const float bad[] = { NAN, INFINITY, -3e38f };
    lmb_vid bias = LMB_NONE;

    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        ck_assert_int_ne(g->value[n->in[0]].dtype, LMB_S32);
        if ((is(n, "Conv") || is(n, "Gemm")) && n->n_in > 2) {
            bias = n->in[2];
            ck_assert(g->value[bias].data && g->value[bias].dtype == LMB_F32);
        }
    }
    float *b = malloc(sizeof *b * (size_t)lmb_shape_count(&g->value[bias].shape));
    memcpy(b, g->value[bias].data, sizeof *b * (size_t)lmb_shape_count(&g->value[bias].shape));
    float was = b[0];
    for (int i = 0; i <= LMB_COUNT(bad); i++) { /* the last time as it was */
        lmb_error mine = LMB_ERROR_INIT;
        lmb_str file = LMB_STR_INIT;
        b[0] = i < LMB_COUNT(bad) ? bad[i] : was;
        ck_ok(lmb_graph_set_data(g, bias, b, &err));
        ck_assert_int_eq(lmb_lower(g, &file, &mine), i < LMB_COUNT(bad) ? LMB_E_UNSUPPORTED : LMB_OK);
        ck_assert_msg(i == LMB_COUNT(bad) || strstr(mine.msg, "of channel 0 is no s32 in steps of"), "%s", mine.msg);
        lmb_str_free(&file);
    }
    free(b);
}

/* A file of one profile is for the others that its integers are for, be they written as u8 or s8. */
static void check_again(const lmb_graph *qdq, const lmb_graph *back)
{
    for (int i = 0; lmb_profiles[i]; i++) {
        lmb_error mine = LMB_ERROR_INIT;
        lmb_graph *g = NULL, *again = NULL;
        lmb_status want = lmb_pass_profile(qdq, lmb_profiles[i], &g, &mine);
        lmb_status got = lmb_pass_profile(back, lmb_profiles[i], &again, &mine);
        ck_assert_msg(got == want, "%s: %d, and of the model %d: %s", lmb_profiles[i]->name, got, want, mine.msg);
        for (int k = 0; want == LMB_OK && k < again->n_nodes; k++) {
            const lmb_node *n = &again->node[k];
            if (is(n, "QuantizeLinear"))
                ck_assert_int_eq(again->value[n->out[0]].dtype, lmb_profiles[i]->s8 ? LMB_S8 : LMB_U8);
        }
        lmb_graph_destroy(g);
        lmb_graph_destroy(again);
    }
}

/* Written in each profile and read back: the same answers of the graph, and the same file. Profiles that are not of the
 * scheme refuse. */
static void check_profiles(const lmb_graph *qdq, const lmb_str *file, const char *holds, bool narrow)
{
    float *want = data_logits(data, qdq);
    for (int i = 0; lmb_profiles[i]; i++) {
        const lmb_profile *p = lmb_profiles[i];
        lmb_str onnx = LMB_STR_INIT, again = LMB_STR_INIT;
        lmb_graph *g = NULL, *back;
        const char *at = strstr(holds, p->name);
        if (!at) {
            ck_assert_msg(lmb_pass_profile(qdq, p, &g, &err) == LMB_E_UNSUPPORTED, "%s took it", p->name);
            ck_assert_msg(strstr(err.msg, "quantise with") != NULL, "%s", err.msg);
            err = (lmb_error)LMB_ERROR_INIT;
            continue;
        }
        const lmb_onnx_export_options o = { .strict = true, .int4 = p->int4 };
        ck_ok(lmb_pass_profile(qdq, p, &g, &err));
        ck_ok(lmb_onnx_export(g, &o, &onnx, &err));
        ck_ok(lmb_onnx_import(onnx.text, onnx.n, NULL, &back, &err));
        float *got = data_logits(data, back);
        ck_assert_mem_eq(got, want, sizeof *got * (size_t)(data->n * data->classes));
        if (p->float_bias)
            check_float_biases(back);
        ck_ok(lmb_lower(back, &again, &err));
        check_layers_are_integers(back);
        if (p->symmetric && narrow) { /* its zero points are 128 now: other bytes, which answer the same */
            check_zero_points(back);
            float *ours = integer_logits(file, NULL), *theirs = integer_logits(&again, NULL);
            ck_assert_mem_eq(ours, theirs, sizeof *ours * (size_t)(data->n * data->classes));
            free(ours);
            free(theirs);
        } else {
            ck_assert_uint_eq(again.n, file->n);
            ck_assert_mem_eq(again.text, file->text, file->n);
        }
        check_again(qdq, back);
        free(got);
        lmb_graph_destroy(g);
        lmb_graph_destroy(back);
        lmb_str_free(&onnx);
        lmb_str_free(&again);
    }
    free(want);
}

static void check_powers(const lmb_graph *qdq)
{
    for (int v = 0; v < qdq->n_values; v++)
        for (int i = 0; i < qdq->n_nodes; i++)
            if (strstr(qdq->node[i].op->name, "quantizeLinear") && qdq->node[i].in[1] == v) {
                float s = *(const float *)qdq->value[v].data;
                int n;
                ck_assert_float_eq(frexpf(s, &n), 0.5f);
            }
}

/* What the second phase starts from. */
static lmb_graph *first_phase(const lmb_graph *model, const lmb_ptq_config *p)
{
    lmb_graph *base, *first, *second;

    ck_ok(lmb_unfolded_start(model, p, data, &base, &first, &err));
    train_on(data, first, "{epochs: 1, batch: 32, lr: 0.001, threads: 1}");
    ck_ok(lmb_unfolded_fold(base, first, p->qat, &second, &err));
    lmb_graph_destroy(base);
    lmb_graph_destroy(first);
    return second;
}

START_TEST(integers_answer_as_their_simulation)
{
    const struct scheme *s = &schemes[_i / N_MODELS];
    lmb_graph *model = set_up(models[_i % N_MODELS]), *qat, *frozen, *qdq;
    lmb_config *c = config_of(s->qat);
    lmb_qat_config q;
    lmb_str file = LMB_STR_INIT;
    int64_t count = data->n * data->classes;

    ck_ok(lmb_fields_bind(lmb_qat_fields, lmb_config_root(c), &q, &err));
    const lmb_ptq_config p = { .calibration = 96, .seed = 1, .backend = "cpu", .threads = 1, .qat = &q };
    if (s->unfolded)
        qat = first_phase(model, &p);
    else
        ck_ok(lmb_ptq_start(model, &p, data, &qat, &err));
    train_on(data, qat, "{epochs: 1, batch: 32, lr: 0.001, threads: 1}"); /* gradients through whatever the scheme is made of */
    ck_ok(lmb_pass_qat_freeze(qat, &frozen, &err));
    ck_ok(lmb_pass_qdq(frozen, &qdq, &err));
    ck_ok(lmb_lower(qdq, &file, &err));
    if (q.scales == LMB_QAT_POWER_OF_TWO)
        check_powers(qdq);
    float *simulated = data_logits(data, frozen), *scalar = integer_logits(&file, "scalar"),
          *best = integer_logits(&file, NULL);
    ck_assert_mem_eq(scalar, best, sizeof *scalar * (size_t)count);
    double off = 0, top = 0;
    for (int64_t i = 0; i < count; i++) {
        top = fmax(top, fabs((double)scalar[i]));
        off += fabs((double)scalar[i] - (double)simulated[i]);
    }
    bool chaotic = _i % N_MODELS == 1 &&
                   q.activation_bits < 8; /* 27 layers of 16 steps: what one step flips, the next layers multiply */
    ck_assert_msg(chaotic || off / (double)count <= s->tolerance * top, "%s: %g off on the average, of %g", s->qat,
                  off / (double)count, top);
    check_profiles(qdq, &file, s->profiles, q.activation_bits < 8);
    free(simulated);
    free(scalar);
    free(best);
    lmb_str_free(&file);
    lmb_config_destroy(c);
    lmb_graph_destroy(model);
    lmb_graph_destroy(qat);
    lmb_graph_destroy(frozen);
    lmb_graph_destroy(qdq);
    lmb_dataset_destroy(data);
}
END_TEST

/* Of a resnet's activations what inner convolutions read is narrow: what the first convolution of each block makes, the
 * blocks that only convolutions read, and a second one of what the stem makes, which a sum reads, too; not the operands
 * of sums, the mean, or the answers. */
START_TEST(ends_keep_their_bits)
{
    static const int tops[] = { 127, 15, 15, 127, 15, 15, 127, 127, 15, 15, 127, 127, 127, 127, 127 };
    const lmb_qat_config c = { .momentum = 0.9, .bits = 4, .activation_bits = 4, .activation_ends = 7 };
    const lmb_qat_config one = { .momentum = 0.9, .activation_bits = 4, .activation_ends = 1 };
    lmb_graph *model = set_up(models[0]), *folded, *qat = NULL;
    size_t k = 0;

    ck_ok(lmb_pass_fold(model, &folded, &err));
    ck_ok(lmb_pass_qat(folded, &c, &qat, &err));
    for (int i = 0; i < qat->n_nodes; i++) {
        const lmb_node *n = &qat->node[i];
        const lmb_fake_quant_attr *a = n->attr;
        if (strcmp(n->op->name, "FakeQuant") != 0 || qat->value[n->in[0]].role == LMB_ROLE_PARAMETER)
            continue;
        ck_assert_uint_lt(k, sizeof tops / sizeof *tops);
        ck_assert_msg(a->lo == 0 && a->hi == tops[k], "%s, number %zu, has integers up to %d", n->name, k, (int)a->hi);
        k++;
    }
    ck_assert_uint_eq(k, sizeof tops / sizeof *tops);
    lmb_graph_destroy(qat);
    ck_assert_int_eq(lmb_pass_qat(folded, &one, &qat, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "activation_ends is 1 bit"));
    lmb_graph_destroy(folded);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
}
END_TEST

static size_t deployed_bytes(const lmb_graph *model, const char *scheme)
{
    lmb_config *c = config_of(scheme);
    lmb_qat_config q;
    lmb_graph *frozen, *qdq;
    lmb_str file = LMB_STR_INIT;

    ck_ok(lmb_fields_bind(lmb_qat_fields, lmb_config_root(c), &q, &err));
    const lmb_ptq_config p = { .calibration = 64, .seed = 1, .backend = "cpu", .threads = 1, .qat = &q };
    ck_ok(lmb_ptq(model, &p, data, &frozen, &err));
    ck_ok(lmb_pass_qdq(frozen, &qdq, &err));
    ck_ok(lmb_lower(qdq, &file, &err));
    size_t n = file.n;
    lmb_str_free(&file);
    lmb_graph_destroy(frozen);
    lmb_graph_destroy(qdq);
    lmb_config_destroy(c);
    return n;
}

/* LeNet has 61 kB of weights: half of them less, with 4 bits; a layer alone, by name; what the model says of itself. */
START_TEST(fewer_bits_are_a_smaller_file)
{
    lmb_graph *model = set_up(models[2]), *back;
    lmb_str onnx = LMB_STR_INIT;
    size_t eight = deployed_bytes(model, "{}"), four = deployed_bytes(model, "{bits: 4, ends: 4}"), one;
    int big = -1;

    for (int v = 0; v < model->n_values; v++)
        if (model->value[v].role == LMB_ROLE_PARAMETER && model->value[v].shape.n > 1 &&
            (big < 0 || lmb_shape_count(&model->value[v].shape) > lmb_shape_count(&model->value[big].shape)))
            big = v;
    size_t weights = (size_t)lmb_shape_count(&model->value[big].shape);
    char text[200];
    snprintf(text, sizeof text, "{layers: {%s: 4}}", model->value[big].name);
    one = deployed_bytes(model, text);
    ck_assert_uint_lt(one, eight - weights / 2 + 128); /* sections begin at multiples of 64 */
    ck_assert_uint_gt(one, eight - weights / 2 - 128);
    ck_assert_uint_lt(four, one);
    model->value[big].bits = 4; /* said by the model, and kept in its file */
    ck_assert_uint_eq(deployed_bytes(model, "{}"), one);
    ck_ok(lmb_onnx_export(model, NULL, &onnx, &err));
    ck_ok(lmb_onnx_import(onnx.text, onnx.n, NULL, &back, &err));
    ck_assert_uint_eq(deployed_bytes(back, "{}"), one);
    lmb_str_free(&onnx);
    lmb_graph_destroy(back);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
}
END_TEST

/* What the bits of the parts are that `weight` has become in `form`; 0: not all the same. */
static int bits_of_parts(const lmb_graph *form, const char *scheme, const char *weight, int *parts)
{
    lmb_config *c = config_of(scheme);
    int *bits = malloc(sizeof *bits * (size_t)form->n_nodes), all = -1;
    lmb_qat_config q;

    *parts = 0;
    ck_ok(lmb_fields_bind(lmb_qat_fields, lmb_config_root(c), &q, &err));
    ck_ok(lmb_bits_resolve(form, &q, bits, &err));
    for (int i = 0; i < form->n_nodes; i++)
        if (bits[i] && strncmp(form->value[form->node[i].in[1]].name, weight, strlen(weight)) == 0) {
            all = all == -1 || all == bits[i] ? bits[i] : 0;
            ++*parts;
        }
    free(bits);
    lmb_config_destroy(c);
    return all;
}

/* Behind a Concat a layer becomes one for each part: its name means them all, in `layers` and as one of the ends. */
START_TEST(a_name_reaches_what_it_was_rewritten_into)
{
    static const struct {
        const char *scheme, *weight;
        int bits;
    } rows[] = {
        { "{layers: {conv3.conv.weight: 2}}", "conv3.", 2 },
        { "{layers: {conv3: 3}}", "conv3.", 3 },
        { "{layers: {conv3.conv.weight: 2, conv3: 5}}", "conv3.", 2 }, /* the longer name, wherever it stands */
        { "{layers: {conv3: 5, conv3.conv.weight: 2}}", "conv3.", 2 },
        { "{layers: {conv3.conv.weight.part1: 2}}", "conv3.", 0 },
        { "{bits: 3, ends: 6}", "conv3.", 3 },
        { "{bits: 3, ends: 6}", "conv5.", 6 },
        { "{bits: 3, ends: 6}", "conv1.", 6 },
    };
    lmb_graph *form,
        *model = set_up("{name: layers, mean: 128, scale: 0.02, layers: [{conv: {channels: 6}}, "
                        "{concat: {branches: [[{conv: {channels: 3}}], [{conv: {channels: 4}}]]}}, "
                        "{conv: {channels: 5}}, "
                        "{concat: {branches: [[{conv: {channels: 3}}], [{conv: {channels: 2}}]]}}, "
                        "{conv: {channels: 4}}, {pool: global}, flatten]}");
    ck_ok(lmb_pass_integer_form(model, &form, &err));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int parts, bits = bits_of_parts(form, rows[i].scheme, rows[i].weight, &parts);
        ck_assert_msg(bits == rows[i].bits && parts == 1 + (rows[i].weight[4] != '1'), "%s: %d bits, %d parts",
                      rows[i].scheme, bits, parts);
    }
    lmb_config *c = config_of("{layers: {conv3.con.weight: 2}}");
    lmb_qat_config q;
    lmb_graph *qat;
    ck_ok(lmb_fields_bind(lmb_qat_fields, lmb_config_root(c), &q, &err));
    ck_assert_int_eq(lmb_pass_qat(form, &q, &qat, &err), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "did you mean conv3.conv.weight?") != NULL, "%s", err.msg);
    lmb_config_destroy(c);
    lmb_graph_destroy(form);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
}
END_TEST

START_TEST(bad_requests_are_refused)
{
    static const struct {
        const char *qat, *sentence;
    } bad[] = {
        { "{layers: {conv9.weight: 4}}", "is no layer's weight" },
        { "{layers: [4]}", "must be a mapping" },
        { "{scheme: learned, scales: power_of_two}", "exclude each other" },
    };
    lmb_graph *model = set_up(models[0]), *folded, *qat;
    ck_ok(lmb_pass_fold(model, &folded, &err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lmb_config *c = config_of(bad[i].qat);
        lmb_qat_config q;
        ck_ok(lmb_fields_bind(lmb_qat_fields, lmb_config_root(c), &q, &err));
        ck_assert_int_eq(lmb_pass_qat(folded, &q, &qat, &err), LMB_E_ARG);
        ck_assert_msg(strstr(err.msg, bad[i].sentence) != NULL, "%s", err.msg);
        err = (lmb_error)LMB_ERROR_INIT;
        lmb_config_destroy(c);
    }
    const lmb_profile *p;
    ck_assert_int_eq(lmb_profile_find("tensort", &p, &err), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "did you mean tensorrt?") != NULL, "%s", err.msg);
    lmb_graph_destroy(model);
    lmb_graph_destroy(folded);
    lmb_dataset_destroy(data);
}
END_TEST

START_TEST(powers_are_rounded_up)
{
    const float in[] = { 0.5f, 0.51f, 1.0f, 0.0039215689f, 3e-8f, 100 },
                want[] = { 0.5f, 1, 1, 0.00390625f * 2, 0x1p-24f, 128 };
    for (int i = 0; i < 6; i++)
        ck_assert_float_eq(lmb_power_of_two(in[i]), want[i]);
    ck_assert(lmb_bits_top(8) == 127 && lmb_bits_top(7) == 63 && lmb_bits_top(4) == 7 && lmb_bits_top(2) == 1);
}
END_TEST

LMB_TEST_MAIN("distill/schemes", add_loop(integers_answer_as_their_simulation, N_MODELS *N_SCHEMES);
              add(ends_keep_their_bits); add(fewer_bits_are_a_smaller_file);
              add(a_name_reaches_what_it_was_rewritten_into);
              add(bad_requests_are_refused); add(powers_are_rounded_up);)
