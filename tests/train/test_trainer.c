/* Mirrors train/trainer.c: learning, determinism over threads and accumulation, stopping and going on. */
#include "train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/check_main.h"
#include "tests/train/from_text.h"

static lmb_error err;
static lmb_dataset *data;
static lmb_graph *model;

static void set_up(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 300, classes: 4, height: 8, width: 8, noise: 0.4}", LMB_PART_TRAIN);
    model = model_of("{name: vgg, channels: [8, 0, 12], dropout: 0.1}", data, 5);
}

static void tear_down(void)
{
    lmb_dataset_destroy(data);
    lmb_graph_destroy(model);
}

static bool stop_at(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    (void)batches, (void)loss, (void)accuracy, (void)rate;
    const int64_t *at = ctx;
    return !(epoch == at[0] && batch >= at[1]);
}

/* Train with `text` settings and return the final state (malloc'd). */
static float *train(const char *text, double *accuracy, size_t *n)
{
    lmb_config *c = config_of(text);
    lmb_train_config o;
    lmb_trainer *t;
    double smoothing = 0.1;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_metrics m;
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &o, &err));
    ck_ok(lmb_trainer_create(&o, model, &loss, data, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, NULL, &err));
    lmb_trainer_state *s = lmb_trainer_state_of(t);
    float *copy = malloc(sizeof *copy * s->layout->count);
    memcpy(copy, s->state, sizeof *copy * s->layout->count);
    *n = s->layout->count;
    ck_ok(lmb_metrics_init(&m, data->classes, &err));
    bool *right = calloc((size_t)data->n, sizeof *right);
    int64_t n_right = 0;
    ck_ok(lmb_evaluate_each(model, s->state, data, "cpu", 2, &m, right, &err));
    *accuracy = lmb_metrics_accuracy(&m);
    for (int64_t i = 0; i < data->n; i++)
        n_right += right[i];
    ck_assert_double_eq_tol(*accuracy, (double)n_right / (double)data->n, 1e-12);
    free(right);
    lmb_metrics_deinit(&m);
    lmb_trainer_destroy(t);
    lmb_config_destroy(c);
    return copy;
}

START_TEST(it_learns)
{
    double a;
    size_t n;
    set_up();
    free(train("{epochs: 10, batch: 32, lr: 0.1, threads: 1, schedule: cosine, augment: {crop: 1}}", &a, &n));
    ck_assert_double_gt(a, 0.9);
    tear_down();
}
END_TEST

/* 300 = 2 x 128 + 44: the last batch has two of four shards, one of them short. */
START_TEST(the_same_bits_on_any_number_of_threads)
{
    double a, b;
    size_t n;
    set_up();
    float *one = train("{epochs: 2, batch: 128, lr: 0.05, threads: 1, ema: 0.9}", &a, &n);
    float *two = train("{epochs: 2, batch: 128, lr: 0.05, threads: 2, ema: 0.9}", &b, &n);
    float *four = train("{epochs: 2, batch: 128, lr: 0.05, threads: 4, ema: 0.9}", &b, &n);
    ck_assert_mem_eq(one, two, n * sizeof *one);
    ck_assert_mem_eq(one, four, n * sizeof *one);
    free(one);
    free(two);
    free(four);
    tear_down();
}
END_TEST

/* Full layers so large that shards leave their gradients as what they are products of: in slots of a tree of 1, 2, 3
 * and more. */
START_TEST(full_layers_have_the_same_bits_and_the_sums_of_whole_gradients)
{
    double a, b;
    size_t n, m;
    set_up();
    lmb_graph_destroy(model);
    model = model_of("{name: mlp, hidden: [320, 260]}", data, 5);
    float *one = train("{epochs: 2, batch: 150, shard: 16, lr: 0.05, threads: 1}", &a, &n);
    float *three = train("{epochs: 2, batch: 150, shard: 16, lr: 0.05, threads: 3}", &b, &n);
    ck_assert_mem_eq(one, three, n * sizeof *one);
    float *whole =
        train("{epochs: 2, batch: 150, shard: 150, lr: 0.05, threads: 1}", &b, &m); /* one shard: a gradient as ever */
    ck_assert_uint_eq(n, m);
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        ck_assert_float_eq_tol(one[i], whole[i], 1e-4);
        largest = largest > fabsf(whole[i]) ? largest : fabsf(whole[i]);
    }
    ck_assert_double_gt(largest, 0.05);
    free(one);
    free(three);
    free(whole);
    tear_down();
}
END_TEST

/* Both backends give the same run within f32 tolerance. */
START_TEST(portable_and_onednn_agree)
{
    double a, b;
    size_t n;
    set_up();
    float *fast = train("{epochs: 1, batch: 64, lr: 0.02, threads: 1, backend: cpu}", &a, &n);
    float *plain = train("{epochs: 1, batch: 64, lr: 0.02, threads: 1, backend: portable}", &b, &n);
    for (size_t i = 0; i < n; i++)
        ck_assert_float_eq_tol(fast[i], plain[i], 2e-4);
    free(fast);
    free(plain);
    tear_down();
}
END_TEST

/* A rank whose peer does just what it does. */
static lmb_status twin_exchange(lmb_comm *c, const void *send, int to, void *recv, int from, size_t n, lmb_error *e)
{
    (void)c, (void)to, (void)e;
    if (from >= 0)
        memcpy(recv, send, n);
    return LMB_OK;
}

static lmb_status twin_broadcast(lmb_comm *c, void *p, size_t n, int root, lmb_error *e)
{
    (void)c, (void)p, (void)n, (void)root, (void)e;
    return LMB_OK;
}

static lmb_status twin_gather(lmb_comm *c, const void *mine, void *all, size_t n, lmb_error *e)
{
    (void)c, (void)e;
    memcpy(all, mine, n);
    memcpy((char *)all + n, mine, n);
    return LMB_OK;
}

static bool stop_once(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy,
                      double rate)
{
    int *calls = ctx;
    (void)epoch, (void)batch, (void)batches, (void)loss, (void)accuracy, (void)rate;
    return (*calls)++ > 0;
}

/* Long enough that the step is reported. */
static lmb_status dawdle(void *ctx, lmb_trainer *t, lmb_error *e)
{
    const int *calls = ctx;
    (void)t, (void)e;
    if (*calls == 0)
        nanosleep(&(struct timespec){ 0, 150000000 }, NULL);
    return LMB_OK;
}

START_TEST(ranks_stop_at_the_end_of_an_epoch_in_which_they_were_asked_to)
{
    lmb_comm twins = { 0, 2, "twins", twin_exchange, twin_broadcast, twin_gather, NULL, NULL, true, NULL, NULL };
    lmb_train_config o;
    lmb_trainer *t;
    double smoothing = 0;
    int calls = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_watch watch = { .step = stop_once, .ctx = &calls, .stepped = dawdle };

    set_up();
    lmb_config *c = config_of("{epochs: 2, batch: 16, shard: 8, lr: 0.001, threads: 1}");
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &o, &err));
    ck_ok(lmb_trainer_create(&o, model, &loss, data, NULL, &twins, &t, &err));
    ck_assert_int_eq(lmb_trainer_run(t, &watch, &err), LMB_E_STOPPED);
    ck_assert_int_eq(lmb_trainer_state_of(t)->epoch, 1);
    ck_assert_int_ge(calls, 2);
    lmb_trainer_destroy(t);
    lmb_config_destroy(c);
    tear_down();
}
END_TEST

START_TEST(stopped_and_gone_on_is_the_same_run)
{
    double a;
    size_t n;
    lmb_train_config o;
    lmb_trainer *t;
    double smoothing = 0.1;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    const char *text = "{epochs: 3, batch: 16, lr: 0.05, threads: 1, ema: 0.9, optimizer: adam}";
    int64_t at[2] = { 0, 0 };
    set_up();
    float *whole = train(text, &a, &n);
    lmb_config *c = config_of(text);
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &o, &err));
    lmb_train_watch watch = { stop_at, NULL, at };
    lmb_trainer_state kept = { 0 };
    for (int turn = 0; turn < 200; turn++) { /* a new trainer each time, as after a crash */
        ck_ok(lmb_trainer_create(&o, model, &loss, data, NULL, NULL, &t, &err));
        lmb_trainer_state *s = lmb_trainer_state_of(t);
        if (turn) {
            float *v[4] = { s->state, s->ema, s->slot[0], s->slot[1] },
                  *from[4] = { kept.state, kept.ema, kept.slot[0], kept.slot[1] };
            for (int k = 0; k < 4; k++) {
                memcpy(v[k], from[k], n * sizeof *whole);
                free(from[k]);
            }
            s->epoch = kept.epoch, s->batch = kept.batch, s->step = kept.step;
            s->loss_sum = kept.loss_sum, s->correct = kept.correct, s->seen = kept.seen;
        }
        at[0] = s->epoch;
        at[1] = s->batch + 7;
        lmb_error local = LMB_ERROR_INIT;
        lmb_status st = lmb_trainer_run(t, &watch, &local);
        if (st == LMB_OK) {
            ck_assert_mem_eq(s->state, whole, n * sizeof *whole);
            lmb_trainer_destroy(t);
            break;
        }
        ck_assert_int_eq(st, LMB_E_STOPPED);
        kept = *s;
        float **to[4] = { &kept.state, &kept.ema, &kept.slot[0], &kept.slot[1] };
        for (int k = 0; k < 4; k++) {
            float *copy = malloc(n * sizeof *copy);
            memcpy(copy, *to[k], n * sizeof *copy);
            *to[k] = copy;
        }
        lmb_trainer_destroy(t);
        ck_assert_int_lt(turn, 199);
    }
    free(whole);
    lmb_config_destroy(c);
    tear_down();
}
END_TEST

/* Clear the first number of every parameter, and its average. */
typedef struct clearing { int64_t steps; } clearing;
static lmb_status clear_firsts(void *ctx, lmb_trainer *t, lmb_error *e)
{
    lmb_trainer_state *s = lmb_trainer_state_of(t);
    clearing *c = ctx;
    if (s->step != ++c->steps)
        return LMB_FAIL(e, LMB_E_ARG, "called %lld times after %lld steps", (long long)c->steps, (long long)s->step);
    for (int i = 0; i < s->layout->n; i++)
        if (s->layout->segment[i].role == LMB_ROLE_PARAMETER)
            s->state[s->layout->segment[i].offset] = s->ema[s->layout->segment[i].offset] = 0;
    return LMB_OK;
}

START_TEST(a_hand_in_every_step)
{
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    clearing c = { 0 };
    lmb_train_watch watch = { .stepped = clear_firsts, .ctx = &c };
    lmb_train_config o;
    lmb_trainer *t;
    set_up();
    lmb_config *text = config_of("{epochs: 2, batch: 64, lr: 0.05, threads: 1, ema: 0.9}");
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(text), &o, &err));
    ck_ok(lmb_trainer_create(&o, model, &loss, data, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, &watch, &err));
    ck_assert_int_eq(c.steps, 2 * 5);
    const lmb_trainer_state *s = lmb_trainer_state_of(t);
    for (int i = 0; i < s->layout->n; i++) {
        const lmb_segment *g = &s->layout->segment[i];
        bool weight = g->role == LMB_ROLE_PARAMETER;
        ck_assert(!weight ||
                  (s->state[g->offset] == 0 && s->ema[g->offset] == 0 && s->state[g->offset + g->count - 1] != 0));
    }
    lmb_trainer_destroy(t);
    lmb_config_destroy(text);
    tear_down();
}
END_TEST

/* A trainer that has trained something else leaves no trace in the training after it. */
START_TEST(begun_again_is_a_new_training)
{
    double smoothing = 0.1, a;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_config o;
    lmb_trainer *t;
    lmb_dataset *part;
    uint32_t some[77];
    size_t n;
    set_up();
    lmb_config *text = config_of("{epochs: 2, batch: 32, lr: 0.2, threads: 1, ema: 0.9, seed: 9, optimizer: adam}");
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(text), &o, &err));
    for (uint32_t i = 0; i < 77; i++)
        some[i] = 3 * i;
    ck_ok(lmb_dataset_subset(data, some, 77, &part, &err));
    ck_ok(lmb_trainer_create(&o, model, &loss, part, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, NULL, &err));
    float *fresh = train("{epochs: 2, batch: 32, lr: 0.05, threads: 1, ema: 0.9, seed: 4, optimizer: adam}", &a, &n);
    ck_assert_mem_ne(lmb_trainer_state_of(t)->state, fresh, n * sizeof *fresh);
    ck_ok(lmb_trainer_restart(t, data, 4, 0.05, &err));
    ck_ok(lmb_trainer_run(t, NULL, &err));
    ck_assert_mem_eq(lmb_trainer_state_of(t)->state, fresh, n * sizeof *fresh);
    free(fresh);
    lmb_trainer_destroy(t);
    lmb_dataset_destroy(part);
    lmb_config_destroy(text);
    text = config_of("{batch: 64, shard: 16, threads: 1}"); /* 4 shards of 64 samples are not 1 of 10 */
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(text), &o, &err));
    ck_ok(lmb_trainer_create(&o, model, &loss, data, NULL, NULL, &t, &err));
    ck_ok(lmb_dataset_subset(data, some, 10, &part, &err));
    ck_assert_int_eq(lmb_trainer_restart(t, part, 4, 0.05, &err), LMB_E_ARG);
    lmb_trainer_destroy(t);
    lmb_dataset_destroy(part);
    lmb_config_destroy(text);
    tear_down();
}
END_TEST

/* One step of plain SGD: what is added to the gradient moves the weights by rate times that, and nothing else moves. */
START_TEST(terms_are_added_to_gradients)
{
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_config o;
    lmb_trainer *t[2];
    set_up();
    lmb_config *text = config_of("{epochs: 1, batch: 300, shard: 300, lr: 0.5, threads: 1, optimizer: sgd}");
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(text), &o, &err));
    for (int k = 0; k < 2; k++)
        ck_ok(lmb_trainer_create(&o, model, &loss, data, NULL, NULL, &t[k], &err));
    const lmb_trainer_state *a = lmb_trainer_state_of(t[0]), *b = lmb_trainer_state_of(t[1]);
    size_t n = a->layout->count;
    float *begin = malloc(n * sizeof *begin), *anchor = malloc(n * sizeof *anchor), *shift = malloc(n * sizeof *shift);
    for (size_t i = 0; i < n; i++) {
        begin[i] = a->state[i];
        anchor[i] = 0.01f * (float)(i % 7);
        shift[i] = 0.02f * (float)(i % 5);
    }
    lmb_trainer_terms(t[1], &(lmb_gradient_terms){ 0.1, anchor, shift });
    for (int k = 0; k < 2; k++)
        ck_ok(lmb_trainer_run(t[k], NULL, &err));
    for (int i = 0; i < a->layout->n; i++) {
        const lmb_segment *s = &a->layout->segment[i];
        for (size_t k = s->offset; k < s->offset + s->count; k++)
            ck_assert_float_eq_tol(b->state[k],
                                   s->role != LMB_ROLE_PARAMETER
                                       ? a->state[k]
                                       : a->state[k] - 0.5f * (0.1f * (begin[k] - anchor[k]) + shift[k]),
                                   1e-5);
    }
    free(begin);
    free(anchor);
    free(shift);
    lmb_trainer_destroy(t[0]);
    lmb_trainer_destroy(t[1]);
    lmb_config_destroy(text);
    tear_down();
}
END_TEST

LMB_TEST_MAIN("train/trainer", add(it_learns); add(the_same_bits_on_any_number_of_threads);
              add(full_layers_have_the_same_bits_and_the_sums_of_whole_gradients); add(portable_and_onednn_agree);
              add(stopped_and_gone_on_is_the_same_run);
              add(ranks_stop_at_the_end_of_an_epoch_in_which_they_were_asked_to); add(a_hand_in_every_step);
              add(begun_again_is_a_new_training); add(terms_are_added_to_gradients);)
