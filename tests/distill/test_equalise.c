/* Mirrors distill/quantize/{equalise,bias}.c and the entropy observer: the function stays and channels become alike;
 * biases take back exactly what rounding shifts; ranges as another program has them. */
#include "distill/quantize/equalise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/cpu.h"
#include "core/ops/conv.h"
#include "core/passes/fold.h"
#include "distill/lowrank/lowrank.h"
#include "distill/quantize/bias.h"
#include "distill/quantize/observer.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/predictor.h"

static lmb_error err;
static lmb_dataset *data;

static lmb_graph *folded_model(const char *text)
{
    lmb_graph *g, *folded;
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 64, classes: 4, height: 12, width: 12, noise: 0.4}", LMB_PART_TRAIN);
    g = model_of(text, data, 5);
    ck_ok(lmb_pass_fold(g, &folded, &err));
    lmb_graph_destroy(g);
    return folded;
}

static void logits_of(const lmb_graph *g, float *out)
{
    const lmb_backend *backends[3];
    uint8_t raw[144];
    float x[144];
    const float *y;
    lmb_predictor *p;
    int32_t label;

    ck_ok(lmb_cpu_backends("reference", backends, &err));
    ck_ok(lmb_predictor_create(g, NULL, backends, 1, &p, &err));
    for (int64_t i = 0; i < data->n; i++) {
        ck_ok(data->read(data, i, raw, &label, &err));
        for (int k = 0; k < 144; k++)
            x[k] = raw[k];
        ck_ok(lmb_predictor_run(p, x, 1, &y, &err));
        memcpy(out + i * data->classes, y, sizeof *y * (size_t)data->classes);
    }
    lmb_predictor_destroy(p);
}

static double largest(const float *w, int64_t first, int64_t n, int64_t step)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)w[first + i * step]));
    return most;
}

/* A convolution whose channels differ by up to a thousand times, then back to order. */
START_TEST(the_function_stays)
{
    static const struct {
        const char *model;
        int pairs;
    } cases[] = {
        { "{name: vgg, channels: [6, 0, 9, 7], mean: 100, scale: 0.02}",
          3 }, /* the head reads a mean of each channel */
        { "{name: mobilenet_v1, width: 0.1, activation: relu, mean: 100, scale: 0.02}", 27 },
        { "{name: resnet, depth: 8, width: 4, mean: 100, scale: 0.02}",
          3 }, /* the two of each block: sums tie the others */
    };
    lmb_graph *folded = folded_model(cases[_i].model), *equal;
    float *before = malloc(sizeof *before * (size_t)(data->n * data->classes)),
          *after = malloc(sizeof *after * (size_t)(data->n * data->classes));
    int pairs;

    for (int v = 0, seen = 0; v < folded->n_values && seen < 4; v++) {
        lmb_value *x = &folded->value[v];
        if (x->role != LMB_ROLE_PARAMETER || x->shape.n != 4)
            continue;
        seen++;
        float *w = malloc(lmb_shape_bytes(&x->shape, LMB_F32));
        int64_t rows = x->shape.d[0], each = lmb_shape_count(&x->shape) / rows;
        for (int64_t i = 0; i < rows * each; i++)
            w[i] = ((const float *)x->data)[i] * powf(10, (float)(i / each % 4) - 2);
        ck_ok(lmb_graph_set_data(folded, v, w, &err));
        free(w);
    }
    ck_ok(lmb_pass_equalise(folded, &equal, &pairs, &err));
    ck_assert_int_eq(pairs, cases[_i].pairs);
    logits_of(folded, before);
    logits_of(equal, after);
    for (int64_t i = 0; i < data->n * data->classes; i++)
        ck_assert_msg(fabsf(before[i] - after[i]) <= 1e-3f * (1 + fabsf(before[i])), "logit %d: %g, equalised %g",
                      (int)i, (double)before[i], (double)after[i]);
    free(before);
    free(after);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(equal);
    lmb_dataset_destroy(data);
}
END_TEST

/* conv 1 -> 3 channels, Clip at 6, conv 3 -> 2. By hand: r = (4, 1, 0.5), q = (1, 1, 8): both become sqrt(r q), channel
 * 2 of the first is multiplied by 4, and the Clip is a Relu. */
START_TEST(by_hand)
{
    const float w1[3] = { 4, -1, 0.5f }, b1[3] = { 1, 1, 1 }, w2[6] = { 1, -0.5f, 8, -0.25f, 1, 2 }, none = 0, six = 6;
    lmb_graph *g, *equal;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 1, 2, 2), NULL);
    lmb_vid y = lmb_emit(&b, "Conv", "a",
                         LMB_IN(x, lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w1", LMB_F32, LMB_SHAPE(3, 1, 1, 1), w1),
                                lmb_emit_value(&b, LMB_ROLE_PARAMETER, "b1", LMB_F32, LMB_SHAPE(3), b1)),
                         LMB_NO_ATTRS);
    y = lmb_emit(&b, "Clip", "c", LMB_IN(y, lmb_emit_scalar(&b, none), lmb_emit_scalar(&b, six)), LMB_NO_ATTRS);
    y = lmb_emit(&b, "Conv", "d",
                 LMB_IN(y, lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w2", LMB_F32, LMB_SHAPE(2, 3, 1, 1), w2)),
                 LMB_NO_ATTRS);
    lmb_emit_output(&b, "y", y);
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_pass_equalise(g, &equal, NULL, &err));
    const float want1[3] = { 2, -1, 2 }, wantb[3] = { 0.5f, 1, 4 }, want2[6] = { 2, -0.5f, 2, -0.5f, 1, 0.5f };
    for (int v = 0; v < equal->n_values; v++) {
        const char *name = equal->value[v].name;
        const float *got = equal->value[v].data;
        for (int i = 0; i < 6; i++) {
            ck_assert(strcmp(name, "w1") || i > 2 || fabsf(got[i] - want1[i]) < 1e-5f);
            ck_assert(strcmp(name, "b1") || i > 2 || fabsf(got[i] - wantb[i]) < 1e-5f);
            ck_assert(strcmp(name, "w2") || fabsf(got[i] - want2[i]) < 1e-5f);
        }
    }
    for (int i = 0; i < equal->n_nodes; i++)
        ck_assert_str_ne(equal->node[i].op->name, "Clip");
    lmb_graph_destroy(g);
    lmb_graph_destroy(equal);
}
END_TEST

static const lmb_value *named(const lmb_graph *g, const char *name)
{
    for (int v = 0; v < g->n_values; v++)
        if (strcmp(g->value[v].name, name) == 0)
            return &g->value[v];
    ck_abort_msg("no value %s", name);
    return NULL;
}

/* One linear layer on the bytes of the images: the mean of its output over the calibration set with rounded weights and
 * the corrected bias is that of the float layer. */
START_TEST(the_mean_is_kept)
{
    lmb_graph *folded = folded_model("{name: mlp, hidden: [], mean: 0, scale: 0.01}"), *qat;
    lmb_qat_config q;
    const lmb_value *w = NULL, *bias = NULL;
    double mean[144] = { 0 };
    uint8_t raw[144];
    int32_t label;

    lmb_fields_default(lmb_qat_fields, &q);
    q.ends = 3;
    const lmb_ptq_config c = { .calibration = 64, .seed = 1, .backend = "reference", .threads = 2, .qat = &q };
    for (int i = 0; i < folded->n_nodes; i++)
        if (strcmp(folded->node[i].op->name, "Gemm") == 0) {
            w = &folded->value[folded->node[i].in[1]];
            bias = &folded->value[folded->node[i].in[2]];
        }
    ck_assert(w && bias);
    ck_ok(lmb_pass_qat(folded, &q, &qat, &err));
    ck_ok(lmb_correct_bias(qat, folded, &c, data, &err));
    for (int64_t i = 0; i < data->n; i++) {
        ck_ok(data->read(data, i, raw, &label, &err));
        for (int k = 0; k < 144; k++)
            mean[k] += 0.01 * raw[k] / (double)data->n;
    }
    const float *fw = w->data, *fb = bias->data, *qb = named(qat, bias->name)->data;
    double moved = 0;
    for (int o = 0; o < data->classes; o++) {
        double s = largest(fw, 144 * o, 144, 1) / 3, was = fb[o], is = qb[o];
        for (int k = 0; k < 144; k++) {
            was += fw[144 * o + k] * mean[k];
            is += rint(fw[144 * o + k] / s) * s * mean[k];
        }
        ck_assert_msg(fabs(was - is) < 1e-4, "output %d: %g, then %g", o, was, is);
        moved += fabs((double)qb[o] - (double)fb[o]);
    }
    ck_assert_double_gt(moved, 1e-3);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(qat);
    lmb_dataset_destroy(data);
}
END_TEST

/* A factor of a thinner layer has no bias of its own: it gets one, and the mean of what it says is kept. */
START_TEST(layers_without_a_bias_get_one)
{
    lmb_graph *folded = folded_model("{name: mlp, hidden: [], mean: 0, scale: 0.01}"), *thin, *qat;
    lmb_qat_config q;
    double mean[144] = { 0 };
    uint8_t raw[144];
    int32_t label;
    int layers = 0;

    lmb_fields_default(lmb_qat_fields, &q);
    q.ends = 3;
    const lmb_ptq_config c = { .calibration = 64, .seed = 1, .backend = "reference", .threads = 2, .qat = &q,
                               .correct_bias = true };
    for (int64_t i = 0; i < data->n; i++) {
        ck_ok(data->read(data, i, raw, &label, &err));
        for (int k = 0; k < 144; k++)
            mean[k] += 0.01 * raw[k] / (double)data->n;
    }
    const lmb_node *whole = &folded->node[folded->n_nodes - 1];
    ck_assert_str_eq(whole->op->name, "Gemm");
    const lmb_lowrank what = { folded->value[whole->in[1]].name, 2, 2, NULL };
    ck_ok(lmb_pass_lowrank(folded, &what, 1, &thin, &err));
    ck_ok(lmb_ptq_start(thin, &c, data, &qat, &err));
    for (int i = 0; i < qat->n_nodes; i++) {
        const lmb_node *n = &qat->node[i];
        if (strcmp(n->op->name, "Gemm") != 0)
            continue;
        ck_assert(n->n_in == 3 && qat->value[n->in[2]].role == LMB_ROLE_PARAMETER);
        if (layers++)
            continue;
        const lmb_value *w = &qat->value[qat->node[qat->value[n->in[1]].node].in[0]];
        const float *fw = w->data, *bias = qat->value[n->in[2]].data;
        ck_assert(w->shape.d[0] == 2 && w->shape.d[1] == 144);
        for (int o = 0; o < 2; o++) {
            double s = largest(fw, 144 * o, 144, 1) / 3, shift = (double)bias[o];
            ck_assert_double_gt(fabs(shift), 1e-4);
            for (int k = 0; k < 144; k++)
                shift += (rint(fw[144 * o + k] / s) * s - (double)fw[144 * o + k]) * mean[k];
            ck_assert_msg(fabs(shift) < 1e-4, "output %d is shifted by %g", o, shift);
        }
    }
    ck_assert_int_eq(layers, 2);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(thin);
    lmb_graph_destroy(qat);
    lmb_dataset_destroy(data);
}
END_TEST

/* ---- entropy ---- */

/* levels: as configured. */
static void entropy_at(int64_t levels, lmb_grid grid, const float *x, int n, float *from, float *to)
{
    const lmb_observer *o = lmb_observer_find("entropy");
    ck_assert_ptr_nonnull(o);
    char *a = calloc(1, o->bytes), *second = calloc(1, o->bytes);
    float lo, hi;
    lmb_observed_range(x, n, &lo, &hi);
    o->see(&levels, a, x, n / 3, lo, hi);
    o->see(&levels, second, x + n / 3, n - n / 3, lo, hi);
    o->merge(&levels, a, second);
    o->range(&levels, a, &grid, lo, hi, from, to);
    free(a);
    free(second);
}

static void entropy_of(const float *x, int n, float *from, float *to)
{
    entropy_at(256, (lmb_grid){ 0 }, x, n, from, to);
}

/* Fewer integers are drawn closer. What is not configured is what activations have: all of them, or half where they are
 * symmetric and the numbers are not. */
START_TEST(entropy_goes_by_the_integers_there_are)
{
    enum { N = 50000 };
    float *x = malloc(sizeof *x * N), from, to[5];

    for (int i = 0; i < N; i++)
        x[i] = -logf(((float)i + 0.5f) / N);
    entropy_at(256, (lmb_grid){ 16, false }, x, N, &from, &to[0]);
    entropy_at(16, (lmb_grid){ 256, false }, x, N, &from, &to[1]);
    entropy_at(0, (lmb_grid){ 16, false }, x, N, &from, &to[2]);
    entropy_at(0, (lmb_grid){ 32, true }, x, N, &from, &to[3]);
    entropy_at(0, (lmb_grid){ 256, false }, x, N, &from, &to[4]);
    ck_assert_msg(to[1] < 0.9f * to[0], "to %g with 16, %g with 256", (double)to[1], (double)to[0]);
    ck_assert(to[2] == to[1] && to[3] == to[1] && to[4] == to[0]);
    free(x);
}
END_TEST

/* The ranges of a network whose activations have 4 bits are those of 16 integers. */
START_TEST(entropy_knows_the_bits)
{
    static const char *const observers[] = { "o: entropy", "o: {name: entropy, levels: 16}",
                                             "o: {name: entropy, levels: 256}" };
    lmb_graph *folded = folded_model("{name: mlp, hidden: [64], mean: 100, scale: 0.01}"), *qat[3];
    lmb_qat_config q;
    bool same = true;

    for (int i = 0; i < 3; i++) {
        lmb_config *o = config_of(observers[i]);
        const lmb_ptq_config c = { .calibration = 64, .seed = 1, .backend = "reference", .threads = 2, .qat = &q,
                                   .observer = lmb_tree_get(lmb_config_root(o), "o") };
        lmb_fields_default(lmb_qat_fields, &q);
        q.activation_bits = 4;
        ck_ok(lmb_pass_qat(folded, &q, &qat[i], &err));
        ck_ok(lmb_ptq_observe(qat[i], &c, data, &err));
        lmb_config_destroy(o);
    }
    for (int v = 0; v < qat[0]->n_values; v++)
        if (qat[0]->value[v].role == LMB_ROLE_OBSERVER) {
            float r[3];
            for (int i = 0; i < 3; i++)
                r[i] = *(const float *)qat[i]->value[v].data;
            ck_assert_msg(r[0] == r[1], "%s: %g and %g", qat[0]->value[v].name, (double)r[0], (double)r[1]);
            same &= r[0] == r[2];
        }
    ck_assert(!same);
    for (int i = 0; i < 3; i++)
        lmb_graph_destroy(qat[i]);
    lmb_graph_destroy(folded);
    lmb_dataset_destroy(data);
}
END_TEST

START_TEST(entropy_of_known_shapes)
{
    enum { N = 50000 };
    float *x = malloc(sizeof *x * N), from, to;
    for (int i = 0; i < N; i++) /* even: nothing to gain by cutting */
        x[i] = -1 + 3 * (float)i / (N - 1);
    entropy_of(x, N, &from, &to);
    ck_assert(from <= -0.97f && to >= 1.95f);
    for (int64_t i = 0; i < N; i++) /* a bell in -1 .. 1, and one number at 40 */
        x[i] = (float)((double)(i * 7919 % N + i * 104729 % N + i * 1299709 % N) / (1.5 * N) - 1);
    x[N / 2] = 40;
    entropy_of(x, N, &from, &to);
    ck_assert_msg(to < 6 && to > 0.8f, "to %g", (double)to);
    for (int i = 0; i < N;
         i++) /* behind a Relu and a Clip: half are 0, a tenth 6, the others between; all of it is worth keeping */
        x[i] = i % 2 ? 0 : i % 10 == 0 ? 6 : 6 * (float)i / N;
    entropy_of(x, N, &from, &to);
    ck_assert_msg(from == 0 && to > 5.8f, "to %g", (double)to);
    for (int i = 0; i < 10; i++)
        x[i] = 2;
    entropy_of(x, 10, &from, &to);
    ck_assert(from == 2 && to == 2);
    free(x);
}
END_TEST

LMB_TEST_MAIN("distill/equalise", add_loop(the_function_stays, 3); add(by_hand); add(the_mean_is_kept);
              add(layers_without_a_bias_get_one); add(entropy_of_known_shapes);
              add(entropy_goes_by_the_integers_there_are); add(entropy_knows_the_bits);)
