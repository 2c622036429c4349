/* Mirrors train/gpu.c: a training on a GPU goes the way of one on the host, and the same way each time. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cuda/device.h"
#include "tests/gpu_main.h"
#include "tests/train/from_text.h"
#include "train/trainer.h"

static lmb_error err;

/* The state after some epochs; malloc'd. */
static float *train(const char *model_text, const char *options, size_t *n)
{
    lmb_config *o = config_of(options);
    double smoothing = 0.1;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_config c;
    lmb_dataset *data;
    lmb_graph *model;
    lmb_trainer *t;

    data = dataset_of("{name: synthetic, train: 96, classes: 4, height: 8, width: 8, noise: 0.4}", LMB_PART_TRAIN);
    model = model_of(model_text, data, 5);
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(o), &c, &err));
    ck_ok(lmb_trainer_create(&c, model, &loss, data, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, NULL, &err));
    lmb_trainer_state *s = lmb_trainer_state_of(t);
    float *copy = malloc(sizeof *copy * s->layout->count);
    memcpy(copy, s->state, sizeof *copy * s->layout->count);
    *n = s->layout->count;
    lmb_trainer_destroy(t);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
    lmb_config_destroy(o);
    return copy;
}

static const char *const models[] = {
    "{name: resnet, depth: 8, width: 4}", "{name: vgg, channels: [8, 0, 12], dropout: 0.1}", "{name: lenet}",
};

START_TEST(as_on_the_host)
{
    static const char options[] =
        "{epochs: 1, batch: 32, lr: 0.02, threads: 1, mode: fast, augment: {crop: 1}, backend: %s}";
    char text[200];
    size_t n;
    double error = 0, size = 0;

    err = (lmb_error)LMB_ERROR_INIT;
    snprintf(text, sizeof text, options, "portable");
    float *host = train(models[_i], text, &n);
    snprintf(text, sizeof text, options, "cuda");
    float *gpu = train(models[_i], text, &n), *again = train(models[_i], text, &n);
    for (size_t i = 0; i < n; i++) {
        error = fmax(error, fabs((double)host[i] - gpu[i]));
        size = fmax(size, fabs(host[i]));
    }
    ck_assert_double_le(error, 1e-3 * size);
    ck_assert_mem_eq(gpu, again, sizeof *gpu * n);
    free(host);
    free(gpu);
    free(again);
}
END_TEST

LMB_GPU_TEST_MAIN("train/gpu", add_loop(as_on_the_host, sizeof models / sizeof *models);)
