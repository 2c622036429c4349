/* Mirrors distill/quantize/ptq.c and the observers: known ranges, the same bits on any number of threads, ranges that
 * are what the float model computes, and a result that exports like a trained one. */
#include "distill/quantize/ptq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/onnx/onnx.h"
#include "core/passes/fold.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/qdq.h"
#include "distill/quantize/observer.h"
#include "distill/quantize/qat.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/predictor.h"

static lmb_error err;
static lmb_dataset *data;
static lmb_graph *model;

static void set_up(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 150, classes: 4, height: 12, width: 12, noise: 0.4}", LMB_PART_TRAIN);
    model = model_of("{name: resnet, depth: 8, width: 4, mean: 100, scale: 0.02}", data, 5);
}

static void tear_down(void)
{
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
}

static const char *const observers[] = { "o: minmax", "o: {name: moving_average, momentum: 0.8}",
                                         "o: {name: percentile, percent: 99}", "o: mse", "o: entropy" };

static lmb_graph *quantised(const char *observer, int64_t images, int threads)
{
    lmb_config *o = config_of(observer);
    lmb_ptq_config c = { images, 7, lmb_tree_get(lmb_config_root(o), "o"), "cpu", threads };
    lmb_graph *g;
    ck_ok(lmb_ptq(model, &c, data, &g, &err));
    lmb_config_destroy(o);
    return g;
}

START_TEST(the_same_bits_on_any_number_of_threads)
{
    lmb_str a = LMB_STR_INIT, b = LMB_STR_INIT;
    set_up();
    lmb_graph *one = quantised(observers[_i], 140, 1),
              *three = quantised(observers[_i], 140, 3); /* five batches, the last short */
    ck_ok(lmb_onnx_export(one, NULL, &a, &err));
    ck_ok(lmb_onnx_export(three, NULL, &b, &err));
    ck_assert_uint_eq(a.n, b.n);
    ck_assert_mem_eq(a.text, b.text, a.n);
    lmb_str_free(&b);
    lmb_graph *other = quantised(observers[_i], 40, 1);
    ck_ok(lmb_onnx_export(other, NULL, &b, &err));
    ck_assert(a.n != b.n || memcmp(a.text, b.text, a.n) != 0);
    lmb_str_free(&a);
    lmb_str_free(&b);
    lmb_graph_destroy(one);
    lmb_graph_destroy(three);
    lmb_graph_destroy(other);
    tear_down();
}
END_TEST

/* The range of the logits is the smallest and largest logit of the float model over the whole set. */
START_TEST(minmax_is_what_the_float_model_computes)
{
    lmb_graph *folded, *qat;
    lmb_ptq_config c = { 150, 3, NULL, "reference", 2 };
    lmb_qat_config q = { .momentum = 0.9 };
    lmb_predictor *p;
    const float *y;
    uint8_t raw[144];
    float x[144], lo = 1e9f, hi = -1e9f, seen[2] = { 0, 0 };
    int32_t label;

    set_up();
    ck_ok(lmb_pass_fold(model, &folded, &err));
    ck_ok(lmb_pass_qat(folded, &q, &qat, &err));
    ck_ok(lmb_ptq_observe(qat, &c, data, &err));
    ck_ok(lmb_predictor_create(folded, NULL, NULL, 1, &p, &err));
    for (int64_t i = 0; i < data->n; i++) {
        ck_ok(data->read(data, i, raw, &label, &err));
        for (int k = 0; k < 144; k++)
            x[k] = raw[k];
        ck_ok(lmb_predictor_run(p, x, 1, &y, &err));
        for (int k = 0; k < data->classes; k++) {
            lo = fminf(lo, y[k]);
            hi = fmaxf(hi, y[k]);
        }
    }
    for (int v = 0, k = 0; v < qat->n_values; v++)
        if (qat->value[v].role == LMB_ROLE_OBSERVER) /* the last two are the logits' */
            seen[k++ % 2] = *(const float *)qat->value[v].data;
    ck_assert_float_eq_tol(seen[0], lo, 1e-5f * (1 + fabsf(lo)));
    ck_assert_float_eq_tol(seen[1], hi, 1e-5f * (1 + fabsf(hi)));
    lmb_predictor_destroy(p);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(qat);
    tear_down();
}
END_TEST

START_TEST(the_result_lowers_and_answers_as_before)
{
    lmb_str file = LMB_STR_INIT;
    lmb_predictor *a, *b;
    const float *ya, *yb;
    uint8_t raw[144];
    float x[144];
    int flips = 0;
    int32_t label;

    set_up();
    lmb_graph *g = quantised(observers[_i], 150, 2);
    for (int i = 0; i < g->n_values; i++)
        ck_assert_int_ne(g->value[i].role, LMB_ROLE_OBSERVER);
    lmb_graph *qdq;
    ck_ok(lmb_pass_qdq(g, &qdq, &err));
    ck_ok(lmb_lower(qdq, &file, &err));
    lmb_graph_destroy(qdq);
    ck_ok(lmb_predictor_create(model, NULL, NULL, 1, &a, &err));
    ck_ok(lmb_predictor_create(g, NULL, NULL, 1, &b, &err));
    for (int64_t i = 0; i < data->n; i++) {
        ck_ok(data->read(data, i, raw, &label, &err));
        for (int k = 0; k < 144; k++)
            x[k] = raw[k];
        ck_ok(lmb_predictor_run(a, x, 1, &ya, &err));
        ck_ok(lmb_predictor_run(b, x, 1, &yb, &err));
        flips += lmb_argmax(ya, data->classes) != lmb_argmax(yb, data->classes);
    }
    ck_assert_int_le(flips, 30); /* of 150, by an untrained model: many answers are close */
    lmb_predictor_destroy(a);
    lmb_predictor_destroy(b);
    lmb_str_free(&file);
    lmb_graph_destroy(g);
    tear_down();
}
END_TEST

/* ---- observers by hand ---- */

typedef struct watched { float lo, hi; } watched;

static watched watch(const char *text, const float *const *batch, const int *n, int batches, float lo, float hi)
{
    lmb_config *c = config_of(text);
    const lmb_tree *t = lmb_tree_get(lmb_config_root(c), "o");
    const char *name;
    watched w;

    ck_ok(lmb_tree_name(t, &name, &err));
    const lmb_observer *o = lmb_observer_find(name);
    ck_assert_ptr_nonnull(o);
    void *config = calloc(1, o->config_size + 1), *all = calloc(1, o->bytes), *one = malloc(o->bytes);
    ck_ok(lmb_fields_bind(o->fields, t, config, &err));
    for (int i = 0; i < batches; i++) {
        memset(one, 0, o->bytes);
        o->see(config, one, batch[i], n[i], lo, hi);
        o->merge(config, all, one);
    }
    o->range(config, all, &(lmb_grid){ 256, false }, lo, hi, &w.lo, &w.hi);
    free(config);
    free(all);
    free(one);
    lmb_config_destroy(c);
    return w;
}

START_TEST(observers_by_hand)
{
    const float a[] = { 1, -2, 3 }, b[] = { 5, 0 };
    const float *const batch[] = { a, b };
    const int n[] = { 3, 2 };
    float many[10000];
    const float *const whole[] = { many };
    const int all[] = { 10000 };

    err = (lmb_error)LMB_ERROR_INIT;
    watched w = watch("o: minmax", batch, n, 2, 0, 0);
    ck_assert(w.lo == -2 && w.hi == 5);
    w = watch("o: {name: moving_average, momentum: 0.75}", batch, n, 2, 0, 0);
    ck_assert(w.lo == -1.5f && w.hi == 3.5f); /* 0.75 -2 + 0.25 0; 0.75 3 + 0.25 5 */
    for (int i = 0; i < 10000; i++)
        many[i] = (float)i / 10000;
    many[9999] = 2048; /* bins of width 1: all but one number in the first */
    w = watch("o: {name: percentile, percent: 99.9}", whole, all, 1, 0, 2048);
    ck_assert(w.lo == 0 && w.hi == 1);
    w = watch("o: {name: percentile, percent: 100}", whole, all, 1, 0, 2048);
    ck_assert(w.lo == 0 && w.hi == 2048);
    const float flat[] = { 3, 3, 3 }, *const constant[] = { flat };
    w = watch("o: percentile", constant, n, 1, 3, 3);
    ck_assert(w.lo == 3 && w.hi == 3);
}
END_TEST

START_TEST(what_can_not_be_is_refused)
{
    lmb_ptq_config c = { 151, 1, NULL, "cpu", 1 };
    lmb_graph *g = NULL;

    set_up();
    ck_assert_int_eq(lmb_ptq(model, &c, data, &g, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "calibration with 151 images; the training part has 150, so give 1 to 150");
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_config *o = config_of("o: minmaxx");
    c.observer = lmb_tree_get(lmb_config_root(o), "o");
    c.calibration = 10;
    ck_assert_int_eq(lmb_ptq(model, &c, data, &g, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "there is no observer 'minmaxx'; did you mean minmax?"));
    lmb_config_destroy(o);
    ck_assert_ptr_null(g);
    tear_down();
}
END_TEST

LMB_TEST_MAIN("distill/ptq", add_loop(the_same_bits_on_any_number_of_threads, 5);
              add(minmax_is_what_the_float_model_computes); add_loop(the_result_lowers_and_answers_as_before, 5);
              add(observers_by_hand); add(what_can_not_be_is_refused);)
