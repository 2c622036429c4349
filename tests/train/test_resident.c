/* Mirrors train/resident*.c and train/gpu.c: whole trainings on a played GPU
 * (tests/core/cuda/played.c), whose streams put off what they are given, or, as train/resident_gpu, on a real one.
 * Steps that stay there end in the bits of steps whose weights travel, recorded or not; on a real GPU a clipped
 * gradient's norm is added in another order. */
#include "train/resident.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cuda/device.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/trainer_internal.h"

static lmb_error err;
static char remark[600];
static bool played;

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
    lmb_config *o = config_of(options);
    double smoothing = 0.1;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_config c;
    lmb_dataset *data =
        dataset_of("{name: synthetic, train: 141, classes: 4, height: 8, width: 8, noise: 0.4}", LMB_PART_TRAIN);
    lmb_graph *model = model_of(model_text, data, 5);
    lmb_trainer *t;
    result r = { 0 };

    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(o), &c, &err));
    if (w.travel)
        c.augment_on = LMB_CHANGE_CPU;
    ck_ok(lmb_trainer_create(&c, model, &loss, data, NULL, NULL, &t, &err));
    ck_assert_int_eq(t->pictures, lmb_train_on_gpu(&c) && c.augment_on != LMB_CHANGE_CPU);
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
      "{epochs: 2, batch: 32, shard: 16, lr: 0.02, backend: cuda, ema: 0.9, loss_scale: 48, optimizer: {name: adagrad, "
      "lr_decay: 0.01}}",
      { .hand = true } },
    { vgg,
      "{epochs: 2, batch: 32, mode: fast, lr: 0.01, backend: cuda, precision: bf16, augment_on: gpu, augment: {crop: 2, "
      "reflect: true, flip: true, cutout: 3}}",
      { 0 } },
    { lenet,
      "{epochs: 3, batch: 32, shard: 8, lr: 0.01, backend: cuda, augment: {crop: 4, flip: true, policy: autoaugment, "
      "cutout: 2, versions: 2}}",
      { .saves = true } },
    { resnet, "{epochs: 2, batch: 32, mode: fast, lr: 0.01, backend: cuda, precision: tf32}", { 0 } },
    { resnet,
      "{epochs: 2, batch: 32, mode: fast, lr: 0.05, backend: cuda, precision: bf16, sam: {rho: 0.1}, augment: {crop: 2, "
      "flip: true}, optimizer: {name: sgd, nesterov: true, weight_decay: 5e-4}}",
      { .saves = true } },
    { vgg,
      "{epochs: 2, batch: 32, shard: 8, lr: 0.05, backend: cuda, clip: 0.5, ema: 0.9, sam: {rho: 0.5, adaptive: true}, "
      "augment: {crop: 1}}",
      { .terms = true } },
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

/* A power of two changes exponents alone: the same bits in f32, for it is gone before norms, clipping and terms. */
START_TEST(a_scaled_loss_has_the_same_bits)
{
    static const char *const options[] = {
        "{epochs: 2, batch: 32, shard: 8, lr: 0.05, clip: 0.5, ema: 0.9, backend: cuda, loss_scale: %s}",
        "{epochs: 2, batch: 32, mode: fast, lr: 0.05, backend: cuda, sam: {rho: 0.2}, loss_scale: %s}",
        "{epochs: 2, batch: 32, shard: 8, lr: 0.05, clip: 0.5, threads: 1, backend: portable, sam: {rho: 0.1}, "
        "loss_scale: %s}",
    };
    static const char *const scale[] = { "1", "4096", "0.0625", "3" };
    char text[200];
    result r[4];

    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, options[_i], scale[i]);
        r[i] = train(vgg, text, (way){ .terms = _i == 0 });
    }
    same(&r[0], &r[1]);
    same(&r[0], &r[2]);
    ck_assert_int_ne(memcmp(r[0].state, r[3].state, r[0].n * sizeof *r[0].state), 0); /* is it scaled at all? */
    close_to(r[0].state, r[3].state, r[0].n);
    for (int i = 0; i < 4; i++)
        done(&r[i]);
}
END_TEST

/* The processor's own kernels, one shard a batch: other orders of summing in the gradients. */
START_TEST(as_on_the_processor)
{
    char text[200];
    static const char options[] =
        "{epochs: 1, batch: 32, lr: 0.02, threads: 1, mode: fast, augment: {crop: 1}, clip: 2, sam: {rho: %g}, backend: "
        "%s}";
    double rho = 0.1 * _i;

    snprintf(text, sizeof text, options, rho, "portable");
    result host = train(resnet, text, (way){ 0 });
    snprintf(text, sizeof text, options, rho, "cuda");
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

/* With two passes: in the second one of the first step, uphill, and in a later one's first. */
static const char *const wild[] = {
    "{epochs: 2, batch: 32, lr: 1000, mode: fast, backend: cuda, optimizer: {name: sgd, momentum: 0}}",
    "{epochs: 2, batch: 32, lr: 0.01, mode: fast, backend: cuda, sam: {rho: 1000}}",
    "{epochs: 2, batch: 32, lr: 1000, mode: fast, backend: cuda, sam: {rho: 0.1}, optimizer: {name: sgd, momentum: 0}}",
};

START_TEST(what_is_not_finite_stops)
{
    const char *options = wild[_i];
    result a = train(lenet, options, (way){ .travel = true, .status = LMB_E_NUMERIC }),
           b = train(lenet, options, (way){ .status = LMB_E_NUMERIC });

    ck_assert_str_eq(a.msg, b.msg);
    ck_assert_msg(strstr(b.msg, "the gradient is not finite"), "%s", b.msg);
    ck_assert_mem_eq(a.state, b.state, a.n * sizeof *a.state);
    done(&a);
    done(&b);
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
        snprintf(text, sizeof text, "{epochs: 1, batch: 32, backend: cuda, mode: %s}", modes[i]);
        lmb_config *o = config_of(text);
        double smoothing = 0;
        lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
        lmb_train_config c;
        lmb_dataset *data =
            dataset_of("{name: synthetic, train: 40, classes: 4, height: 8, width: 8}", LMB_PART_TRAIN);
        lmb_graph *model = model_of(lenet, data, 5);
        lmb_trainer *t;

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
        add_loop(a_scaled_loss_has_the_same_bits, 3);
        add_loop(as_on_the_processor, 2);
        add_loop(what_is_not_finite_stops, 3);
        add(kernels_are_timed_in_fast_mode_alone);
        if (played) /* recordings go wrong as we like */
            add(a_recording_that_fails_is_a_sentence);
    })
