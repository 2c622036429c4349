/* Mirrors train/memory.c: what was shown last is in the ring and nothing else is, however a batch is cut into shards; a
 * memory smaller than a batch is refused. Gradients of the loss that reads it: tests/train/test_heads.c. */
#include "train/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "core/graph/state.h"
#include "tests/train/from_text.h"
#include "train/lesson.h"
#include "train/trainer.h"

enum { SLOTS = 24, WIDTH = 5 };
static lmb_error err;
static lmb_dataset *data;
static lmb_graph *student, *teacher, *taught;
static lmb_config *losses;
static lmb_objective o;

static void begin(const char *terms)
{
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 40, classes: 3, height: 6, width: 6}", LMB_PART_TRAIN);
    student = model_of("{name: mlp, hidden: [32], mean: 120, scale: 0.02}", data, 1);
    teacher = model_of("{name: mlp, hidden: [40], mean: 120, scale: 0.02}", data, 2);
    losses = config_of(terms);
    o = (lmb_objective){ .distill = { .alpha = 1, .temperature = 2, .losses = lmb_config_root(losses) },
                         .teacher = teacher };
}

static void end(void)
{
    lmb_graph_destroy(student);
    lmb_graph_destroy(teacher);
    lmb_graph_destroy(taught);
    lmb_config_destroy(losses);
    lmb_dataset_destroy(data);
    student = teacher = taught = NULL;
}

/* The state of `taught` after some steps in shards of `shard` rows. */
static lmb_status run(int shard, int epochs, double lr, lmb_graph *g)
{
    char text[200];
    snprintf(text, sizeof text, "{epochs: %d, batch: 16, shard: %d, lr: %g, threads: 1}", epochs, shard, lr);
    lmb_config *c = config_of(text);
    lmb_train_config tc;
    lmb_loss loss = lmb_objective_loss(&o);
    lmb_trainer *t = NULL;

    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &tc, &err));
    lmb_status st = lmb_trainer_create(&tc, g, &loss, data, NULL, NULL, &t, &err);
    if (st == LMB_OK)
        st = lmb_trainer_run(t, NULL, &err);
    if (st == LMB_OK)
        st = lmb_trainer_store(t, g, &err);
    lmb_trainer_destroy(t);
    lmb_config_destroy(c);
    return st;
}

static const float *state(const lmb_graph *g, const char *name)
{
    lmb_vid v = lmb_graph_find(g, name);
    ck_assert_int_ne(v, LMB_NONE);
    return g->value[v].data;
}

static bool is_unit(const float *row)
{
    double s = 0;
    for (int k = 0; k < WIDTH; k++)
        s += (double)row[k] * (double)row[k];
    return fabs(s - 1) < 1e-4;
}

/* An epoch is 40 rows in batches of 16, 16 and 8. The last batch is in the fresh rows, at slots 32 .. 39 modulo 24;
 * the one before in the ring at 16 .. 31 modulo 24; of the first one only slots 8 .. 15 are left. */
START_TEST(the_ring_has_what_was_shown_last)
{
    static const char *const names[] = { "limbeck.memory0.fresh", "limbeck.memory1.fresh" };
    char ring[40];

    begin("[{name: contrastive, width: 5, memory: 24}]");
    ck_ok(lmb_objective_bind(&o, &err));
    ck_ok(lmb_objective_prepare(&o, student, 7, &taught, &err));
    for (int of = 0; of < 2; of++)
        for (int i = 0; i < SLOTS; i++)
            ck_assert(is_unit(state(taught, of ? "limbeck.memory1.rows" : "limbeck.memory0.rows") + i * WIDTH));
    float first[2][SLOTS * WIDTH];
    for (int of = 0; of < 2; of++)
        memcpy(first[of], state(taught, of ? "limbeck.memory1.rows" : "limbeck.memory0.rows"), sizeof first[of]);
    ck_ok(run(16, 1, 0.05, taught));
    bool met[40] = { false };
    for (int i = 0; i < SLOTS; i++) { /* no sample twice in one epoch */
        float fresh = state(taught, "limbeck.memory.fresh_samples")[i];
        int sample = (int)(fresh > 0 ? fresh : state(taught, "limbeck.memory.samples")[i]) - 1;
        ck_assert((fresh > 0) == (i >= 8 && i < 16));
        ck_assert(sample >= 0 && sample < 40 && !met[sample]);
        met[sample] = true;
    }
    for (int of = 0; of < 2; of++) {
        snprintf(ring, sizeof ring, "limbeck.memory%d.rows", of);
        for (int i = 0; i < SLOTS; i++) {
            const float *fresh = state(taught, names[of]) + i * WIDTH, *row = state(taught, ring) + i * WIDTH;
            bool is_fresh = i >= 8 && i < 16;
            ck_assert_msg(is_unit(row), "memory %d, row %d", of, i);
            /* 32 rows were put into 24 slots */
            ck_assert(memcmp(row, first[of] + i * WIDTH, sizeof *row * WIDTH) != 0);
            if (is_fresh)
                ck_assert_msg(is_unit(fresh), "memory %d, fresh row %d", of, i);
            for (int k = 0; k < WIDTH && !is_fresh; k++)
                ck_assert(fresh[k] == -2);
        }
    }
    end();
}
END_TEST

/* Who has which row changes nothing: with a rate that moves no weight, the rings are the same. */
START_TEST(shards_do_not_matter)
{
    lmb_graph *other;

    begin("[{name: contrastive, width: 5, memory: 24}]");
    ck_ok(lmb_objective_bind(&o, &err));
    ck_ok(lmb_objective_prepare(&o, student, 7, &taught, &err));
    ck_ok(lmb_graph_copy(taught, &other, &err));
    ck_ok(run(16, 2, 1e-30, taught));
    ck_ok(run(4, 2, 1e-30, other));
    for (int of = 0; of < 2; of++) {
        const char *ring = of ? "limbeck.memory1.rows" : "limbeck.memory0.rows";
        const float *a = state(taught, ring), *b = state(other, ring);
        for (int i = 0; i < SLOTS * WIDTH; i++)
            ck_assert_float_eq_tol(a[i], b[i], 1e-5f);
    }
    ck_assert_mem_eq(state(taught, "limbeck.memory.samples"), state(other, "limbeck.memory.samples"),
                     sizeof(float) * SLOTS);
    lmb_graph_destroy(other);
    end();
}
END_TEST

START_TEST(slots_follow_the_samples)
{
    float where[3 * SLOTS];
    const uint32_t sample[] = { 7, 0, 39 };
    lmb_step_info info = { 1, 0, sample };
    lmb_place p = { 16, 4, 16 };

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_memory_where(&info, &p, 3, SLOTS, where, &err));
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < SLOTS; k++)
            ck_assert(where[i * SLOTS + k] == (k == (20 + i) % SLOTS ? (float)sample[i] + 1 : 0));
    p = (lmb_place){ 22, 0, 0 };
    info.sample = NULL;
    ck_ok(lmb_memory_where(&info, &p, 3, SLOTS, where, &err));
    ck_assert(where[22] == 1 && where[SLOTS + 23] == 2 && where[2 * SLOTS + 0] == 3);
    p.rows = SLOTS + 1;
    ck_assert_int_eq(lmb_memory_where(&info, &p, 3, SLOTS, where, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "more than a batch"));
}
END_TEST

START_TEST(refusals)
{
    begin("[{name: contrastive, width: 5, memory: 8}]");
    ck_ok(lmb_objective_bind(&o, &err));
    ck_ok(lmb_objective_prepare(&o, student, 7, &taught, &err));
    ck_assert_int_eq(run(16, 1, 0.05, taught), LMB_E_ARG); /* batches of 16 */
    ck_assert_ptr_nonnull(strstr(err.msg, "has 8 rows and a batch 16"));
    end();
    begin("[{name: contrastive, memory: 30}, {name: contrastive, memory: 30}]");
    ck_assert_int_eq(lmb_objective_bind(&o, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "two losses with a memory"));
    end();
}
END_TEST

LMB_TEST_MAIN("train/memory", add(the_ring_has_what_was_shown_last); add(shards_do_not_matter);
              add(slots_follow_the_samples); add(refusals);)
