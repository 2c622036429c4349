/* Mirrors distill/quantize/integer_form.c: shortcuts by Slice and Pad, means over an image and a normalisation by
 * channel, and channels side by side (concat_form.c), become what has an integer form, and the model answers as
 * before; what is in that form already is left alone, and a Softmax at the end (softmax.c) left out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "core/plan/plan.h"
#include "distill/prune/channels.h"
#include "distill/quantize/integer_form.h"
#include "distill/quantize/integer_ops.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/softmax.h"
#include "distill/search/deployed.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"

static lmb_error err;

static lmb_vid weights(lmb_builder *b, const char *name, lmb_shape s)
{
    int64_t n = lmb_shape_count(&s);
    float *w = malloc(sizeof *w * (size_t)n);
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, 0, strlen(name));

    for (int64_t i = 0; i < n; i++)
        w[i] = lmb_rand_normal(&r, (uint32_t)i) / 3;
    lmb_vid v = lmb_emit_value(b, LMB_ROLE_PARAMETER, name, LMB_F32, s, w);
    free(w);
    return v;
}

/* As exporters write an option-A ResNet: x / 255, - mean, / deviation; Conv; a block whose shortcut takes every second
 * pixel and pads channels; a mean over height and width. The first kernel is 1x1 or, with padding, 3x3. */
static lmb_graph *exported(int kernel, bool by_pool)
{
    static const float mean[3] = { 0.485f, 0.456f, 0.406f }, deviation[3] = { 0.229f, 0.224f, 0.225f };
    static const int64_t zero[2] = { 0, 0 }, end[2] = { INT64_MAX, INT64_MAX }, axes[2] = { 2, 3 }, two[2] = { 2, 2 },
                         pads[8] = { 0, 2, 0, 0, 0, 3, 0, 0 };
    lmb_graph *g;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 3, 7, 7), NULL);
    x = lmb_emit(&b, "Mul", NULL, LMB_IN(x, lmb_emit_scalar(&b, 1.0f / 255)), LMB_NO_ATTRS);
    x = lmb_emit(&b, "Sub", NULL,
                 LMB_IN(x, lmb_emit_value(&b, LMB_ROLE_CONSTANT, "mean", LMB_F32, LMB_SHAPE(3, 1, 1), mean)),
                 LMB_NO_ATTRS);
    x = lmb_emit(&b, "Div", NULL,
                 LMB_IN(x, lmb_emit_value(&b, LMB_ROLE_CONSTANT, "deviation", LMB_F32, LMB_SHAPE(3, 1, 1), deviation)),
                 LMB_NO_ATTRS);
    int64_t p = kernel / 2;
    x = lmb_emit(&b, "Conv", "first", LMB_IN(x, weights(&b, "first.w", LMB_SHAPE(4, 3, kernel, kernel))),
                 LMB_ATTRS(LMB_AINTS("pads", p, p, p, p)));
    x = lmb_emit(&b, "Relu", NULL, LMB_IN(x), LMB_NO_ATTRS);
    lmb_vid y =
        lmb_emit(&b, "Conv", "wide",
                 LMB_IN(x, weights(&b, "wide.weights", LMB_SHAPE(9, 4, 3, 3)), weights(&b, "wide.bias", LMB_SHAPE(9))),
                 LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1), LMB_AINTS("strides", 2, 2)));
    lmb_vid s = lmb_emit(&b, "Slice", NULL,
                         LMB_IN(x, lmb_emit_ints(&b, zero, 2), lmb_emit_ints(&b, end, 2), lmb_emit_ints(&b, axes, 2),
                                lmb_emit_ints(&b, two, 2)),
                         LMB_NO_ATTRS);
    s = lmb_emit(&b, "Pad", NULL, LMB_IN(s, lmb_emit_ints(&b, pads, 8)), LMB_NO_ATTRS);
    y = lmb_emit(&b, "Relu", NULL, LMB_IN(lmb_emit(&b, "Add", NULL, LMB_IN(y, s), LMB_NO_ATTRS)), LMB_NO_ATTRS);
    if (by_pool)
        y = lmb_emit(&b, "Flatten", NULL,
                     LMB_IN(lmb_emit(&b, "AveragePool", NULL, LMB_IN(y), LMB_ATTRS(LMB_AINTS("kernel_shape", 4, 4)))),
                     LMB_NO_ATTRS);
    else
        y = lmb_emit(&b, "ReduceMean", NULL, LMB_IN(y), LMB_ATTRS(LMB_AINTS("axes", 2, 3), LMB_AINT("keepdims", 0)));
    lmb_emit_output(&b, "logits",
                    lmb_emit(&b, "Gemm", "head",
                             LMB_IN(y, weights(&b, "head.w", LMB_SHAPE(5, 9)), weights(&b, "head.b", LMB_SHAPE(5))),
                             LMB_ATTRS(LMB_AINT("transB", 1))));
    ck_ok(lmb_builder_status(&b));
    return g;
}

static void answers(const lmb_graph *g, float *y)
{
    lmb_plan_options o = { .backends = NULL };
    lmb_plan *p;
    float x[3 * 7 * 7];
    lmb_rand r = lmb_rand_at(5, LMB_RAND_TEST, 0, 0);

    for (int i = 0; i < 3 * 7 * 7; i++)
        x[i] = (float)lmb_rand_below(&r, (uint32_t)i, 256);
    ck_ok(lmb_plan_compile(g, &o, &p, &err));
    ck_ok(lmb_plan_bind(p, lmb_graph_input(g, 0), x, &err));
    ck_ok(lmb_plan_run(p, NULL, &err));
    memcpy(y, lmb_plan_data(p, g->output[0].value), 5 * sizeof *y);
    lmb_plan_destroy(p);
}

START_TEST(an_exported_resnet_becomes_integers)
{
    static const char *const gone[] = { "Slice", "Pad", "ReduceMean", "AveragePool", "Div" };
    int kernel = _i & 1 ? 3 : 1;
    lmb_graph *g = exported(kernel, _i & 2), *form;
    float a[5], b[5], most = 0;
    lmb_deployed d;

    ck_assert_int_eq(lmb_deployed_sketch(g, NULL, &d, &err), LMB_E_UNSUPPORTED);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_pass_integer_form(g, &form, &err));
    for (int i = 0; i < form->n_nodes; i++)
        for (int k = 0; k < 5; k++)
            ck_assert_str_ne(form->node[i].op->name, gone[k]);
    ck_ok(lmb_deployed_sketch(form, NULL, &d, &err));
    lmb_deployed_free(&d);
    answers(g, a);
    answers(form, b);
    for (int i = 0; i < 5; i++)
        most = fmaxf(most, fabsf(a[i]));
    for (int i = 0; i < 5; i++) /* a padded first kernel sees another border: one mean instead of three */
        ck_assert_msg(fabsf(a[i] - b[i]) <= (kernel == 1 ? 2e-5f : 0.1f) * most, "logit %d: %g and %g", i, (double)a[i],
                      (double)b[i]);
    lmb_graph_destroy(g);
    lmb_graph_destroy(form);
}
END_TEST

START_TEST(our_own_models_stay)
{
    static const char text[] = "{name: resnet, depth: 8, width: 4, mean: 120, scale: 0.015}";
    lmb_graph *g = graph_of(text, LMB_SHAPE(3, 8, 8), 5, 3), *form;

    ck_ok(lmb_pass_integer_form(g, &form, &err));
    ck_assert_int_eq(form->n_nodes, g->n_nodes);
    for (int i = 0; i < g->n_nodes; i++)
        ck_assert_str_eq(form->node[i].op->name, g->node[i].op->name);
    lmb_graph_destroy(g);
    lmb_graph_destroy(form);
}
END_TEST

/* ---- channels side by side ---- */

/* Joined once and twice, through a pooling, into convolutions with and without normalisation, and into the head. */
static const char joined[] =
    "{name: layers, mean: 120, scale: 0.02, layers: [{conv: 6}, "
    "{concat: [[{conv: {channels: 4, kernel: 1}}], [{conv: 5}]]}, "
    "{pool: max}, {conv: {channels: 7, kernel: 3}}, "
    "{concat: [[{conv: {channels: 4, kernel: 1, norm: false}}], [{concat: [[{conv: 3}], [{conv: 2}]]}]]}, "
    "{conv: {channels: 6, kernel: 1, norm: false}}, {concat: [[{conv: 4}], [{conv: 3}]]}, {pool: global}, dense]}";

static lmb_graph *described(const char *text, const char *name)
{
    lmb_shape sample = LMB_SHAPE(3, 7, 7);
    lmb_config *c;
    lmb_graph *g;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), name, &c, &err));
    ck_ok(lmb_model_build(lmb_config_root(c), &sample, 5, 3, &g, &err));
    lmb_config_destroy(c);
    return g;
}

/* Statistics and scales that a new model does not have. */
static void shake(lmb_graph *g)
{
    for (int v = 0; v < g->n_values; v++) {
        float *x = (float *)(uintptr_t)g->value[v].data; /* of a graph that nobody else has */
        bool odd = strstr(g->value[v].name, "var") || strstr(g->value[v].name, "scale");
        if (g->value[v].role != LMB_ROLE_STATISTIC &&
            (g->value[v].role != LMB_ROLE_PARAMETER || g->value[v].shape.n > 1))
            continue;
        lmb_rand r = lmb_rand_at(7, LMB_RAND_TEST, 0, (uint64_t)v);
        for (int64_t i = 0; i < lmb_shape_count(&g->value[v].shape); i++)
            x[i] = odd ? 0.5f + 0.1f * (float)lmb_rand_below(&r, (uint32_t)i, 10)
                       : 0.3f * lmb_rand_normal(&r, (uint32_t)i);
    }
}

static int count(const lmb_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += strcmp(g->node[i].op->name, op) == 0;
    return n;
}

static void the_same(const lmb_graph *g, const lmb_graph *form)
{
    float a[5], b[5], most = 0;

    answers(g, a);
    answers(form, b);
    for (int i = 0; i < 5; i++)
        most = fmaxf(most, fabsf(a[i]));
    ck_assert(most > 0.01f);
    for (int i = 0; i < 5; i++)
        ck_assert_msg(fabsf(a[i] - b[i]) <= 1e-4f * most, "logit %d: %g, was %g", i, (double)b[i], (double)a[i]);
}

/* A DenseNet's block: each layer normalises all that was made before it, and is joined to it. */
static const char dense[] =
    "{name: layers, mean: 120, scale: 0.02, layers: [{conv: 6}, "
    "{concat: [[{dropout: 0.1}], [norm, {activation: relu}, {conv: {channels: 4, norm: false}}]]}, "
    "{concat: [[{dropout: 0.1}], [norm, {activation: relu}, {conv: {channels: 3, norm: false}}]]}, "
    "norm, {activation: relu}, {conv: {channels: 7, kernel: 1, norm: false}}, {pool: global}, dense]}";

START_TEST(what_is_joined_may_be_normalised)
{
    lmb_graph *g = described(dense, "dense"), *form, *small;
    const lmb_prune_channels half = { .criterion = "l1", .keep = 0.5, .min_channels = 1, .round_to = 1 };
    lmb_deployed d;

    shake(g);
    ck_assert_int_eq(lmb_deployed_sketch(g, NULL, &d, &err), LMB_E_UNSUPPORTED);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_pass_integer_form(g, &form, &err));
    ck_assert_int_eq(count(form, "Concat") + count(form, "BatchNormalization"), 1); /* the stem's is folded later */
    ck_assert_int_eq(count(form, "Conv"), 1 + 1 + 1 + 2 + 2 + 3 + 3); /* a scale and a layer for each part */
    the_same(g, form);
    ck_ok(lmb_deployed_sketch(form, NULL, &d, &err));
    lmb_deployed_free(&d);
    ck_ok(lmb_pass_prune_channels(form, &half, &small, NULL, &err));
    ck_ok(lmb_deployed_sketch(small, NULL, &d, &err));
    lmb_deployed_free(&d);
    lmb_graph_destroy(g);
    lmb_graph_destroy(form);
    lmb_graph_destroy(small);
}
END_TEST

START_TEST(a_layer_that_reads_parts_is_a_sum)
{
    lmb_graph *g = described(joined, "joined"), *form;
    lmb_deployed d;

    shake(g);
    ck_assert_int_eq(lmb_deployed_sketch(g, NULL, &d, &err), LMB_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.msg, "Concat"));
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_pass_integer_form(g, &form, &err));
    ck_assert_int_eq(count(g, "Concat"), 4);
    ck_assert_int_eq(count(form, "Concat"), 0);
    ck_assert_int_eq(count(form, "Add"), 1 + 2 + 1);
    ck_assert_int_eq(count(form, "MaxPool"), 2);
    ck_assert_int_eq(count(form, "BatchNormalization"), count(g, "BatchNormalization") - 1);
    ck_ok(lmb_deployed_sketch(form, NULL, &d, &err));
    lmb_deployed_free(&d);
    the_same(g, form);
    lmb_graph_destroy(g);
    lmb_graph_destroy(form);
}
END_TEST

/* What `limbeck list integer-ops` says exists, and what is not said is refused by name. */
START_TEST(rows_are_operators_of_onnx)
{
    int n = 0;
    for (const lmb_integer_op *r = lmb_integer_ops; r->name; r++, n++) {
        ck_assert_msg(lmb_op_find("", r->name) != NULL, "%s", r->name);
        ck_assert_ptr_eq(lmb_integer_op_find(r->name), r);
        ck_assert(strlen(r->how) > 0 && strlen(r->how) < 140);
    }
    ck_assert_int_ge(n, 11);
    ck_assert_ptr_null(lmb_integer_op_find("Tanh"));
}
END_TEST

/* ---- Softmax ---- */

enum { LAST_PLAIN, LAST_SOFTMAX, LAST_LOG, LAST_RESHAPED, LAST_OVER_SAMPLES, LAST_READ, N_LAST };

/* A small network whose end is as told. */
static lmb_graph *ends_in(int last)
{
    lmb_graph *g;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 3, 7, 7), NULL);
    x = lmb_emit(&b, "Mul", NULL, LMB_IN(x, lmb_emit_scalar(&b, 1.0f / 255)), LMB_NO_ATTRS);
    x = lmb_emit(&b, "Conv", "first", LMB_IN(x, weights(&b, "first.w", LMB_SHAPE(6, 3, 3, 3))), LMB_NO_ATTRS);
    x = lmb_emit(&b, "GlobalAveragePool", NULL, LMB_IN(lmb_emit(&b, "Relu", NULL, LMB_IN(x), LMB_NO_ATTRS)),
                 LMB_NO_ATTRS);
    x = lmb_emit(&b, "Gemm", "head",
                 LMB_IN(lmb_emit(&b, "Flatten", NULL, LMB_IN(x), LMB_NO_ATTRS), weights(&b, "head.w", LMB_SHAPE(5, 6)),
                        weights(&b, "head.b", LMB_SHAPE(5))),
                 LMB_ATTRS(LMB_AINT("transB", 1)));
    lmb_vid logits = x;
    if (last == LAST_RESHAPED) {
        x = lmb_emit(&b, "Softmax", NULL, LMB_IN(x), LMB_ATTRS(LMB_AINT("axis", 1)));
        x = lmb_emit(&b, "Flatten", NULL, LMB_IN(lmb_emit(&b, "Identity", NULL, LMB_IN(x), LMB_NO_ATTRS)),
                     LMB_NO_ATTRS);
    } else if (last != LAST_PLAIN) {
        x = lmb_emit(&b, last == LAST_LOG ? "LogSoftmax" : "Softmax", NULL, LMB_IN(x),
                     LMB_ATTRS(LMB_AINT("axis", last == LAST_OVER_SAMPLES ? 0 : -1)));
    }
    lmb_emit_output(&b, "answer", x);
    if (last == LAST_READ)
        lmb_emit_output(&b, "again", lmb_emit(&b, "Add", NULL, LMB_IN(x, logits), LMB_NO_ATTRS));
    ck_ok(lmb_builder_status(&b));
    return g;
}

/* The `.lmb` that calibration makes of it. */
static void integers_of(const lmb_graph *g, lmb_deployed *out)
{
    static const char text[] = "{name: synthetic, train: 40, channels: 3, height: 7, width: 7, classes: 5}";
    const lmb_ptq_config how = { .calibration = 32, .seed = 1, .backend = "cpu", .threads = 1 };
    lmb_graph *form, *frozen;
    lmb_dataset *data = dataset_of(text, LMB_PART_TRAIN);

    ck_ok(lmb_pass_integer_form(g, &form, &err));
    ck_ok(lmb_ptq(form, &how, data, &frozen, &err));
    ck_ok(lmb_deployed_real(frozen, out, NULL, &err));
    lmb_graph_destroy(form);
    lmb_graph_destroy(frozen);
    lmb_dataset_destroy(data);
}

START_TEST(a_softmax_at_the_end_is_left_out)
{
    lmb_graph *plain = ends_in(LAST_PLAIN), *g = ends_in(LAST_SOFTMAX + _i), *logits;
    lmb_deployed want, got;
    float a[5], b[5];

    ck_ok(lmb_pass_logits(g, &logits, &err));
    ck_assert_ptr_nonnull(logits);
    ck_assert_int_eq(count(logits, "Softmax") + count(logits, "LogSoftmax"), 0);
    ck_assert_str_eq(logits->output[0].name, "answer");
    answers(plain, a);
    answers(logits, b);
    ck_assert_mem_eq(a, b, sizeof a);
    integers_of(plain, &want);
    integers_of(g, &got);
    ck_assert_uint_eq(got.file.n, want.file.n);
    ck_assert_mem_eq(got.file.text, want.file.text, want.file.n);
    lmb_deployed_free(&want);
    lmb_deployed_free(&got);
    lmb_graph_destroy(plain);
    lmb_graph_destroy(g);
    lmb_graph_destroy(logits);
}
END_TEST

/* None, one over something else, and one that something else reads. */
START_TEST(another_softmax_stays)
{
    static const int last[] = { LAST_PLAIN, LAST_OVER_SAMPLES, LAST_READ };
    lmb_graph *g = ends_in(last[_i]), *logits = g;

    ck_ok(lmb_pass_logits(g, &logits, &err));
    ck_assert_ptr_null(logits);
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("distill/integer_form", add(rows_are_operators_of_onnx);
              add(a_layer_that_reads_parts_is_a_sum); add(what_is_joined_may_be_normalised);
              add_loop(an_exported_resnet_becomes_integers, 4); add(our_own_models_stay);
              add_loop(a_softmax_at_the_end_is_left_out, 3); add_loop(another_softmax_stays, 3);)
