/* Mirrors train/resident_input.c and train/device_wait.c: what goes to a GPU, here a played one
 * (tests/core/cuda/played.c), and what happens when it never comes back. That changed images have the bits of the
 * processor's is shown by trainings in test_resident.c, and here batch by batch. */
#include <stdlib.h>
#include <string.h>

#include "datasets/augment_ops.h"
#include "tests/gpu_main.h"
#include "tests/train/from_text.h"
#include "train/trainer_internal.h"

static lmb_error err;
static char remark[800];

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
    lmb_config *o = config_of(options);
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    const lmb_train_watch watch = { .epoch = epoch_done };
    lmb_train_config c;
    lmb_graph *model = model_of(model_text, data, 5);
    lmb_trainer *t = NULL;

    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(o), &c, &err));
    lmb_status st = lmb_trainer_create(&c, model, &loss, data, NULL, NULL, &t, &err);
    if (st == LMB_OK)
        st = lmb_trainer_run(t, &watch, &err);
    ck_assert_msg(st == status, "%s", err.msg);
    lmb_trainer_destroy(t);
    lmb_graph_destroy(model);
    lmb_config_destroy(o);
}

static void said(const char *what)
{
    ck_assert_msg(strstr(err.msg, what) != NULL, "'%s'", err.msg);
    lmb_error_clear(&err);
}

static const char dense[] = "{name: mlp, hidden: [8]}", lenet[] = "{name: lenet}",
                  images[] = "{name: synthetic, train: 70, classes: 4, channels: 3, height: 9, width: 7}",
                  larger[] = "{name: synthetic, train: 70, classes: 4, channels: 3, height: 19, width: 17}";

/* What the device makes of n images of bytes. */
static void changed_there(const uint8_t *from, const lmb_picture_change *changes, int n, const lmb_shape *s, bool ops,
                          float *got)
{
    size_t bytes = (size_t)n * (size_t)lmb_shape_count(s), all = (size_t)n * sizeof *changes;
    lmb_device *d = lmb_gpu_device(test_gpu);
    void *x, *pixels, *change;

    ck_ok(d->alloc(d, bytes * sizeof(float), &x, &err));
    ck_ok(d->alloc(d, bytes, &pixels, &err));
    ck_ok(d->alloc(d, all, &change, &err));
    const lmb_step_work w = { .kind = LMB_WORK_PICTURES, .vector = x, .rows = n, .pixels = pixels, .change = change,
                              .operations = ops, .channels = (int)s->d[0], .height = (int)s->d[1],
                              .width = (int)s->d[2] };
    ck_ok(d->upload(d, pixels, from, bytes, &err));
    ck_ok(d->upload(d, change, changes, all, &err));
    ck_ok(d->work(d, &w, &err));
    ck_ok(d->download(d, got, x, bytes * sizeof *got, &err));
    ck_ok(d->finish(d, &err));
    d->free(d, x);
    d->free(d, pixels);
    d->free(d, change);
}

/* The batches of a training's loader through the device, a short last one among them. */
START_TEST(a_batch_is_the_loaders)
{
    lmb_dataset *data = dataset_of(_i < 3 ? images : larger, LMB_PART_TRAIN);
    const lmb_augment a = { .crop = _i ? 3 : 0, .reflect = _i == 2, .flip = _i, .cutout = _i ? 4 : 0, .versions = 2,
                            .policy = _i < 3 ? LMB_POLICY_NONE : _i - 2, .strength = 20, .operations = 3 };
    lmb_loader_options o = { .data = data, .batch = 32, .seed = 9, .shuffle = true, .augment = &a };
    size_t numbers = (size_t)lmb_shape_count(&data->shape);
    lmb_loader *here, *there;
    const lmb_batch *b, *c;
    float *got = malloc(32 * numbers * sizeof *got);

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
        changed_there(c->x_u8, c->change, (int)c->n, &data->shape, a.policy != LMB_POLICY_NONE, got);
        ck_assert_mem_eq(got, b->x, (size_t)b->n * numbers * sizeof *got);
    }
    lmb_loader_destroy(here);
    lmb_loader_destroy(there);
    lmb_dataset_destroy(data);
    free(got);
}
END_TEST

/* Every operation after every other, and before one of them again: the bytes of the processor. */
START_TEST(every_operation_is_the_processors)
{
    enum { OPS = LMB_OP_INVERT + 1, N = OPS * OPS };
    const lmb_shape s = _i == 0 ? LMB_SHAPE(3, 19, 17) : _i == 1 ? LMB_SHAPE(1, 20, 16) : LMB_SHAPE(3, 1, 5);
    size_t bytes = (size_t)lmb_shape_count(&s);
    uint8_t *old = malloc(N * bytes), *scratch = malloc(bytes);
    lmb_picture_change *change = calloc(N, sizeof *change);
    float *got = malloc(N * bytes * sizeof *got);
    const lmb_rand r = lmb_rand_at(7, LMB_RAND_TEST, 0, (uint64_t)_i);

    for (size_t i = 0; i < N * bytes; i++) /* of a few values, so that histograms are uneven */
        old[i] = (uint8_t)(20 + lmb_rand_below(&r, (uint32_t)i, 9) * lmb_rand_below(&r, (uint32_t)(i / 50), 23));
    for (int i = 0; i < N; i++) {
        const int which[LMB_PICTURE_OPS] = { i / OPS, i % OPS, i % 3 ? LMB_OP_SAME : i / 3 % OPS };
        for (int k = 0; k < LMB_PICTURE_OPS; k++) {
            const lmb_augment_op *op = &lmb_augment_ops[which[k]];
            double share = (i % 31) / 30.0;
            change[i].op[k] = lmb_augment_op_make(op, op->either && (i + k) % 2 ? -share : share, i % 2, &s);
        }
        change[i].flags = i % 5 ? 0 : LMB_PICTURE_FLIP;
        change[i].y1 = change[i].x1 = (int16_t)(i % 2);
    }
    changed_there(old, change, N, &s, true, got);
    for (int i = 0; i < N; i++) {
        uint8_t *one = old + (size_t)i * bytes, *moved = malloc(bytes);
        int h = (int)s.d[1], w = (int)s.d[2];
        for (int k = 0; k < (int)bytes; k++)
            moved[k] = lmb_picture_moved(&change[i], one + k / (h * w) * h * w, h, w, k / w % h, k % w);
        for (int k = 0; k < LMB_PICTURE_OPS; k++)
            lmb_augment_op_apply(&change[i].op[k], moved, &s, scratch);
        for (int k = 0; k < (int)bytes; k++) {
            int want = lmb_picture_cut(&change[i], k / w % h, k % w) ? 0 : moved[k];
            ck_assert_msg(got[(size_t)i * bytes + (size_t)k] == (float)want, "image %d, byte %d: %g, not %d", i, k,
                          (double)got[(size_t)i * bytes + (size_t)k], want);
        }
        free(moved);
    }
    free(old);
    free(scratch);
    free(change);
    free(got);
}
END_TEST

/* What has no kernel there stays on the processor, with a sentence; asked for all the same, it is an error. */
START_TEST(changes_without_a_kernel_stay)
{
    lmb_dataset *waves = signals(), *data = dataset_of(images, LMB_PART_TRAIN);

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
    lmb_dataset *data = dataset_of(images, LMB_PART_TRAIN);

    ck_assert_int_eq(setenv("LMB_PLAYED", "hang", 1), 0);
    train(data, lenet, "{epochs: 1, batch: 32, mode: fast, backend: cuda, stall_s: 0.5}", LMB_E_DEVICE);
    ck_assert_int_eq(unsetenv("LMB_PLAYED"), 0);
    said("a played GPU has not done its work up to step 0 within 0.5 s (train.stall_s)");
    lmb_dataset_destroy(data);
}
END_TEST

LMB_GPU_TEST_MAIN("train/input_gpu", add_loop(a_batch_is_the_loaders, 6);
                  add_loop(every_operation_is_the_processors, 3); add(changes_without_a_kernel_stay);
                  if (strcmp(lmb_gpu_device(test_gpu)->name, "a played GPU") == 0)
                      add(a_gpu_that_hangs_is_given_up);)
