/* Mirrors core/cuda/ops/step.cu: one step of every optimizer's rule on a played GPU (tests/core/cuda/played.c), number
 * by number, and steps from another thread. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/cuda/device.h"
#include "tests/check_main.h"
#include "train/trainer_internal.h"

static lmb_error err;

enum { NUMBERS = 2500 };

static float *numbers(int purpose, float scale)
{
    lmb_rand rand = lmb_rand_at(3, LMB_RAND_TEST, (uint32_t)purpose, 0);
    float *v = malloc(NUMBERS * sizeof *v);
    for (uint32_t i = 0; i < NUMBERS; i++)
        v[i] = scale * lmb_rand_normal(&rand, i);
    v[3] = 0;
    v[5] = 1e-41f; /* subnormal products must survive */
    return v;
}

static const struct {
    const char *name, *options;
} rules[] = {
    { "sgd", "{momentum: 0.9, weight_decay: 5e-4}" }, { "sgd", "{momentum: 0.8, nesterov: true, l1: 1e-3}" },
    { "adam", "{weight_decay: 1e-2, l1: 1e-3}" },     { "adamw", "{weight_decay: 1e-2}" },
    { "adagrad", "{lr_decay: 0.1, l1: 1e-3}" },       { "rmsprop", "{momentum: 0.3, weight_decay: 1e-3}" },
};

START_TEST(rules_have_the_bits_of_the_rows)
{
    const lmb_optimizer *row = lmb_optimizer_find(rules[_i].name);
    lmb_config *c;
    double config[16];
    lmb_gpu *gpu;
    const float decay = 0.3f;

    ck_assert_uint_le(row->config_size, sizeof config);
    ck_ok(lmb_config_parse(rules[_i].options, strlen(rules[_i].options), "t.yaml", &c, &err));
    ck_ok(lmb_fields_bind(row->fields, lmb_config_root(c), config, &err));
    ck_ok(lmb_gpu_open(0, &gpu, &err));
    lmb_device *d = lmb_gpu_backend(gpu, LMB_CUDA_F32_EXACT)->device;
    float *w = numbers(1, 1), *grad = numbers(2, 1), *far = numbers(1, 1), *slot[4];
    float *vector = calloc(LMB_STEP_HEAD + NUMBERS, sizeof *vector);
    for (int i = 0; i < 4; i++)
        slot[i] = calloc(NUMBERS, sizeof *slot[i]);
    lmb_step_chunk chunk[3];
    for (int i = 0; i < 3; i++)
        chunk[i] = (lmb_step_chunk){ .at = (uint64_t)(1024 * i),
                                     .slot = (uint64_t)(1024 * i),
                                     .n = i < 2 ? 1024 : NUMBERS - 2048,
                                     .counts = 1,
                                     .own = 1,
                                     .decay = decay };
    for (int64_t t = 1; t <= 4; t++) {
        double lr = 0.1 / (double)t;
        lmb_opt_range r = { w, grad, { slot[0], slot[1] }, NUMBERS, lr, decay, t };
        lmb_step_now now = { .rule = row->rule(config, lr, t) };
        lmb_step_tally tally = { .failed = -1, .shrink = 1 };
        memcpy(vector + LMB_STEP_HEAD, grad, NUMBERS * sizeof *grad);
        lmb_step_work work = { .kind = LMB_WORK_MOVE,
                               .last = 3,
                               .chunk = chunk,
                               .now = &now,
                               .tally = &tally,
                               .vector = vector,
                               .state = far,
                               .slot = { slot[2], slot[3] } };
        row->step(config, &r);
        ck_ok(d->work(d, &work, &err));
        ck_ok(d->finish(d, &err));
        ck_assert_mem_eq(far, w, NUMBERS * sizeof *w);
        ck_assert_mem_eq(slot[2], slot[0], NUMBERS * sizeof *w);
        ck_assert_mem_eq(slot[3], slot[1], NUMBERS * sizeof *w);
    }
    lmb_gpu_close(gpu);
    for (int i = 0; i < 4; i++)
        free(slot[i]);
    free(w);
    free(grad);
    free(far);
    free(vector);
    lmb_config_destroy(c);
}
END_TEST

/* Which device is selected is a thread's own affair: that of the GPU, whoever calls. */
static void *from_a_thread(void *device)
{
    static lmb_step_chunk chunk = { .n = 1, .own = 1 };
    static float vector[LMB_STEP_HEAD + 1] = { [LMB_STEP_HEAD] = 3 };
    const lmb_step_work work = { .kind = LMB_WORK_WEIGH, .last = 1, .share = 2, .chunk = &chunk, .vector = vector };
    lmb_device *d = device;
    lmb_error e = LMB_ERROR_INIT;

    bool good = d->work(d, &work, &e) == LMB_OK && d->finish(d, &e) == LMB_OK && vector[LMB_STEP_HEAD] == 6;
    return good ? device : NULL;
}

START_TEST(any_thread_may_work)
{
    lmb_gpu *gpu;
    pthread_t thread;
    void *good = NULL;

    ck_ok(lmb_gpu_open(0, &gpu, &err));
    ck_assert_int_eq(pthread_create(&thread, NULL, from_a_thread, lmb_gpu_device(gpu)), 0);
    ck_assert_int_eq(pthread_join(thread, &good), 0);
    ck_assert(good != NULL);
    lmb_gpu_close(gpu);
}
END_TEST

/* A device's memory is the host's here. */
static bool played(void)
{
    lmb_gpu *gpu;

    err = (lmb_error)LMB_ERROR_INIT;
    if (lmb_gpu_open(0, &gpu, &err) != LMB_OK) {
        printf("skipped: %s\n", err.msg);
        return false;
    }
    bool is = strcmp(lmb_gpu_backend(gpu, LMB_CUDA_F32_EXACT)->device->name, "a played GPU") == 0;
    if (!is)
        printf("skipped: not a played GPU\n");
    lmb_gpu_close(gpu);
    return is;
}

LMB_TEST_MAIN(
    "train/resident_step", if (played()) {
        add(any_thread_may_work);
        add_loop(rules_have_the_bits_of_the_rows, sizeof rules / sizeof *rules);
    })
