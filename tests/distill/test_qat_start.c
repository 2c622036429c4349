/* Mirrors distill/quantize/ptq.c where a training follows: it starts from the ranges of the observer that was chosen;
 * those of minmax and moving_average move on, those of percentile and entropy are held, in one phase and in two; an
 * option that would have no part is refused. */
#include <stdlib.h>
#include <string.h>

#include "core/passes/fold.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/unfolded.h"
#include "tests/distill/train_on.h"

enum { IMAGES = 96, N_OBSERVERS = 4, POINTS_MAX = 40 };
static const char *const observers[N_OBSERVERS] = { "o: minmax", "o: moving_average",
                                                    "o: {name: percentile, percent: 99}", "o: entropy" };
static const char *const training = "{epochs: 1, batch: 32, lr: 0.01, threads: 1}";

static lmb_error err;
static lmb_dataset *data;
static lmb_graph *model;
static lmb_config *observer, *text;
static lmb_qat_config qat;
static lmb_ptq_config c;

static void set_up(const char *takes, const char *scheme)
{
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 128, classes: 4, height: 12, width: 12, noise: 0.4}", LMB_PART_TRAIN);
    model = model_of("{name: resnet, depth: 8, width: 4, mean: 100, scale: 0.02}", data, 5);
    train_on(data, model, "{epochs: 2, batch: 32, lr: 0.02, threads: 1}");
    observer = config_of(takes);
    text = config_of(scheme);
    ck_ok(lmb_fields_bind(lmb_qat_fields, lmb_config_root(text), &qat, &err));
    c = (lmb_ptq_config){ .calibration = IMAGES,
                          .seed = 3,
                          .observer = lmb_tree_get(lmb_config_root(observer), "o"),
                          .backend = "cpu",
                          .threads = 1,
                          .qat = &qat };
}

static void tear_down(void)
{
    lmb_config_destroy(observer);
    lmb_config_destroy(text);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
}

static int count(const lmb_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += strcmp(g->node[i].op->name, op) == 0;
    return n;
}

/* Scales of activations of a graph that would end here; how many. */
static int scales_of(const lmb_graph *g, float *out)
{
    lmb_graph *frozen;
    int n = 0;

    ck_ok(lmb_pass_qat_freeze(g, &frozen, &err));
    for (int i = 0; i < frozen->n_nodes; i++)
        if (strcmp(frozen->node[i].op->name, "FakeQuant") == 0 && frozen->node[i].n_in == 3) {
            ck_assert_int_lt(n, POINTS_MAX);
            out[n++] = *(const float *)frozen->value[frozen->node[i].in[1]].data;
        }
    lmb_graph_destroy(frozen);
    ck_assert_int_gt(n, 3);
    return n;
}

static bool is_held(int i) { return i >= 2; }

START_TEST(training_starts_where_calibration_ends)
{
    lmb_graph *frozen, *start;
    float said[POINTS_MAX], at[POINTS_MAX], minmax[POINTS_MAX];

    set_up(observers[_i], "{}");
    ck_ok(lmb_ptq(model, &c, data, &frozen, &err));
    ck_ok(lmb_ptq_start(model, &c, data, &start, &err));
    int n = scales_of(frozen, said);
    ck_assert_int_eq(scales_of(start, at), n);
    ck_assert_mem_eq(said, at, sizeof *at * (size_t)n);
    ck_assert_int_eq(count(start, "ObserveRange"), is_held(_i) ? 0 : n);
    ck_assert_int_gt(count(start, "WeightScale"), 3); /* of weights they follow what is trained */

    train_on(data, start, training);
    ck_assert_int_eq(scales_of(start, at), n);
    ck_assert_int_eq(memcmp(said, at, sizeof *at * (size_t)n) == 0, is_held(_i));
    lmb_graph_destroy(frozen);
    if (_i > 0) { /* or all of it says nothing */
        c.observer = NULL;
        ck_ok(lmb_ptq(model, &c, data, &frozen, &err));
        ck_assert_int_eq(scales_of(frozen, minmax), n);
        ck_assert_mem_ne(said, minmax, sizeof *minmax * (size_t)n);
        lmb_graph_destroy(frozen);
    }
    lmb_graph_destroy(start);
    tear_down();
}
END_TEST

START_TEST(two_phases_hold_or_move_alike)
{
    lmb_graph *base, *first, *second;
    float said[POINTS_MAX], at[POINTS_MAX];

    set_up(observers[_i], "{bits: 4}");
    ck_ok(lmb_unfolded_start(model, &c, data, &base, &first, &err));
    ck_assert_int_gt(count(first, "BatchNormalization"), 3);
    int n = scales_of(first, said);
    ck_assert_int_eq(count(first, "ObserveRange"), is_held(_i) ? 0 : n);
    train_on(data, first, training);
    ck_ok(lmb_unfolded_fold(base, first, &qat, &second, &err));
    train_on(data, second, training);
    ck_assert_int_eq(scales_of(second, at), n);
    ck_assert_int_eq(memcmp(said, at, sizeof *at * (size_t)n) == 0, is_held(_i));
    lmb_graph_destroy(base);
    lmb_graph_destroy(first);
    lmb_graph_destroy(second);
    tear_down();
}
END_TEST

/* Learned steps begin there too, and learn. */
START_TEST(steps_start_where_the_observer_says)
{
    lmb_graph *start;
    float at[2][POINTS_MAX];
    int n[2];

    for (int i = 0; i < 2; i++) {
        set_up(observers[i ? 2 : 0], "{scheme: learned}");
        ck_ok(lmb_ptq_start(model, &c, data, &start, &err));
        n[i] = scales_of(start, at[i]);
        if (i) {
            float then[POINTS_MAX];
            train_on(data, start, training);
            scales_of(start, then);
            ck_assert_mem_ne(then, at[1], sizeof *then * (size_t)n[1]);
        }
        lmb_graph_destroy(start);
        tear_down();
    }
    ck_assert_int_eq(n[0], n[1]);
    ck_assert_mem_ne(at[0], at[1], sizeof **at * (size_t)n[0]);
}
END_TEST

static const struct option {
    const char *observer, *qat;
    int64_t images;
    bool trains, correct_bias;
    const char *sentence; /* NULL: it is taken */
} options[] = {
    { "o: entropy", "{observer: moving_average, momentum: 0.98}", IMAGES, true, false, NULL }, /* what is so anyway */
    { "o: minmax", "{observer: minmax}", IMAGES, true, false, NULL },
    { "o: moving_average", "{momentum: 0.5}", IMAGES, true, false, NULL },
    { "o: entropy", "{scheme: learned, momentum: 0.98}", IMAGES, true, false, NULL },
    { "o: entropy", "{bits: 4, momentum: 0.98}", IMAGES, false, true, NULL },
    { "o: minmax", "{scheme: learned}", IMAGES, false, false, "qat.scheme is learned, and nothing is trained" },
    { "o: minmax", "{observer: minmax}", IMAGES, false, false, "qat.observer says how ranges move in a training" },
    { "o: minmax", "{momentum: 0.5}", IMAGES, false, false, "qat.momentum says how ranges move in a training" },
    { "o: minmax", "{}", IMAGES, true, true, "correct_bias is for what is not trained" },
    { "o: percentile", "{observer: minmax}", IMAGES, true, false, "those of the observer percentile are held" },
    { "o: entropy", "{momentum: 0.9}", IMAGES, true, false, "those of the observer entropy are held" },
    { "o: entropy", "{scheme: learned, observer: minmax}", IMAGES, true, false, "there are steps in their place" },
    { "o: minmax", "{observer: minmax, momentum: 0.9}", IMAGES, true, false, "qat.observer is minmax" },
    { "o: entropi", "{}", IMAGES, true, false, "did you mean entropy?" },
    { "o: {name: percentile, percnt: 99}", "{}", IMAGES, true, false, "percnt" },
    { "o: minmax", "{}", 129, true, false, "the training part has 128, so give 1 to 128" },
};

START_TEST(an_option_without_a_part_is_refused)
{
    const struct option *o = &options[_i];

    set_up(o->observer, o->qat);
    c.calibration = o->images;
    c.correct_bias = o->correct_bias;
    lmb_status st = lmb_ptq_check(&c, data, o->trains, &err);
    if (o->sentence) {
        ck_assert_int_eq(st, LMB_E_ARG);
        ck_assert_msg(strstr(err.msg, o->sentence) != NULL, "%s", err.msg);
    } else {
        ck_ok(st);
    }
    tear_down();
}
END_TEST

LMB_TEST_MAIN("distill/qat_start", add_loop(training_starts_where_calibration_ends, N_OBSERVERS);
              add_loop(two_phases_hold_or_move_alike, N_OBSERVERS); add(steps_start_where_the_observer_says);
              add_loop(an_option_without_a_part_is_refused, sizeof options / sizeof *options);)
