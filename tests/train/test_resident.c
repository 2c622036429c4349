/* Mirrors train/resident*.c, train/gpu.c and core/cuda/ops/step.cu: whole trainings on a played GPU
 * (tests/core/cuda/played.c), whose streams put off what they are given, or, as train/resident_gpu, on a real one.
 * Steps that stay there end in the bits of steps whose weights travel, recorded or not; on a real GPU a clipped
 * gradient's norm is added in another order. */
#include "train/resident.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/cuda/device.h"
#include "tests/check_main.h"
#include "train/model.h"
#include "train/trainer_internal.h"

static lmb_error err;
static char remark[600];
static bool played;

static lmb_config *parse(const char *text)
{
    lmb_config *c;
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", &c, &err));
    return c;
}

/* How a training is looked at while it runs. */
typedef struct way {
    bool travel;       /* weights travel in every step */
    bool hand;         /* a hand in every step */
    bool terms;        /* pulled to where it began, and shifted */
    bool saves;        /* somebody looks at the state inside an epoch */
    lmb_status status; /* what run() is to end with */
} way;

typedef struct result {
    size_t n;
    float *state, *ema, *slot[2];
    double loss, accuracy;
    char msg[480];
} result;

static lmb_status touch(void *ctx, lmb_trainer *t, lmb_error *e)
{
    lmb_trainer_state *s = lmb_trainer_state_of(t);
    (void)ctx, (void)e;
    for (size_t i = 0; i < s->layout->count; i += 7)
        s->state[i] *= 0.5f;
    return LMB_OK;
}

typedef struct looker {
    lmb_trainer *t;
    result *r;
    bool saves;
} looker;

static bool look(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    looker *l = ctx;
    (void)epoch, (void)batch, (void)batches, (void)rate;
    ck_assert(isfinite(loss) && accuracy >= 0 && accuracy <= 1);
    if (l->saves) {
        ck_ok(lmb_trainer_gather(l->t, &err));
        lmb_trainer_drop(l->t);
    }
    return true;
}

static lmb_status epoch_done(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *er)
{
    looker *l = ctx;
    (void)t, (void)er;
    l->r->loss = e->loss;
    l->r->accuracy = e->accuracy;
    snprintf(remark, sizeof remark, "%s", e->steps ? e->steps : "");
    return LMB_OK;
}

static float *copy_of(const float *v, size_t n)
{
    float *c = v ? malloc(n * sizeof *c) : NULL;
    if (c)
        memcpy(c, v, n * sizeof *c);
    return c;
}

static result train(const char *model_text, const char *options, way w)
{
    lmb_config *d = parse("{name: synthetic, train: 141, classes: 4, height: 8, width: 8, noise: 0.4}"),
               *m = parse(model_text), *o = parse(options);
    double smoothing = 0.1;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_config c;
    lmb_dataset *data;
    lmb_graph *model;
    lmb_trainer *t;
    result r = { 0 };

    ck_ok(lmb_dataset_open(lmb_config_root(d), LMB_PART_TRAIN, &data, &err));
    ck_ok(lmb_model_build(lmb_config_root(m), &data->shape, data->classes, 5, &model, &err));
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(o), &c, &err));
    ck_ok(lmb_trainer_create(&c, model, &loss, data, NULL, NULL, &t, &err));
    lmb_trainer_state *s = lmb_trainer_state_of(t);
    r.n = s->layout->count;
    ck_assert(t->resident || !lmb_train_on_gpu(&c));
    if (w.travel) {
        lmbi_gpu_destroy(t);
        t->resident = NULL;
    }
    float *anchor = copy_of(s->state, r.n), *shift = calloc(r.n, sizeof *shift);
    for (size_t i = 0; i < r.n; i++)
        shift[i] = 1e-3f * (float)(i % 5);
    const lmb_gradient_terms terms = { 0.1, anchor, shift };
    if (w.terms)
        lmb_trainer_terms(t, &terms);
    looker l = { t, &r, w.saves };
    lmb_train_watch watch = { look, epoch_done, &l, w.hand ? touch : NULL };
    lmb_status st = lmb_trainer_run(t, &watch, &err);
    ck_assert_msg(st == w.status, "%s", err.msg);
    snprintf(r.msg, sizeof r.msg, "%s", err.msg);
    err = (lmb_error)LMB_ERROR_INIT;
    r.state = copy_of(s->state, r.n);
    r.ema = copy_of(s->ema, r.n);
    for (int i = 0; i < 2 && i < s->n_slots; i++)
        r.slot[i] = copy_of(s->slot[i], r.n);
    lmb_trainer_destroy(t);
    free(anchor);
    free(shift);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
    lmb_config_destroy(d);
    lmb_config_destroy(m);
    lmb_config_destroy(o);
    return r;
}

static void done(result *r)
{
    free(r->state);
    free(r->ema);
    free(r->slot[0]);
    free(r->slot[1]);
}

static void close_to(const float *a, const float *b, size_t n)
{
    double size = 0;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(a[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_double_le(fabs((double)a[i] - b[i]), 1e-3 * size);
}

static void same(const result *a, const result *b)
{
    ck_assert_uint_eq(a->n, b->n);
    ck_assert_mem_eq(a->state, b->state, a->n * sizeof *a->state);
    for (int i = 0; i < 2; i++)
        if (a->slot[i])
            ck_assert_mem_eq(a->slot[i], b->slot[i], a->n * sizeof *a->state);
    if (a->ema)
        ck_assert_mem_eq(a->ema, b->ema, a->n * sizeof *a->state);
    ck_assert(a->loss == b->loss);
    ck_assert(a->accuracy == b->accuracy);
}

static const char resnet[] = "{name: resnet, depth: 8, width: 4}",
                  vgg[] = "{name: vgg, channels: [8, 0, 12], dropout: 0.3}", lenet[] = "{name: lenet}";

/* Batches of 32 are 4 of them and one of 13 rows: of 1, 4, 3 and 2 shards. */
static const struct {
    const char *model, *options;
    way way;
} trainings[] = {
    { resnet,
      "{epochs: 2, batch: 32, lr: 0.05, mode: fast, backend: cuda, optimizer: {name: sgd, nesterov: true, "
      "weight_decay: 5e-4}}",
      { 0 } },
    { vgg,
      "{epochs: 2, batch: 32, shard: 8, lr: 0.01, backend: cuda, clip: 0.5, ema: 0.99, optimizer: {name: adamw}}",
      { .saves = true } },
    { vgg,
      "{epochs: 2, batch: 30, shard: 10, lr: 0.01, backend: cuda, bucket_kb: 1, optimizer: {name: adam, weight_decay: "
      "1e-3, l1: 1e-4}}",
      { 0 } },
    { vgg,
      "{epochs: 2, batch: 32, mode: fast, lr: 0.01, backend: cuda, bucket_kb: 0, optimizer: {name: rmsprop, momentum: "
      "0.5, l1: 1e-4}}",
      { .terms = true } },
    { resnet,
      "{epochs: 2, batch: 32, shard: 16, lr: 0.02, backend: cuda, ema: 0.9, optimizer: {name: adagrad, lr_decay: "
      "0.01}}",
      { .hand = true } },
    { vgg, "{epochs: 2, batch: 32, mode: fast, lr: 0.01, backend: cuda, precision: bf16}", { 0 } },
    { resnet, "{epochs: 2, batch: 32, mode: fast, lr: 0.01, backend: cuda, precision: tf32}", { 0 } },
};

START_TEST(staying_is_travelling)
{
    way travel = trainings[_i].way, stay = travel;
    travel.travel = true;
    result a = train(trainings[_i].model, trainings[_i].options, travel),
           b = train(trainings[_i].model, trainings[_i].options, stay);

    ck_assert_msg(strstr(remark, "replays of one recorded step"), "'%s'", remark);
    if (played || !strstr(trainings[_i].options, "clip"))
        same(&a, &b);
    else
        close_to(a.state, b.state, a.n);
    done(&a);
    done(&b);
}
END_TEST

/* The processor's own kernels, one shard a batch: other orders of summing in the gradients. */
START_TEST(as_on_the_processor)
{
    char text[200];
    static const char options[] =
        "{epochs: 1, batch: 32, lr: 0.02, threads: 1, mode: fast, augment: {crop: 1}, clip: 2, backend: %s}";

    snprintf(text, sizeof text, options, "portable");
    result host = train(resnet, text, (way){ 0 });
    snprintf(text, sizeof text, options, "cuda");
    result gpu = train(resnet, text, (way){ 0 });
    close_to(host.state, gpu.state, host.n);
    done(&host);
    done(&gpu);
}
END_TEST

static const char plain[] = "{epochs: 2, batch: 32, lr: 0.02, mode: fast, backend: cuda, graph: %s}";

static result with_graph(const char *graph, const char *play, lmb_status status)
{
    char text[200];

    snprintf(text, sizeof text, plain, graph);
    ck_assert_int_eq(play ? setenv("LMB_PLAYED", play, 1) : unsetenv("LMB_PLAYED"), 0);
    result r = train(vgg, text, (way){ .status = status });
    ck_assert_int_eq(unsetenv("LMB_PLAYED"), 0);
    return r;
}

/* What can not be recorded, and what a replay would leave out, costs speed and says so; no bit. */
START_TEST(a_recording_that_fails_is_a_sentence)
{
    result replayed = with_graph("auto", NULL, LMB_OK), off = with_graph("off", NULL, LMB_OK);
    ck_assert_str_eq(remark, "");
    result refused = with_graph("auto", "refuse", LMB_OK);
    ck_assert_msg(strstr(remark, "steps are not replayed: played: this driver records nothing"), "'%s'", remark);
    result forgot = with_graph("auto", "forget", LMB_OK);
    ck_assert_msg(strstr(remark, "not end in the bits"), "'%s'", remark);
    same(&replayed, &off);
    same(&replayed, &refused);
    same(&replayed, &forgot);
    result on = with_graph("on", "refuse", LMB_E_UNSUPPORTED);
    ck_assert_msg(strstr(on.msg, "train.graph is on, but steps are not replayed"), "'%s'", on.msg);
    done(&replayed);
    done(&off);
    done(&refused);
    done(&forgot);
    done(&on);
}
END_TEST

START_TEST(what_is_not_finite_stops)
{
    static const char options[] =
        "{epochs: 2, batch: 32, lr: 1000, mode: fast, backend: cuda, optimizer: {name: sgd, momentum: 0}}";
    result a = train(lenet, options, (way){ .travel = true, .status = LMB_E_NUMERIC }),
           b = train(lenet, options, (way){ .status = LMB_E_NUMERIC });

    ck_assert_str_eq(a.msg, b.msg);
    ck_assert_msg(strstr(b.msg, "the gradient is not finite"), "%s", b.msg);
    ck_assert_mem_eq(a.state, b.state, a.n * sizeof *a.state);
    done(&a);
    done(&b);
}
END_TEST

/* ---- one step of every rule, number by number ---- */

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
    lmb_config *c = parse(rules[_i].options);
    double config[16];
    lmb_gpu *gpu;
    const float decay = 0.3f;

    ck_assert_uint_le(row->config_size, sizeof config);
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

static int measured = -1; /* what was said last */
static void say_measured(lmb_device *d, bool on, const lmb_log *log)
{
    (void)d, (void)log;
    measured = on;
}

/* The default repeats to the bit; fast mode may choose kernels by their times. */
START_TEST(kernels_are_timed_in_fast_mode_alone)
{
    static const char *const modes[] = { "deterministic", "fast" };
    char text[80];

    for (int i = 0; i < 2; i++) {
        lmb_config *d = parse("{name: synthetic, train: 40, classes: 4, height: 8, width: 8}"), *m = parse(lenet);
        snprintf(text, sizeof text, "{epochs: 1, batch: 32, backend: cuda, mode: %s}", modes[i]);
        lmb_config *o = parse(text);
        double smoothing = 0;
        lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
        lmb_train_config c;
        lmb_dataset *data;
        lmb_graph *model;
        lmb_trainer *t;

        ck_ok(lmb_dataset_open(lmb_config_root(d), LMB_PART_TRAIN, &data, &err));
        ck_ok(lmb_model_build(lmb_config_root(m), &data->shape, data->classes, 5, &model, &err));
        ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(o), &c, &err));
        ck_ok(lmb_trainer_create(&c, model, &loss, data, NULL, NULL, &t, &err));
        ck_assert(t->backends[0]->device->measure != NULL);
        t->backends[0]->device->measure(t->backends[0]->device, false, NULL);
        t->backends[0]->device->measure = say_measured;
        ck_ok(lmb_trainer_kernels(t, NULL, false, NULL, &err));
        ck_assert_int_eq(measured, i);
        lmb_trainer_destroy(t);
        lmb_graph_destroy(model);
        lmb_dataset_destroy(data);
        lmb_config_destroy(d);
        lmb_config_destroy(m);
        lmb_config_destroy(o);
    }
}
END_TEST

static bool there(void)
{
    lmb_gpu *gpu;

    err = (lmb_error)LMB_ERROR_INIT;
    if (lmb_gpu_open(0, &gpu, &err) != LMB_OK) {
        printf("skipped: %s\n", err.msg);
        return false;
    }
    played = strcmp(lmb_gpu_backend(gpu, LMB_CUDA_F32_EXACT)->device->name, "a played GPU") == 0;
    lmb_gpu_close(gpu);
    return true;
}

LMB_TEST_MAIN(
    "train/resident", if (there()) {
        add_loop(staying_is_travelling, sizeof trainings / sizeof *trainings);
        add(as_on_the_processor);
        add(what_is_not_finite_stops);
        add(kernels_are_timed_in_fast_mode_alone);
        if (played) { /* recordings go wrong as we like, and a device's memory is the host's */
            add(a_recording_that_fails_is_a_sentence);
            add(any_thread_may_work);
            add_loop(rules_have_the_bits_of_the_rows, sizeof rules / sizeof *rules);
        }
    })
