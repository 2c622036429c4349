/* Mirrors train/sync_norm.c, core/passes/sync_norm.c, core/ops/batch_norm_ranks.c: two and three ranks (threads) that
 * normalise over each other's rows end where one rank ends that has the whole batch, uneven last batch included;
 * without, they do not. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "tests/check_main.h"
#include "tests/comm/thread_ranks.h"
#include "train/model.h"
#include "train/trainer.h"

/* 149 samples in batches of 64: the last one has 21, which two or three ranks share unevenly. */
static const char data_text[] = "{name: synthetic, train: 149, classes: 4, height: 8, width: 8, noise: 0.4}";
static const char model_text[] = "{name: resnet, depth: 8, width: 4}";

typedef struct scene {
    const char *options;
    float *state[MOST_RANKS];
    lmb_status status;
    char msg[480];
    size_t n;
} scene;

static void train(lmb_comm *c, void *ctx)
{
    scene *s = ctx;
    lmb_error err = LMB_ERROR_INIT;
    lmb_config *d, *m, *o;
    double smoothing = 0.1;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_config config;
    lmb_dataset *data;
    lmb_graph *model;
    lmb_trainer *t = NULL;

    ck_ok(lmb_config_parse(data_text, strlen(data_text), "d.yaml", &d, &err));
    ck_ok(lmb_config_parse(model_text, strlen(model_text), "m.yaml", &m, &err));
    ck_ok(lmb_config_parse(s->options, strlen(s->options), "o.yaml", &o, &err));
    ck_ok(lmb_dataset_open(lmb_config_root(d), LMB_PART_TRAIN, &data, &err));
    ck_ok(lmb_model_build(lmb_config_root(m), &data->shape, data->classes, 5, &model, &err));
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(o), &config, &err));
    lmb_status st = lmb_trainer_create(&config, model, &loss, data, NULL, c, &t, &err);
    if (st == LMB_OK)
        st = lmb_trainer_run(t, NULL, &err);
    if (c->rank == 0) {
        s->status = st;
        snprintf(s->msg, sizeof s->msg, "%s", err.msg);
    }
    if (st == LMB_OK) {
        lmb_trainer_state *state = lmb_trainer_state_of(t);
        s->n = state->layout->count;
        s->state[c->rank] = malloc(sizeof(float) * s->n);
        memcpy(s->state[c->rank], state->state, sizeof(float) * s->n);
    }
    lmb_trainer_destroy(t);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
    lmb_config_destroy(d);
    lmb_config_destroy(m);
    lmb_config_destroy(o);
}

static scene run(int ranks, const char *options)
{
    scene s = { .options = options };
    on_threads(ranks, train, &s);
    return s;
}

static void done(scene *s)
{
    for (int r = 0; r < MOST_RANKS; r++)
        free(s->state[r]);
}

static double distance(const scene *a, const scene *b)
{
    double d = 0, size = 0;
    for (size_t i = 0; i < a->n; i++) {
        d = fmax(d, fabs((double)a->state[0][i] - b->state[0][i]));
        size = fmax(size, fabs(a->state[0][i]));
    }
    return d / size;
}

#define FAST                                                                                                           \
    "{epochs: 1, batch: 64, mode: fast, threads: 1, lr: 0.02, reduce: messages, backend: portable, sync_batch_norm: "

START_TEST(ranks_normalise_as_one)
{
    scene whole = run(1, FAST "false}"), alone = run(1, FAST "true}"), apart = run(2, FAST "false}");
    ck_assert_msg(whole.status == LMB_OK && alone.status == LMB_OK && apart.status == LMB_OK, "%s%s", whole.msg,
                  alone.msg);
    ck_assert_double_lt(distance(&whole, &alone), 1e-4);
    double without = distance(&whole, &apart);
    ck_assert_double_gt(without, 1e-3);
    for (int ranks = 2; ranks <= 3; ranks++) {
        scene synced = run(ranks, FAST "true}");
        ck_assert_msg(synced.status == LMB_OK, "%s", synced.msg);
        for (int r = 1; r < ranks; r++)
            ck_assert_mem_eq(synced.state[0], synced.state[r], sizeof(float) * synced.n);
        ck_assert_double_lt(distance(&whole, &synced), 1e-4);
        done(&synced);
    }
    done(&whole);
    done(&alone);
    done(&apart);
}
END_TEST

START_TEST(what_can_not_be_is_refused)
{
    static const struct {
        const char *options, *says;
    } cases[] = {
        { "{epochs: 1, batch: 64, mode: fast, threads: 2, sync_batch_norm: true}",
          "needs one shard on each rank, and there are 2" },
        { "{epochs: 1, batch: 64, shard: 32, sync_batch_norm: true}", "needs one shard on each rank, and there are 2" },
        { "{epochs: 1, batch: 64, shard: 32, threads: 1, pipeline: {stages: 2, microbatches: 1}, sync_batch_norm: "
          "true}",
          "does not go with train.pipeline" },
    };
    scene s = run(1, cases[_i].options);
    ck_assert_int_eq(s.status, LMB_E_ARG);
    ck_assert_msg(strstr(s.msg, cases[_i].says), "%s", s.msg);
}
END_TEST

START_TEST(a_rank_without_rows_is_refused)
{
    scene s = run(2, "{epochs: 1, batch: 148, mode: fast, threads: 1, reduce: messages, sync_batch_norm: true}");
    ck_assert_int_eq(s.status, LMB_E_ARG);
    ck_assert_msg(strstr(s.msg, "last batch of an epoch has 1 samples, which leaves one of 2 ranks without"), "%s",
                  s.msg);
}
END_TEST

LMB_TEST_MAIN("train/sync_norm", add(ranks_normalise_as_one); add_loop(what_can_not_be_is_refused, 3);
              add(a_rank_without_rows_is_refused);)
