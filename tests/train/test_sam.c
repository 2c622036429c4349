/* Mirrors train/sam.c: sharpness-aware steps of a regression worked out in doubles, and of ResNet-8 as PyTorch takes
 * them (tests/golden/sam_parity.py); the same bits on any number of threads, with clipping, averages, dropout and
 * augmentation, and when a training stops and goes on; weights before a step that fails; what is refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/random.h"
#include "tests/golden/sam_parity.h"
#include "tests/train/from_text.h"
#include "train/trainer.h"

static lmb_error err;

static lmb_train_config settings(const char *text, lmb_config **c)
{
    lmb_train_config o;
    err = (lmb_error)LMB_ERROR_INIT;
    *c = config_of(text);
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(*c), &o, &err));
    return o;
}

/* Samples made by `fill`. */
static lmb_dataset *in_memory(int64_t n, lmb_shape shape, int classes, void (*fill)(int64_t i, uint8_t *x, int32_t *y))
{
    size_t each = (size_t)lmb_shape_count(&shape);
    lmb_dataset_arrays a = { .samples = malloc((size_t)n * each), .labels = malloc((size_t)n * sizeof(int32_t)), .n = n,
                             .shape = shape, .dtype = LMB_U8, .classes = classes };
    lmb_dataset *d;
    for (int64_t i = 0; i < n; i++)
        fill(i, (uint8_t *)a.samples + (size_t)i * each, &a.labels[i]);
    ck_ok(lmb_dataset_memory(&a, "memory", &d, &err));
    return d;
}

/* ---- a regression by hand ---- */

enum { ROWS = 6, INPUTS = 4, CLASSES = 3, HAND_STEPS = 4 };

static void few(int64_t i, uint8_t *x, int32_t *y)
{
    for (int k = 0; k < INPUTS; k++)
        x[k] = (uint8_t)((37 * i + 59 * k + 11 * i * k) % 200);
    *y = (int32_t)(i % CLASSES);
}

/* logits = w x + b, x as bytes / 100; w [CLASSES][INPUTS] first, then b. Gradient of the mean cross-entropy, which is
 * returned. */
enum { WEIGHTS = CLASSES * INPUTS, NUMBERS = WEIGHTS + CLASSES };

static double slope(const double *w, double *g)
{
    double loss = 0;
    memset(g, 0, NUMBERS * sizeof *g);
    for (int i = 0; i < ROWS; i++) {
        uint8_t x[INPUTS];
        int32_t y;
        double z[CLASSES], sum = 0;
        few(i, x, &y);
        for (int c = 0; c < CLASSES; c++) {
            z[c] = w[WEIGHTS + c];
            for (int k = 0; k < INPUTS; k++)
                z[c] += w[c * INPUTS + k] * x[k] / 100.0;
            sum += exp(z[c]);
        }
        loss -= (z[y] - log(sum)) / ROWS;
        for (int c = 0; c < CLASSES; c++) {
            double d = (exp(z[c]) / sum - (c == y)) / ROWS;
            g[WEIGHTS + c] += d;
            for (int k = 0; k < INPUTS; k++)
                g[c * INPUTS + k] += d * x[k] / 100.0;
        }
    }
    return loss;
}

/* One step at rate 0.5 with weight decay 0.1 of w, of b if `all`, and the gradient clipped to 0.3. */
static double step_by_hand(double *w, double rho, bool adaptive, bool all)
{
    double g[NUMBERS], up[NUMBERS], norm = 0, clip = 0, loss = slope(w, g);
    for (int i = 0; i < NUMBERS; i++)
        norm += pow(g[i] * (adaptive ? fabs(w[i]) : 1), 2);
    for (int i = 0; i < NUMBERS; i++)
        up[i] = w[i] + (rho > 0 ? rho * g[i] * (adaptive ? w[i] * w[i] : 1) / sqrt(norm) : 0);
    slope(up, g);
    for (int i = 0; i < NUMBERS; i++)
        clip += g[i] * g[i];
    double shrink = sqrt(clip) > 0.3 ? 0.3 / sqrt(clip) : 1;
    for (int i = 0; i < NUMBERS; i++)
        w[i] -= 0.5 * (shrink * g[i] + (all || i < WEIGHTS ? 0.1 * w[i] : 0));
    return loss;
}

static lmb_status note_loss(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *er)
{
    double *loss = ctx;
    (void)t, (void)er;
    loss[e->epoch] = e->loss;
    return LMB_OK;
}

static const struct {
    const char *sam;
    double rho;
    bool adaptive, all; /* train.decay_all */
} ways[] = {
    { "{}", 0, false, false },
    { "{rho: 0.4}", 0.4, false, false },
    { "{rho: 0.8, adaptive: true}", 0.8, true, false },
    { "{rho: 0.4}", 0.4, false, true },
};

START_TEST(as_worked_out_by_hand)
{
    char text[300];
    double loss[HAND_STEPS] = { 0 }, w[NUMBERS], start[NUMBERS], smoothing = 0;
    lmb_loss cross = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_watch watch = { .epoch = note_loss, .ctx = loss };
    lmb_config *c;
    lmb_trainer *t;

    snprintf(text, sizeof text,
             "{epochs: %d, batch: %d, shard: 2, threads: 1, lr: 0.5, clip: 0.3, sam: %s, decay_all: %s, "
             "optimizer: {name: sgd, momentum: 0, weight_decay: 0.1}}",
             HAND_STEPS, ROWS, ways[_i].sam, ways[_i].all ? "true" : "false");
    const lmb_train_config o = settings(text, &c);
    lmb_dataset *d = in_memory(ROWS, LMB_SHAPE(1, 2, 2), CLASSES, few);
    lmb_graph *model = model_of("{name: mlp, hidden: [], mean: 0, scale: 0.01}", d, 7);
    ck_ok(lmb_trainer_create(&o, model, &cross, d, NULL, NULL, &t, &err));
    const lmb_trainer_state *s = lmb_trainer_state_of(t);
    size_t at[2] = { SIZE_MAX, SIZE_MAX }; /* of weights and biases in the state */
    for (int i = 0; i < s->layout->n; i++)
        for (int k = 0; k < 2; k++)
            if (s->layout->segment[i].count == (size_t)(k ? CLASSES : WEIGHTS))
                at[k] = s->layout->segment[i].offset;
    ck_assert(at[0] != SIZE_MAX && at[1] != SIZE_MAX);
    float *number[NUMBERS];
    for (int i = 0; i < NUMBERS; i++)
        number[i] = s->state + (i < WEIGHTS ? at[0] + (size_t)i : at[1] + (size_t)(i - WEIGHTS));
    for (int i = 0; i < NUMBERS; i++) /* larger than a fresh model's, so that sizes matter */
        start[i] = w[i] = (double)(*number[i] = 0.1f * (float)((7 * i) % 11 - 5));
    ck_ok(lmb_trainer_run(t, &watch, &err));
    for (int k = 0; k < HAND_STEPS; k++)
        ck_assert_double_eq_tol(loss[k], step_by_hand(w, ways[_i].rho, ways[_i].adaptive, ways[_i].all), 1e-5);
    for (int i = 0; i < NUMBERS; i++)
        ck_assert_double_eq_tol(*number[i], w[i], 1e-5);
    if (_i) { /* or the test is blind */
        double far = 0;
        for (int k = 0; k < HAND_STEPS; k++)
            step_by_hand(start, 0, false, ways[_i].all);
        for (int i = 0; i < NUMBERS; i++)
            far = fmax(far, fabs(start[i] - w[i]));
        ck_assert_double_gt(far, 1e-2);
    }
    lmb_trainer_destroy(t);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(d);
    lmb_config_destroy(c);
}
END_TEST

/* ---- as PyTorch ---- */

static void golden_sample(int64_t i, uint8_t *x, int32_t *y)
{
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, 0, (uint32_t)i), l = lmb_rand_at(3, LMB_RAND_TEST, 1000, (uint32_t)i);
    for (uint32_t k = 0; k < 3 * 32 * 32; k++)
        x[k] = (uint8_t)lmb_rand_below(&r, k, 256);
    *y = (int32_t)lmb_rand_below(&l, 0, 10);
}

static const struct { const char *sam; const double *losses, *means, *head; } golden[] = {
    { "{}", golden_none_losses, golden_none_means, golden_none_head },
    { "{rho: 0.1}", golden_sam_losses, golden_sam_means, golden_sam_head },
    { "{rho: 1, adaptive: true}", golden_asam_losses, golden_asam_means, golden_asam_head },
};

static const float *numbers(const lmb_trainer_state *s, lmb_role role, size_t count)
{
    for (int i = 0; i < s->layout->n; i++)
        if (s->layout->segment[i].role == role && s->layout->segment[i].count == count)
            return s->state + s->layout->segment[i].offset;
    ck_abort_msg("there are no %zu numbers of that role", count);
    return NULL;
}

START_TEST(as_pytorch)
{
    char text[300];
    double loss[5], smoothing = 0;
    lmb_loss cross = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_watch watch = { .epoch = note_loss, .ctx = loss };
    lmb_config *c;
    lmb_trainer *t;

    snprintf(text, sizeof text,
             "{epochs: 5, batch: 8, shard: 8, threads: 1, lr: 0.05, clip: 2, backend: portable, sam: %s, optimizer: "
             "{name: sgd, momentum: 0.9, nesterov: true, weight_decay: 5.0e-3}}",
             golden[_i].sam);
    const lmb_train_config o = settings(text, &c);
    lmb_dataset *d = in_memory(8, LMB_SHAPE(3, 32, 32), 10, golden_sample);
    lmb_graph *model = model_of("{name: resnet, depth: 8, width: 16, mean: 127.5, scale: 0.0157}", d, 3);
    ck_ok(lmb_trainer_create(&o, model, &cross, d, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, &watch, &err));
    for (int k = 0; k < 5; k++)
        ck_assert_msg(fabs(loss[k] - golden[_i].losses[k]) <= 1e-4 * golden[_i].losses[k],
                      "%s, step %d: loss %.9g, PyTorch has %.9g", golden[_i].sam, k, loss[k], golden[_i].losses[k]);
    const lmb_trainer_state *s = lmb_trainer_state_of(t);
    const float *mean = numbers(s, LMB_ROLE_STATISTIC, 16), *head = numbers(s, LMB_ROLE_PARAMETER, 640);
    for (int i = 0; i < 16; i++) {
        ck_assert_double_eq_tol(mean[i], golden[_i].means[i], 2e-5);
        ck_assert_double_eq_tol(head[i], golden[_i].head[i], 2e-5);
    }
    lmb_trainer_destroy(t);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(d);
    lmb_config_destroy(c);
}
END_TEST

/* ---- bits ---- */

typedef struct run { lmb_config *c; lmb_train_config o; lmb_dataset *d; lmb_graph *model; lmb_trainer *t; } run;

static run begin(const char *text)
{
    static double smoothing = 0.1;
    lmb_loss cross = { lmb_loss_cross_entropy, &smoothing };
    run r;
    r.o = settings(text, &r.c);
    r.d = dataset_of("{name: synthetic, train: 141, classes: 4, height: 8, width: 8, noise: 0.4}", LMB_PART_TRAIN);
    r.model = model_of("{name: vgg, channels: [8, 0, 12], dropout: 0.3}", r.d, 5);
    ck_ok(lmb_trainer_create(&r.o, r.model, &cross, r.d, NULL, NULL, &r.t, &err));
    return r;
}

static void end(run *r)
{
    lmb_trainer_destroy(r->t);
    lmb_graph_destroy(r->model);
    lmb_dataset_destroy(r->d);
    lmb_config_destroy(r->c);
}

static const char much[] = "{epochs: 2, batch: 64, shard: 16, threads: %d, lr: 0.05, clip: 0.5, ema: 0.9, sam: {rho: "
                           "%s}, augment: {crop: 1, flip: true}}";

START_TEST(the_same_bits_on_any_number_of_threads)
{
    char text[300];
    float *first = NULL;
    for (int threads = 1; threads <= 4; threads *= 2) {
        snprintf(text, sizeof text, much, threads, "0.05");
        run r = begin(text);
        ck_ok(lmb_trainer_run(r.t, NULL, &err));
        const lmb_trainer_state *s = lmb_trainer_state_of(r.t);
        size_t bytes = s->layout->count * sizeof *first;
        if (!first)
            first = memcpy(malloc(bytes), s->ema, bytes);
        ck_assert_mem_eq(first, s->ema, bytes);
        end(&r);
    }
    snprintf(text, sizeof text, much, 1, "0.06");
    run r = begin(text);
    ck_ok(lmb_trainer_run(r.t, NULL, &err));
    const lmb_trainer_state *s = lmb_trainer_state_of(r.t);
    ck_assert_int_ne(memcmp(first, s->ema, s->layout->count * sizeof *first), 0);
    end(&r);
    free(first);
}
END_TEST

static bool stop_at_once(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy,
                         double rate)
{
    (void)ctx, (void)epoch, (void)batch, (void)batches, (void)loss, (void)accuracy, (void)rate;
    return false;
}

/* Long enough that the step is reported. */
static lmb_status dawdle(void *ctx, lmb_trainer *t, lmb_error *e)
{
    (void)ctx, (void)t, (void)e;
    nanosleep(&(struct timespec){ 0, 150000000 }, NULL);
    return LMB_OK;
}

/* Stopped after a step; a new trainer goes on, as after a crash. */
START_TEST(stopped_and_gone_on_is_the_same_run)
{
    char text[300];
    lmb_train_watch watch = { .step = stop_at_once, .stepped = dawdle };
    snprintf(text, sizeof text, much, 1, "0.05");
    run whole = begin(text), part = begin(text), rest = begin(text);
    lmb_trainer_state *w = lmb_trainer_state_of(whole.t), *a = lmb_trainer_state_of(part.t),
                      *b = lmb_trainer_state_of(rest.t);
    size_t bytes = w->layout->count * sizeof *w->state;
    ck_ok(lmb_trainer_run(whole.t, NULL, &err));
    lmb_error stopped = LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_trainer_run(part.t, &watch, &stopped), LMB_E_STOPPED);
    ck_assert_int_eq(a->step, 1);
    ck_assert_int_eq(w->step, 6);
    memcpy(b->state, a->state, bytes);
    memcpy(b->ema, a->ema, bytes);
    memcpy(b->slot[0], a->slot[0], bytes);
    b->epoch = a->epoch, b->batch = a->batch, b->step = a->step;
    b->loss_sum = a->loss_sum, b->correct = a->correct, b->seen = a->seen;
    ck_ok(lmb_trainer_run(rest.t, NULL, &err));
    ck_assert_mem_eq(b->state, w->state, bytes);
    ck_assert_mem_eq(b->ema, w->ema, bytes);
    end(&whole);
    end(&part);
    end(&rest);
}
END_TEST

/* Samples so large that weights of 0 bear them, and not those uphill. */
START_TEST(a_step_that_fails_moves_nothing)
{
    static const float size = 3e37f;
    double smoothing = 0;
    lmb_loss cross = { lmb_loss_cross_entropy, &smoothing };
    lmb_config *c;
    lmb_dataset *d;
    lmb_trainer *t;
    const lmb_train_config o = settings("{epochs: 2, batch: 6, threads: 1, sam: {rho: 1000}}", &c);
    lmb_dataset_arrays a = { .samples = malloc(ROWS * INPUTS * sizeof size), .labels = malloc(ROWS * sizeof(int32_t)),
                             .n = ROWS, .shape = LMB_SHAPE(1, INPUTS), .dtype = LMB_F32, .classes = CLASSES };

    for (int i = 0; i < ROWS * INPUTS; i++)
        ((float *)a.samples)[i] = i % 5 ? size : -size;
    for (int i = 0; i < ROWS; i++)
        a.labels[i] = i % CLASSES;
    ck_ok(lmb_dataset_memory(&a, "memory", &d, &err));
    lmb_graph *model = model_of("{name: mlp, hidden: [], mean: 0, scale: 1}", d, 7);
    ck_ok(lmb_trainer_create(&o, model, &cross, d, NULL, NULL, &t, &err));
    lmb_trainer_state *s = lmb_trainer_state_of(t);
    memset(s->state, 0, s->layout->count * sizeof *s->state);
    ck_assert_int_eq(lmb_trainer_run(t, NULL, &err), LMB_E_NUMERIC);
    ck_assert_msg(strstr(err.msg, "step 0: the gradient is not finite"), "%s", err.msg);
    for (size_t i = 0; i < s->layout->count; i++)
        ck_assert(s->state[i] == 0);
    ck_assert_double_gt(s->loss_sum, 0); /* the first pass was sound */
    lmb_trainer_destroy(t);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(d);
    lmb_config_destroy(c);
}
END_TEST

static const struct { const char *text, *sentence; } refused[] = {
    { "{threads: 1, sam: {rho: 0.05}, pipeline: {stages: 2}}", "stages of a pipeline take one pass a step" },
    { "{threads: 1, loss_scale: 8, pipeline: {stages: 2}}", "train.loss_scale is 8, and train.pipeline.stages is 2" },
    { "{threads: 1, sam: {adaptive: true}}", "has no effect while train.sam.rho is 0" },
};

START_TEST(what_does_not_go_together_is_refused)
{
    double smoothing = 0;
    lmb_loss cross = { lmb_loss_cross_entropy, &smoothing };
    lmb_config *c;
    lmb_trainer *t;
    const lmb_train_config o = settings(refused[_i].text, &c);
    lmb_dataset *d = in_memory(ROWS, LMB_SHAPE(1, 2, 2), CLASSES, few);
    lmb_graph *model = model_of("{name: mlp, hidden: []}", d, 7);
    ck_assert_int_eq(lmb_trainer_create(&o, model, &cross, d, NULL, NULL, &t, &err), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, refused[_i].sentence), "%s", err.msg);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(d);
    lmb_config_destroy(c);
}
END_TEST

LMB_TEST_MAIN("train/sam", add_loop(as_worked_out_by_hand, 4); add_loop(as_pytorch, 3);
              add(the_same_bits_on_any_number_of_threads); add(stopped_and_gone_on_is_the_same_run);
              add(a_step_that_fails_moves_nothing); add_loop(what_does_not_go_together_is_refused, 3);)
