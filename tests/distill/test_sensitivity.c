/* Mirrors distill/prune/sensitivity.c: a curve is what the masked model does, layers that do nothing do not matter, and
 * order. */
#include "distill/prune/sensitivity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/random.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/trainer.h"

static lmb_error err;
static lmb_dataset *data;
static lmb_graph *model;

/* Random weights and biases: what a layer's channels do is of no size in particular. */
static void set_up(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 120, classes: 4, height: 8, width: 8, noise: 0.4}", LMB_PART_TRAIN);
    model = model_of("{name: vgg, channels: [8, 0, 12]}", data, 5);
}

static void tear_down(void)
{
    lmb_dataset_destroy(data);
    lmb_graph_destroy(model);
}

static int calls;
static void count(void *ctx, int done, int all)
{
    (void)ctx;
    ck_assert_int_eq(done, ++calls);
    ck_assert_int_ge(all, done);
}

static void set_all(const char *name, int64_t from, int64_t to, float v)
{
    lmb_vid x = lmb_graph_find(model, name);
    ck_assert_msg(x != LMB_NONE, "%s", name);
    int64_t n = lmb_shape_count(&model->value[x].shape);
    float *w = malloc(sizeof *w * (size_t)n);
    memcpy(w, model->value[x].data, sizeof *w * (size_t)n);
    for (int64_t i = from; i < to && i < n; i++)
        w[i] = v;
    ck_ok(lmb_graph_set_data(model, x, w, &err));
    free(w);
}

/* Half of the first layer's channels are dead: scale and bias 0. By their scale they go first, and nothing changes
 * until they are gone. */
START_TEST(dead_channels_are_not_missed)
{
    lmb_sensitivity_config c = { .prune = { .criterion = "bn_scale", .seed = 1 },
                                 .n_shares = 3,
                                 .share = { 0.25, 0.5, 0.9 },
                                 .backend = "cpu",
                                 .threads = 1 };
    lmb_sensitivity *s;

    set_up();
    set_all("layer1.bn.scale", 0, 4, 0);
    set_all("layer1.bn.bias", 0, 4, 0);
    calls = 0;
    ck_ok(lmb_sensitivity_create(model, data, &c, count, NULL, &s, &err));
    ck_assert_int_eq(s->n, 2);
    ck_assert_int_eq(calls, 2);
    ck_assert_int_eq(s->samples, 120);
    ck_assert_str_eq(s->row[0].name, "layer1.conv.weight");
    ck_assert_int_eq(s->n_held, 1); /* the classes that are told apart */
    ck_assert_str_eq(s->held[0].name, "head.weight");
    ck_assert_int_eq(s->held[0].channels, 4);
    ck_assert_str_eq(s->held[0].why, "the model's output logits has this axis");
    ck_assert_int_eq(s->row[0].left[0], 6);
    ck_assert_int_eq(s->row[0].left[1], 4);
    ck_assert_int_eq(s->row[0].left[2], 1);
    for (int i = 0; i < 2; i++) {
        ck_assert_double_eq(s->row[0].accuracy[i], s->accuracy);
        ck_assert_double_eq_tol(s->row[0].loss[i], s->loss, 1e-5);
    }
    ck_assert_double_gt(fabs(s->row[0].loss[2] - s->loss), 1e-3);
    ck_assert(s->row[0].macs[0] < 1 && s->row[0].macs[1] < s->row[0].macs[0]);
    lmb_sensitivity_destroy(s);
    tear_down();
}
END_TEST

/* The second layer without its three least filters, by hand: their scales and biases at 0. */
START_TEST(a_point_is_the_masked_model)
{
    lmb_sensitivity_config c = {
        .prune = { .criterion = "l1", .seed = 1 }, .n_shares = 1, .share = { 0.25 }, .backend = "cpu", .threads = 1
    };
    lmb_sensitivity *s;
    lmb_metrics m;

    set_up();
    int64_t each = 8 * 9;
    for (int k = 5; k < 8; k++)
        set_all("layer3.conv.weight", k * each, (k + 1) * each, 1e-3f);
    ck_ok(lmb_sensitivity_create(model, data, &c, NULL, NULL, &s, &err));
    ck_assert_int_eq(s->row[1].left[0], 9);
    set_all("layer3.bn.scale", 5, 8, 0);
    set_all("layer3.bn.bias", 5, 8, 0);
    ck_ok(lmb_metrics_init(&m, data->classes, &err));
    ck_ok(lmb_evaluate(model, NULL, data, "cpu", 1, &m, &err));
    ck_assert_double_eq_tol(s->row[1].loss[0], lmb_metrics_loss(&m), 1e-5);
    ck_assert_double_eq(s->row[1].accuracy[0], lmb_metrics_accuracy(&m));
    lmb_metrics_deinit(&m);
    lmb_sensitivity_destroy(s);
    tear_down();
}
END_TEST

/* Where the weight that is no number lies, and which criterion is asked, does not matter. */
START_TEST(what_is_not_finite_is_refused)
{
    static const char *const at[] = { "layer1.conv.weight", "layer3.bn.var", "head.weight", "layer1.bn.bias" };
    static const char *const criteria[] = { "l1", "random" };
    lmb_sensitivity *s;
    lmb_graph *small;

    for (int i = 0; i < (int)LMB_COUNT(at) * 2; i++) {
        lmb_sensitivity_config c = { .prune = { .criterion = criteria[i % 2], .seed = 1 },
                                     .n_shares = 1,
                                     .share = { 0.5 },
                                     .backend = "cpu",
                                     .threads = 1 };
        set_up();
        set_all(at[i / 2], 3, 4, i % 4 < 2 ? NAN : INFINITY);
        ck_assert_int_eq(lmb_sensitivity_create(model, data, &c, NULL, NULL, &s, &err), LMB_E_NUMERIC);
        ck_assert_msg(strstr(err.msg, at[i / 2]) && strstr(err.msg, "number 3 is "), "%s", err.msg);
        tear_down();
    }
    const lmb_prune_channels half = { .criterion = "l1", .keep = 0.5, .min_channels = 1, .round_to = 1, .seed = 1 };
    set_up();
    set_all(at[0], 3, 4, NAN);
    ck_assert_int_eq(lmb_pass_prune_channels(model, &half, &small, NULL, &err), LMB_E_NUMERIC);
    ck_assert_msg(strstr(err.msg, "layer1.conv.weight: channel 0 is worth "), "%s", err.msg);
    tear_down();
}
END_TEST

START_TEST(shares_that_are_none_are_refused)
{
    static const double bad[][2] = { { 0, 0.5 }, { 0.5, 0.5 }, { 0.5, 0.2 }, { 0.5, 1 } };
    lmb_sensitivity_config c = { .prune = { .criterion = "l1" }, .n_shares = 2, .backend = "cpu", .threads = 1 };
    lmb_sensitivity *s;

    set_up();
    for (int i = 0; i < LMB_COUNT(bad); i++) {
        memcpy(c.share, bad[i], sizeof bad[i]);
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_sensitivity_create(model, data, &c, NULL, NULL, &s, &err), LMB_E_ARG);
    }
    c.n_shares = LMB_SENSITIVITY_SHARES + 1;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_sensitivity_create(model, data, &c, NULL, NULL, &s, &err), LMB_E_ARG);
    tear_down();
}
END_TEST

LMB_TEST_MAIN("distill/sensitivity", add(dead_channels_are_not_missed); add(a_point_is_the_masked_model);
              add(what_is_not_finite_is_refused); add(shares_that_are_none_are_refused);)
