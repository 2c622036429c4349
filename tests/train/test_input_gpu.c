/* Mirrors train/resident_input.c and train/device_wait.c: what goes to a GPU, here a played one
 * (tests/core/cuda/played.c), and what happens when it never comes back. That changed images have the bits of the
 * processor's is shown by trainings in test_resident.c, and here batch by batch. */
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "tests/gpu_main.h"
#include "train/model.h"
#include "train/trainer_internal.h"

static lmb_error err;
static char remark[800];

static lmb_config *parse(const char *text)
{
    lmb_config *c;
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", &c, &err));
    return c;
}

static lmb_dataset *pictures(const char *text)
{
    lmb_config *c = parse(text);
    lmb_dataset *d;
    ck_ok(lmb_dataset_open(lmb_config_root(c), LMB_PART_TRAIN, &d, &err));
    lmb_config_destroy(c);
    return d;
}

/* Noise of two classes. */
static lmb_dataset *signals(void)
{
    enum { N = 100, READINGS = 3 * 16 };
    lmb_dataset_arrays a = { .samples = malloc(N * READINGS * sizeof(float)), .labels = malloc(N * sizeof(int32_t)),
                             .n = N, .shape = LMB_SHAPE(3, 16), .dtype = LMB_F32, .classes = 2 };
    lmb_rand r = lmb_rand_at(1, LMB_RAND_TEST, 0, 0);
    lmb_dataset *d;

    for (uint32_t i = 0; i < N * READINGS; i++)
        ((float *)a.samples)[i] = lmb_rand_normal(&r, i);
    for (int i = 0; i < N; i++)
        a.labels[i] = i % 2;
    ck_ok(lmb_dataset_memory(&a, "noise", &d, &err));
    return d;
}

static lmb_status epoch_done(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *er)
{
    (void)ctx, (void)t, (void)er;
    snprintf(remark, sizeof remark, "%s", e->steps ? e->steps : "");
    return LMB_OK;
}

/* Ends in `status`; what was said about it is in err.msg, and is the next test's to clear. */
static void train(const lmb_dataset *data, const char *model_text, const char *options, lmb_status status)
{
    lmb_config *m = parse(model_text), *o = parse(options);
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    const lmb_train_watch watch = { .epoch = epoch_done };
    lmb_train_config c;
    lmb_graph *model;
    lmb_trainer *t = NULL;

    ck_ok(lmb_model_build(lmb_config_root(m), &data->shape, data->classes, 5, &model, &err));
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(o), &c, &err));
    lmb_status st = lmb_trainer_create(&c, model, &loss, data, NULL, NULL, &t, &err);
    if (st == LMB_OK)
        st = lmb_trainer_run(t, &watch, &err);
    ck_assert_msg(st == status, "%s", err.msg);
    lmb_trainer_destroy(t);
    lmb_graph_destroy(model);
    lmb_config_destroy(m);
    lmb_config_destroy(o);
}

static void said(const char *what)
{
    ck_assert_msg(strstr(err.msg, what) != NULL, "'%s'", err.msg);
    lmb_error_clear(&err);
}

static const char dense[] = "{name: mlp, hidden: [8]}", lenet[] = "{name: lenet}",
                  images[] = "{name: synthetic, train: 70, classes: 4, channels: 3, height: 9, width: 7}";

/* The batches of a training's loader through the device, a short last one among them. */
START_TEST(a_batch_is_the_loaders)
{
    lmb_dataset *data = pictures(images);
    const lmb_augment a = { .crop = _i ? 3 : 0, .reflect = _i == 2, .flip = _i, .cutout = _i ? 4 : 0, .versions = 2 };
    lmb_loader_options o = { .data = data, .batch = 32, .seed = 9, .shuffle = true, .augment = &a };
    size_t bytes = 3 * 9 * 7, all = 32 * bytes, changes = 32 * sizeof(lmb_picture_change);
    lmb_loader *here, *there;
    const lmb_batch *b, *c;
    void *x, *pixels, *change;
    float *got = malloc(all * sizeof *got);

    lmb_device *d = lmb_gpu_device(test_gpu);
    ck_ok(d->alloc(d, all * sizeof(float), &x, &err));
    ck_ok(d->alloc(d, all, &pixels, &err));
    ck_ok(d->alloc(d, changes, &change, &err));
    ck_ok(lmb_loader_create(&o, &here, &err));
    o.dtype = LMB_U8;
    o.change_later = true;
    ck_ok(lmb_loader_create(&o, &there, &err));
    ck_ok(lmb_loader_begin(here, 5, 0, &err));
    ck_ok(lmb_loader_begin(there, 5, 0, &err));
    for (;;) {
        ck_ok(lmb_loader_next(here, &b, &err));
        ck_ok(lmb_loader_next(there, &c, &err));
        if (!b)
            break;
        const lmb_step_work w = { .kind = LMB_WORK_PICTURES, .vector = x, .rows = (int)c->n, .pixels = pixels,
                                  .change = change, .channels = 3, .height = 9, .width = 7 };
        ck_ok(d->upload(d, pixels, c->x_u8, (size_t)c->n * bytes, &err));
        ck_ok(d->upload(d, change, c->change, (size_t)c->n * sizeof *c->change, &err));
        ck_ok(d->work(d, &w, &err));
        ck_ok(d->download(d, got, x, (size_t)c->n * bytes * sizeof *got, &err));
        ck_ok(d->finish(d, &err));
        ck_assert_mem_eq(got, b->x, (size_t)b->n * bytes * sizeof *got);
    }
    lmb_loader_destroy(here);
    lmb_loader_destroy(there);
    d->free(d, x);
    d->free(d, pixels);
    d->free(d, change);
    lmb_dataset_destroy(data);
    free(got);
}
END_TEST

/* What has no kernel there stays on the processor, with a sentence; asked for all the same, it is an error. */
START_TEST(changes_without_a_kernel_stay)
{
    lmb_dataset *waves = signals(), *data = pictures(images);

    train(waves, dense, "{epochs: 1, batch: 32, mode: fast, backend: cuda, augment: {jitter: 0.1}}", LMB_OK);
    ck_assert_msg(strstr(remark, "changed on the processor, as samples are no images"), "'%s'", remark);
    train(waves, dense, "{epochs: 1, batch: 32, mode: fast, backend: cuda}", LMB_OK);
    ck_assert_msg(!strstr(remark, "changed"), "'%s'", remark);
    train(waves, dense, "{backend: cuda, augment_on: gpu}", LMB_E_ARG);
    said("train.augment_on is gpu, but samples are no images");
    train(data, lenet, "{backend: cpu, augment_on: gpu}", LMB_E_ARG);
    said("train.augment_on is gpu; set train.backend=cuda");
    lmb_dataset_destroy(waves);
    lmb_dataset_destroy(data);
}
END_TEST

/* A GPU that never comes back: a sentence after train.stall_s, and an end that does not wait for it either. */
START_TEST(a_gpu_that_hangs_is_given_up)
{
    lmb_dataset *data = pictures(images);

    ck_assert_int_eq(setenv("LMB_PLAYED", "hang", 1), 0);
    train(data, lenet, "{epochs: 1, batch: 32, mode: fast, backend: cuda, stall_s: 0.5}", LMB_E_DEVICE);
    ck_assert_int_eq(unsetenv("LMB_PLAYED"), 0);
    said("a played GPU has not done its work up to step 0 within 0.5 s (train.stall_s)");
    lmb_dataset_destroy(data);
}
END_TEST

LMB_GPU_TEST_MAIN("train/input_gpu", add_loop(a_batch_is_the_loaders, 3); add(changes_without_a_kernel_stay);
                  if (strcmp(lmb_gpu_device(test_gpu)->name, "a played GPU") == 0)
                      add(a_gpu_that_hangs_is_given_up);)
