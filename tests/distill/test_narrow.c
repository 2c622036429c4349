/* Mirrors distill/quantize/narrow.c: nothing to do for bytes; rounding and folding change places; a candidate of few
 * bits that is tuned with its rounding answers better than one that is tuned without and rounded at the end. */
#include "distill/quantize/narrow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/collective.h"
#include "core/cpu/cpu.h"
#include "core/passes/fold.h"
#include "distill/search/judge.h"
#include "tests/check_main.h"
#include "tests/distill/data_logits.h"
#include "tests/train/from_text.h"
#include "train/predictor.h"

enum { SAMPLES = 320 };
static lmb_error err;
static lmb_dataset *data;
static lmb_graph *model;
static lmb_train_config some; /* a short training */

static void train(lmb_graph *g)
{
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_trainer *t;

    ck_ok(lmb_trainer_create(&some, g, &loss, data, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, NULL, &err));
    ck_ok(lmb_trainer_store(t, g, &err));
    lmb_trainer_destroy(t);
}

static void set_up(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_config *t = config_of("{epochs: 3, batch: 32, lr: 0.02, threads: 1, clip: 1}");
    data = dataset_of("{name: synthetic, train: 320, classes: 4, height: 12, width: 12, noise: 0.4}", LMB_PART_TRAIN);
    model = model_of("{name: resnet, depth: 8, width: 6, mean: 120, scale: 0.02}", data, 5);
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(t), &some, &err));
    lmb_config_destroy(t);
    train(model);
}

static void tear_down(void)
{
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
}

/* Weights of all convolutions but the first. */
static void set_bits(lmb_graph *g, int bits)
{
    int seen = 0;

    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].role == LMB_ROLE_PARAMETER && g->value[v].shape.n == 4 && seen++)
            g->value[v].bits = bits;
}

static float *logits_of(const lmb_graph *g) { return data_logits(data, g); }

/* Largest difference of the logits of two graphs. */
static double apart(const lmb_graph *a, const lmb_graph *b)
{
    float *x = logits_of(a), *y = logits_of(b);
    double most = 0;

    for (int64_t i = 0; i < data->n * data->classes; i++)
        most = fmax(most, fabs((double)x[i] - (double)y[i]));
    free(x);
    free(y);
    return most;
}

START_TEST(bytes_are_left_alone)
{
    lmb_graph *narrow;

    set_up();
    ck_ok(lmb_pass_narrow(model, &narrow, &err));
    ck_assert_ptr_null(narrow);
    set_bits(model, 8);
    ck_ok(lmb_pass_narrow(model, &narrow, &err));
    ck_assert_ptr_null(narrow);
    tear_down();
}
END_TEST

START_TEST(rounding_and_folding_change_places)
{
    lmb_graph *narrow, *folded, *both, *after;

    set_up();
    set_bits(model, 3);
    ck_ok(lmb_pass_narrow(model, &narrow, &err));
    ck_ok(lmb_pass_fold(model, &folded, &err));
    ck_ok(lmb_pass_narrow(folded, &both, &err));
    ck_assert_ptr_nonnull(both);
    ck_assert_double_gt(apart(model, narrow), 0.05); /* it is felt */
    ck_assert_double_le(apart(narrow, both), 2e-3);
    /* what was learnt goes back by name, and the bits are still there */
    ck_ok(lmb_graph_copy(model, &after, &err));
    ck_ok(lmb_objective_finish(narrow, after, &err));
    ck_assert(apart(model, after) == 0);
    for (int v = 0, seen = 0; v < after->n_values; v++)
        if (after->value[v].role == LMB_ROLE_PARAMETER && after->value[v].shape.n == 4)
            ck_assert_int_eq(after->value[v].bits, seen++ ? 3 : 0);
    lmb_graph_destroy(narrow);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(both);
    lmb_graph_destroy(after);
    tear_down();
}
END_TEST

/* How many samples the integers of a model have right. */
static int64_t integers_right(lmb_judge *j, const lmb_graph *g)
{
    lmb_graph *frozen;
    lmb_deployed d;
    lmb_paired pair;
    int64_t right;

    ck_ok(lmb_judge_quantise(j, g, &frozen, &err));
    ck_ok(lmb_deployed_real(frozen, &d, NULL, &err));
    ck_ok(lmb_judge_compare(j, &d, &pair, &right, &err));
    lmb_deployed_free(&d);
    lmb_graph_destroy(frozen);
    return right;
}

START_TEST(few_bits_learn_what_they_are)
{
    lmb_judge_config c = { .samples = SAMPLES, .calibration = 64, .seed = 1 };
    lmb_graph *narrow, *plain;
    lmb_comm *comm;
    lmb_judge *j;

    set_up();
    c.tune = some;
    c.finish = some;
    ck_ok(lmbi_comm_open_self(&comm, &err));
    ck_ok(lmb_judge_create(&c, model, data, data, "", comm, NULL, &j, &err));
    ck_ok(lmb_judge_open_logits(j, &err));
    ck_ok(lmb_graph_copy(model, &narrow, &err));
    ck_ok(lmb_graph_copy(model, &plain, &err));
    set_bits(narrow, 2);
    ck_ok(lmb_judge_tune(j, narrow, 1, &err));
    ck_ok(lmb_judge_tune(j, plain, 1, &err));
    set_bits(plain, 2);
    int64_t felt = integers_right(j, narrow), not = integers_right(j, plain);
    ck_assert_msg(felt > not + SAMPLES / 10, "%lld right with, %lld right without, of %d", (long long)felt,
                  (long long)not, SAMPLES);
    lmb_graph_destroy(narrow);
    lmb_graph_destroy(plain);
    lmb_judge_destroy(j);
    lmb_comm_close(comm);
    tear_down();
}
END_TEST

LMB_TEST_MAIN("distill/narrow", add(bytes_are_left_alone); add(rounding_and_folding_change_places);
              add(few_bits_learn_what_they_are);)
