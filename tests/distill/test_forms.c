/* Mirrors distill/quantize/input_form.c, gemm_form.c, clamp_form.c and own_form.c, what qat.c refuses of what they
 * leave, and what concat_form.c must not take: models as others write them answer as before, in floats and in integers.
 */
#include "distill/quantize/clamp_form.h"
#include "distill/quantize/concat_form.h"
#include "distill/quantize/gemm_form.h"
#include "distill/quantize/integer_form.h"
#include "tests/distill/written.h"

/* ---- the input ---- */

/* S, M, A, D: Sub, Mul, Add, Div of a number. The last four leave something that only a convolution can take in. */
typedef struct chain {
    const char *ops;
    float c[3];
} chain;
static const chain chains[] = {
    { "", { 0 } },
    { "M", { 1 / 255.0f } },
    { "SM", { 100, 0.02f } },
    { "S", { 128 } },
    { "MM", { 0.25f, 1 / 64.0f } },
    { "SMM", { 0, 1, 1 / 255.0f } },
    { "SSM", { 50, 60, 0.02f } },
    { "AD", { -120, 60 } },
    { "MS", { 1 / 64.0f, 2 } },
    { "MS", { 1 / 127.5f, 1 } },
    { "MSM", { 1 / 255.0f, 0.5f, 2 } },
    { "DSD", { 255, 0.449f, 0.226f } },
    { "MA", { 0.01f, 0.5f } },
};
enum { CHAINS = sizeof chains / sizeof *chains, LEAVING = 4 };

static lmb_vid chained(lmb_builder *b, lmb_vid x, const chain *c)
{
    for (int i = 0; c->ops[i]; i++)
        x = with(b, c->ops[i] == 'S' ? "Sub" : c->ops[i] == 'M' ? "Mul" : c->ops[i] == 'A' ? "Add" : "Div", x, c->c[i]);
    return x;
}

/* The form answers as the graph does, its integers nearly so. Takes both. */
static void answer_alike(lmb_graph *g, lmb_graph *form, float share)
{
    float a[CLASSES], c[CLASSES];

    answers(g, a);
    answers(form, c);
    close_to(a, c, share);
    integers(form, c);
    close_to(a, c, 0.08f);
    lmb_graph_destroy(g);
    lmb_graph_destroy(form);
}

static void check_form(lmb_graph *g)
{
    lmb_graph *form;

    ck_ok(lmb_pass_integer_form(g, &form, &err));
    ck_assert_int_eq(count(form, "Div"), 0);
    ck_assert_int_le(count(form, "Sub"), 1);
    ck_assert_int_eq(count(form, "Mul"), 1);
    answer_alike(g, form, 1e-4f);
}

START_TEST(a_normalisation_in_any_words)
{
    lmb_graph *g;
    lmb_vid x;
    lmb_builder b = begin(&g, &x);

    x = one(&b, "Relu", conv(&b, chained(&b, x, &chains[_i]), 4, 1));
    check_form(end(&b, head(&b, x)));
}
END_TEST

/* What a mean and a scale can say needs no convolution behind it. */
START_TEST(in_front_of_any_layer)
{
    lmb_graph *g;
    lmb_vid x;
    lmb_builder b = begin(&g, &x);

    check_form(end(&b, head(&b, chained(&b, x, &chains[_i]))));
}
END_TEST

/* Where nobody has formed it: said before the training, for the integers would be others. */
START_TEST(more_than_one_mean_and_one_scale_is_refused)
{
    lmb_graph *g, *qat;
    lmb_vid x;
    lmb_builder b = begin(&g, &x);
    lmb_qat_config q;

    lmb_fields_default(lmb_qat_fields, &q);
    x = one(&b, "Relu", conv(&b, chained(&b, x, &chains[_i]), 4, 1));
    end(&b, head(&b, x));
    bool plain = strcmp(chains[_i].ops, "M") == 0 || strcmp(chains[_i].ops, "SM") == 0;
    ck_assert_int_eq(lmb_pass_qat(g, &q, &qat, &err), plain ? LMB_OK : LMB_E_UNSUPPORTED);
    if (plain)
        lmb_graph_destroy(qat);
    lmb_graph_destroy(g);
}
END_TEST

/* ---- clamps ---- */

static lmb_vid pool(lmb_builder *b, lmb_vid x)
{
    return lmb_emit(
        b, "MaxPool", "pool", LMB_IN(x),
        LMB_ATTRS(LMB_AINTS("kernel_shape", 3, 2), LMB_AINTS("strides", 2, 1), LMB_AINTS("pads", 1, 0, 1, 1)));
}

/* Convolution, Dropout, MaxPool, then the clamp, as in examples of a LeNet; behind the Flatten another Relu. */
START_TEST(clamps_come_before_what_moves_numbers)
{
    lmb_graph *g, *form;
    lmb_vid x;
    float a[CLASSES], c[CLASSES];
    lmb_builder b = begin(&g, &x);

    x = pool(&b, one(&b, "Dropout", conv(&b, with(&b, "Mul", x, 0.01f), 4, 3)));
    x = _i ? lmb_emit(&b, "Clip", "clip", LMB_IN(x, lmb_emit_scalar(&b, -0.5f), lmb_emit_scalar(&b, 0.75f)),
                      LMB_NO_ATTRS)
           : one(&b, "Relu", one(&b, "Flatten", one(&b, "Relu", x)));
    end(&b, head(&b, x));
    ck_ok(lmb_pass_clamp_form(g, &form, &err));
    ck_assert_int_eq(count(form, "Relu") + count(form, "Clip"), 1);
    for (int i = 1; i < form->n_nodes; i++)
        if (strcmp(form->node[i].op->name, "Relu") == 0 || strcmp(form->node[i].op->name, "Clip") == 0)
            ck_assert_str_eq(form->node[i - 1].op->name, "Conv");
    answers(g, a);
    answers(form, c);
    ck_assert_mem_eq(a, c, sizeof a);
    integers(form, c);
    close_to(a, c, 0.08f);
    lmb_graph_destroy(g);
    lmb_graph_destroy(form);
}
END_TEST

/* Somebody else reads what is not clamped. */
START_TEST(a_clamp_that_can_not_move_stays)
{
    lmb_graph *g, *form;
    lmb_vid x, y;
    float a[CLASSES], c[CLASSES];
    lmb_builder b = begin(&g, &x);

    x = pool(&b, conv(&b, with(&b, "Mul", x, 0.01f), 4, 3));
    y = lmb_emit(&b, "Add", "sum", LMB_IN(x, one(&b, "Relu", x)), LMB_NO_ATTRS);
    end(&b, head(&b, y));
    ck_ok(lmb_pass_clamp_form(g, &form, &err));
    answers(g, a);
    answers(form, c);
    ck_assert_mem_eq(a, c, sizeof a);
    lmb_graph_destroy(g);
    lmb_graph_destroy(form);
}
END_TEST

/* ---- full layers ---- */

typedef struct full {
    bool product, t;
    float alpha, beta;
    int bias;
} full; /* bias: 0 none, else its dimensions + 1 */
static const full fulls[] = {
    { false, false, 1, 1, 2 }, { false, true, 0.5f, 1, 2 }, { false, true, 1, -2, 2 }, { false, true, 1, 1, 1 },
    { false, false, 2, 3, 3 }, { false, false, 1, 1, 0 },   { true, false, 1, 1, 0 },  { true, false, 1, 1, 2 },
    { true, false, 1, 1, 3 },  { true, false, 1, 1, 1 },
};

static lmb_vid emit_full(lmb_builder *b, lmb_vid x, const full *f, int64_t out)
{
    int64_t in = lmb_builder_value(b, x)->shape.d[1];
    lmb_vid w = weights(b, f->t ? LMB_SHAPE(out, in) : LMB_SHAPE(in, out)), c = LMB_NONE;

    if (f->bias)
        c = numbers(b, LMB_ROLE_CONSTANT,
                    f->bias == 1   ? (lmb_shape){ 0 }
                    : f->bias == 2 ? LMB_SHAPE(out)
                                   : LMB_SHAPE(1, out),
                    5);
    if (!f->product)
        return lmb_emit(b, "Gemm", "full", (lmb_vid[]){ x, w, c }, f->bias ? 3 : 2,
                        LMB_ATTRS(LMB_AREAL("alpha", f->alpha), LMB_AREAL("beta", f->beta), LMB_AINT("transB", f->t)));
    lmb_vid y = lmb_emit(b, "MatMul", "full", LMB_IN(x, w), LMB_NO_ATTRS);
    if (!f->bias)
        return y;
    return f->bias == 3 ? lmb_emit(b, "Add", "bias", LMB_IN(c, y), LMB_NO_ATTRS)
                        : lmb_emit(b, "Add", "bias", LMB_IN(y, c), LMB_NO_ATTRS);
}

START_TEST(full_layers_in_any_words)
{
    lmb_graph *g, *form;
    lmb_vid x;
    lmb_builder b = begin(&g, &x);

    x = one(&b, "Flatten", with(&b, "Mul", x, 0.01f));
    x = one(&b, "Relu", emit_full(&b, x, &fulls[_i], 9));
    end(&b, emit_full(&b, x, &fulls[_i], CLASSES));
    ck_ok(lmb_pass_gemm_form(g, &form, &err));
    ck_assert_int_eq(count(form, "Gemm"), 2);
    ck_assert_int_eq(count(form, "MatMul") + count(form, "Add"), 0);
    answer_alike(g, form, 1e-5f);
}
END_TEST

/* Two layers with the same weights: they stay one parameter. */
START_TEST(shared_weights_stay_shared)
{
    lmb_graph *g, *form;
    lmb_vid x;
    float a[CLASSES], c[CLASSES];
    lmb_builder b = begin(&g, &x);

    x = one(&b, "Flatten", conv(&b, with(&b, "Mul", x, 0.01f), 1, 3));
    lmb_vid w = weights(&b, LMB_SHAPE(SIDE * SIDE, SIDE * SIDE)), f = weights(&b, LMB_SHAPE(SIDE * SIDE));
    for (int i = 0; i < 2; i++)
        x = one(&b, "Relu", lmb_emit(&b, "Gemm", "tied", LMB_IN(x, w, f), LMB_NO_ATTRS));
    end(&b, head(&b, x));
    ck_ok(lmb_pass_gemm_form(g, &form, &err));
    ck_assert_int_eq(form->n_values, g->n_values);
    answers(g, a);
    answers(form, c);
    ck_assert_mem_eq(a, c, sizeof a);
    lmb_graph_destroy(g);
    lmb_graph_destroy(form);
}
END_TEST

/* ---- shared numbers ---- */

static lmb_vid norm(lmb_builder *b, lmb_vid x, lmb_vid scale, lmb_vid bias, lmb_vid mean, lmb_vid var)
{
    return lmb_emit(b, "BatchNormalization", "norm", LMB_IN(x, scale, bias, mean, var), LMB_NO_ATTRS);
}

/* As exporters write numbers that happen to be equal: once, with an Identity of them or without; a norm's scale that is
 * its variance, too. Weights of a convolution through an Identity as well. */
START_TEST(each_layer_gets_numbers_of_its_own)
{
    lmb_graph *g, *form;
    lmb_vid x;
    lmb_builder b = begin(&g, &x);
    lmb_vid ones = numbers(&b, LMB_ROLE_STATISTIC, LMB_SHAPE(4), 0), bias = weights(&b, LMB_SHAPE(4)),
            mean = numbers(&b, LMB_ROLE_STATISTIC, LMB_SHAPE(4), 0.3f);

    ck_ok(lmb_graph_set_data(g, ones, (float[]){ 1.5f, 0.5f, 2, 0.75f }, &err));
    x = with(&b, "Mul", x, 0.01f);
    for (int i = 0; i < 2; i++) {
        lmb_vid w = one(&b, "Identity", weights(&b, LMB_SHAPE(4, i ? 4 : CHANNELS, 3, 3)));
        x = lmb_emit(&b, "Conv", "conv", LMB_IN(x, w, i ? one(&b, "Identity", bias) : bias),
                     LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1)));
        x = one(&b, "Relu", norm(&b, x, ones, bias, mean, i ? ones : one(&b, "Identity", ones)));
    }
    end(&b, head(&b, x));
    ck_ok(lmb_pass_integer_form(g, &form, &err));
    ck_assert_int_eq(count(form, "Identity"), 0);
    for (int i = 0; i < form->n_nodes; i++) {
        const lmb_node *n = &form->node[i];
        for (int k = 1; strcmp(n->op->name, "BatchNormalization") == 0 && k < 5; k++)
            ck_assert_int_eq(form->value[n->in[k]].role, k > 2 ? LMB_ROLE_STATISTIC : LMB_ROLE_PARAMETER);
    }
    answer_alike(g, form, 1e-5f);
}
END_TEST

/* ---- what must not be taken, or lost ---- */

/* A layer that reads a Concat, with one number as the bias of all outputs. */
START_TEST(one_bias_for_all_outputs_of_a_joined_layer)
{
    lmb_graph *g, *form;
    lmb_vid x;
    float a[CLASSES], c[CLASSES];
    lmb_builder b = begin(&g, &x);

    x = with(&b, "Mul", x, 0.01f);
    x = lmb_emit(&b, "Concat", "both", LMB_IN(conv(&b, x, 4, 1), conv(&b, x, 3, 3)), LMB_ATTRS(LMB_AINT("axis", 1)));
    x = one(&b, "Flatten", one(&b, "GlobalAveragePool", x));
    x = lmb_emit(&b, "Gemm", "head", LMB_IN(x, weights(&b, LMB_SHAPE(CLASSES, 7)), weights(&b, LMB_SHAPE(1))),
                 LMB_ATTRS(LMB_AINT("transB", 1)));
    end(&b, x);
    ck_ok(_i ? lmb_pass_integer_form(g, &form, &err) : lmb_pass_concat_form(g, &form, &err));
    answers(g, a);
    answers(form, c);
    close_to(a, c, 1e-5f);
    lmb_graph_destroy(g);
    lmb_graph_destroy(form);
}
END_TEST

/* A layer that is not to be trained is not, whatever it is written as. */
START_TEST(what_is_frozen_stays_frozen)
{
    lmb_graph *g, *form;
    lmb_vid x;
    lmb_builder b = begin(&g, &x);

    x = with(&b, "Div", with(&b, "Sub", with(&b, "Mul", x, 1 / 255.0f), 0.4f), 0.2f);
    x = conv(&b, x, 4, 1);
    x = lmb_emit(&b, "Concat", "both", LMB_IN(one(&b, "Relu", x), x), LMB_ATTRS(LMB_AINT("axis", 1)));
    x = one(&b, "Flatten", one(&b, "GlobalAveragePool", conv(&b, x, 4, 3)));
    end(&b, lmb_emit(&b, "MatMul", "head", LMB_IN(x, weights(&b, LMB_SHAPE(4, CLASSES))), LMB_NO_ATTRS));
    for (int v = 0; v < g->n_values; v++)
        g->value[v].frozen = g->value[v].role == LMB_ROLE_PARAMETER;
    ck_ok(lmb_pass_integer_form(g, &form, &err));
    for (int v = 0; v < form->n_values; v++)
        ck_assert(form->value[v].role != LMB_ROLE_PARAMETER || form->value[v].frozen);
    lmb_graph_destroy(g);
    lmb_graph_destroy(form);
}
END_TEST

LMB_TEST_MAIN("distill/forms", add_loop(a_normalisation_in_any_words, CHAINS);
              add_loop(in_front_of_any_layer, CHAINS - LEAVING);
              add_loop(more_than_one_mean_and_one_scale_is_refused, CHAINS);
              add_loop(clamps_come_before_what_moves_numbers, 2); add(a_clamp_that_can_not_move_stays);
              add_loop(full_layers_in_any_words, sizeof fulls / sizeof *fulls); add(shared_weights_stay_shared);
              add(each_layer_gets_numbers_of_its_own); add_loop(one_bias_for_all_outputs_of_a_joined_layer, 2);
              add(what_is_frozen_stays_frozen);)
