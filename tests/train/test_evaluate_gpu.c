/* Mirrors train/gpu_evaluate.c and train/device_evaluate.c: what weights are worth, found out on a GPU, here a played
 * one (tests/core/cuda/played.c). The played GPU's kernels are our module's on the host, a real one's add in another
 * order. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/gpu_main.h"
#include "tests/train/from_text.h"
#include "train/trainer_internal.h"

static lmb_error err;

static void open_data(lmb_dataset **train, lmb_dataset **test)
{
    static const char text[] = "{name: synthetic, train: 96, test: 75, classes: 4, height: 8, width: 8, noise: 0.6}";
    *train = dataset_of(text, LMB_PART_TRAIN);
    *test = dataset_of(text, LMB_PART_TEST);
}

/* Of two ways of adding: the same but for what lies on an edge. */
static void alike(const lmb_metrics *a, const lmb_metrics *b)
{
    ck_assert_int_eq(a->n, b->n);
    ck_assert_double_eq_tol(lmb_metrics_loss(a), lmb_metrics_loss(b), 1e-4 * (1 + lmb_metrics_loss(a)));
    for (int i = 0; i < a->classes * a->classes; i++)
        ck_assert_int_le(llabs((long long)(a->confusion[i] - b->confusion[i])), 1);
}

static const char *const models[] = { "{name: resnet, depth: 8, width: 4}",
                                      "{name: vgg, channels: [8, 0, 12], dropout: 0.3}",
                                      "{name: mobilenet_v2, width: 0.25}" };

START_TEST(a_model_by_itself)
{
    lmb_dataset *train, *test;
    lmb_metrics host, gpu;

    open_data(&train, &test);
    lmb_graph *g = model_of(models[_i], test, 5);
    ck_ok(lmb_metrics_init(&host, 4, &err));
    ck_ok(lmb_metrics_init(&gpu, 4, &err));
    ck_ok(lmb_evaluate(g, NULL, test, "portable", 1, &host, &err));
    ck_ok(lmb_evaluate_gpu(g, test, &gpu, &err));
    alike(&host, &gpu);
    lmb_metrics_deinit(&gpu);
    ck_ok(lmb_metrics_init(&gpu, 5, &err)); /* of another task */
    ck_assert_int_eq(lmb_evaluate_gpu(g, test, &gpu, &err), LMB_E_SHAPE);
    lmb_error_clear(&err);
    lmb_metrics_deinit(&gpu);
    lmb_metrics_deinit(&host);
    lmb_graph_destroy(g);
    lmb_dataset_destroy(train);
    lmb_dataset_destroy(test);
}
END_TEST

typedef struct looker {
    const lmb_graph *model;
    const lmb_dataset *test;
    int epochs, best;
} looker;

/* Validated on the GPU; the same weights, or their average, here. */
static lmb_status epoch_done(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *er)
{
    looker *l = ctx;
    const lmb_trainer_state *s = lmb_trainer_state_of(t);
    lmb_metrics m;

    ck_assert_ptr_nonnull(t->evaluator);
    ck_assert_msg(!e->steps || !strstr(e->steps, "validation"), "%s", e->steps);
    ck_ok(lmb_metrics_init(&m, 4, er));
    ck_ok(lmb_evaluate(l->model, s->ema ? s->ema : s->state, l->test, "portable", 1, &m, er));
    double tolerance = t->c.precision == LMB_TRAIN_F32 ? 1e-4 : 1e-2;
    ck_assert_double_eq_tol(e->valid_loss, lmb_metrics_loss(&m), tolerance * (1 + lmb_metrics_loss(&m)));
    ck_assert_double_eq_tol(e->valid_accuracy, lmb_metrics_accuracy(&m), 2.0 / 75);
    lmb_metrics_deinit(&m);
    l->epochs++;
    l->best += e->best;
    return LMB_OK;
}

static const char *const trainings[] = {
    "{epochs: 3, batch: 32, mode: fast, lr: 0.02, backend: cuda, augment: {crop: 1, flip: true}}",
    "{epochs: 3, batch: 32, shard: 8, lr: 0.02, backend: cuda, ema: 0.8}",
    "{epochs: 2, batch: 32, mode: fast, lr: 0.02, backend: cuda, precision: bf16, ema: 0.5}",
    "{epochs: 2, batch: 96, mode: fast, lr: 0.02, backend: cuda, patience: 1}",
};

START_TEST(validation_of_a_training)
{
    lmb_config *o = config_of(trainings[_i]);
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_dataset *train, *test;
    lmb_train_config c;
    lmb_trainer *t;

    open_data(&train, &test);
    lmb_graph *g = model_of(models[_i % 2], train, 5);
    looker l = { .model = g, .test = test };
    const lmb_train_watch watch = { .epoch = epoch_done, .ctx = &l };
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(o), &c, &err));
    ck_ok(lmb_trainer_create(&c, g, &loss, train, test, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, &watch, &err));
    ck_assert_int_ge(l.epochs, 2);
    ck_assert_int_ge(l.best, 1);
    lmb_trainer_destroy(t);
    lmb_graph_destroy(g);
    lmb_dataset_destroy(train);
    lmb_dataset_destroy(test);
    lmb_config_destroy(o);
}
END_TEST

LMB_GPU_TEST_MAIN("train/evaluate_gpu", add_loop(a_model_by_itself, sizeof models / sizeof *models);
                  add_loop(validation_of_a_training, sizeof trainings / sizeof *trainings);)
