/* Mirrors train/program.c: what is told to be final is final; an answer depends on its sample and the state alone. */
#include "train/predictor.h"
#include "train/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/random.h"
#include "core/cpu/cpu.h"
#include "tests/check_main.h"
#include "train/model.h"

static lmb_error err;

/* ---- the end of the vector is final before the rest ---- */

enum { ROWS = 6, NUMBERS = 3 * 8 * 8 };

typedef struct told {
    const lmb_state_layout *layout;
    const float *out;
    float *copy;     /* the vector as it was when it was told to be final */
    int first, calls;
} told;

static void on_final(void *ctx, int first)
{
    told *t = ctx;
    ck_assert_int_lt(first, t->first);
    size_t lo = t->layout->segment[first].offset;
    size_t hi = t->first == t->layout->n ? t->layout->count : t->layout->segment[t->first].offset;
    memcpy(t->copy + lo, t->out + lo, (hi - lo) * sizeof *t->out);
    t->first = first;
    t->calls++;
}

START_TEST(what_is_told_to_be_final_is)
{
    static const char *const names[] = { "cpu", "portable", "reference" };
    const lmb_shape shape = LMB_SHAPE(3, 8, 8);
    const char *text = "{name: resnet, depth: 8, width: 4}";
    const lmb_backend *backends[3];
    lmb_rand rand = lmb_rand_at(3, LMB_RAND_TEST, 0, 0);
    double smoothing = 0.1;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    static float x[ROWS * NUMBERS];
    static const int64_t y[ROWS] = { 0, 1, 2, 3, 0, 1 };
    static const uint32_t sample[ROWS] = { 5, 4, 3, 2, 1, 0 };
    lmb_step_info info = { 1, 0, sample };
    lmb_config *c;
    lmb_graph *model;
    lmb_program *p;

    err = (lmb_error)LMB_ERROR_INIT;
    for (uint32_t i = 0; i < ROWS * NUMBERS; i++)
        x[i] = lmb_rand_normal(&rand, i);
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", &c, &err));
    ck_ok(lmb_model_build(lmb_config_root(c), &shape, 4, 5, &model, &err));
    ck_ok(lmb_cpu_backends(names[_i], backends, &err));
    ck_ok(lmb_program_create(model, &loss, backends, &p, &err));
    const lmb_state_layout *l = lmb_program_layout(p);
    float *state = malloc(sizeof *state * l->count), *out = malloc(sizeof *out * l->count);
    told t = { l, out, malloc(sizeof *out * l->count), 0, 0 };
    lmb_state_from_graph(l, model, state);
    for (int64_t rows = ROWS; rows > ROWS - 2; rows--)
        for (int again = 0; again < 2; again++) {
            lmb_program_step s = {
                .n = rows, .x = x, .y = y, .state = state, .out = out, .info = &info, .final = on_final, .ctx = &t
            };
            t.first = l->n;
            t.calls = 0;
            memset(t.copy, 0x55, sizeof *out * l->count);
            ck_ok(lmb_program_run(p, &s, &err));
            ck_assert_mem_eq(t.copy, out, sizeof *out * l->count);
            ck_assert_int_eq(t.first, 0);
            ck_assert_int_gt(t.calls, 5); /* not all at the end: this is what overlap lives on */
        }
    free(state);
    free(out);
    free(t.copy);
    lmb_program_destroy(p);
    lmb_graph_destroy(model);
    lmb_config_destroy(c);
}
END_TEST

/* ---- observers ---- */

/* logits = FakeQuant of x [2, 2] over the observed range [-1, 3]. */
static lmb_graph *observed(void)
{
    const float lo = -1, hi = 3;
    lmb_vid range[2], q[2];
    lmb_graph *g;

    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(2, 2), NULL);
    lmb_vid old[2] = { lmb_emit_value(&b, LMB_ROLE_OBSERVER, "a.min", LMB_F32, (lmb_shape){ 0 }, &lo),
                       lmb_emit_value(&b, LMB_ROLE_OBSERVER, "a.max", LMB_F32, (lmb_shape){ 0 }, &hi) };
    lmb_emit_n(&b, "ObserveRange", "observe", LMB_IN(x, old[0], old[1]), LMB_ATTRS(LMB_AREAL("momentum", 0.5f)), range,
               2);
    lmb_emit_n(&b, "RangeToScale", "scale", LMB_IN(range[0], range[1]), LMB_NO_ATTRS, q, 2);
    lmb_emit_output(
        &b, "logits",
        lmb_emit(&b, "FakeQuant", "q", LMB_IN(x, q[0], q[1]), LMB_ATTRS(LMB_AINT("lo", 0), LMB_AINT("hi", 255))));
    ck_ok(lmb_builder_status(&b));
    for (int i = 0; i < 2; i++)
        g->value[old[i]].next = range[i];
    return g;
}

START_TEST(an_answer_does_not_move_the_observer)
{
    const lmb_backend *backends[3];
    const float x[4] = { 0.5f, 2.9f, 50, -70 }, *logits;
    float state[2] = { -1, 3 }, wide[2] = { -100, 155 };
    lmb_predictor *p;

    err = (lmb_error)LMB_ERROR_INIT;
    lmb_graph *g = observed();
    ck_ok(lmb_cpu_backends("cpu", backends, &err));
    for (int turn = 0; turn < 3; turn++) {
        /* Worked by hand: scale 4 / 255, zero point round(255 / 4) = 64. What is outside is cut off at 0 and 255, that
         * is at -64 and 191 steps. The other row does not change the first, and the first turn not the second. */
        const float step = 4.0f / 255;
        ck_ok(lmb_predictor_create(g, turn ? state : NULL, backends, 2, &p, &err));
        ck_ok(lmb_predictor_run(p, x, 2, &logits, &err));
        ck_assert_float_eq_tol(logits[0], 32 * step, 1e-6f);
        ck_assert_float_eq_tol(logits[1], 185 * step, 1e-6f);
        ck_assert_float_eq_tol(logits[2], 191 * step, 1e-6f);
        ck_assert_float_eq_tol(logits[3], -64 * step, 1e-6f);
        lmb_predictor_destroy(p);
        ck_assert(state[0] == -1 && state[1] == 3);
        ck_assert(*(float *)g->value[1].data == -1 && *(float *)g->value[2].data == 3);
    }
    ck_ok(lmb_predictor_create(g, wide, backends, 2, &p, &err));
    ck_ok(lmb_predictor_run(p, x, 2, &logits, &err)); /* and it is the state's range that counts: steps of 1 */
    ck_assert(logits[0] == 0 && logits[1] == 3 && logits[2] == 50 && logits[3] == -70);
    lmb_predictor_destroy(p);
    lmb_graph_destroy(g);
}
END_TEST

/* ---- less memory, the same bits ---- */

typedef struct made { float *out; size_t n, arena; int again; } made;

/* A step of a model with at most `memory` bytes of feature maps. */
static made step_in(const lmb_graph *model, const lmb_backend *const *backends, size_t memory)
{
    static float x[ROWS * NUMBERS];
    static const int64_t y[ROWS] = { 0, 1, 2, 3, 0, 1 };
    double smoothing = 0.1;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_step_info info = { 1, 0, NULL };
    lmb_rand rand = lmb_rand_at(3, LMB_RAND_TEST, 0, 0);
    const lmb_plan *plan;
    lmb_program *p;
    made m = { 0 };

    for (uint32_t i = 0; i < ROWS * NUMBERS; i++)
        x[i] = lmb_rand_normal(&rand, i);
    ck_ok(lmb_program_create(model, &loss, backends, &p, &err));
    lmb_program_memory(p, memory);
    ck_ok(lmb_program_plan(p, ROWS, false, &plan, &err));
    const lmb_state_layout *l = lmb_program_layout(p);
    float *state = malloc(sizeof *state * l->count);
    m.n = l->count;
    m.out = malloc(sizeof *m.out * l->count);
    lmb_state_from_graph(l, model, state);
    lmb_program_step s = { .n = ROWS, .x = x, .y = y, .state = state, .out = m.out, .info = &info };
    ck_ok(lmb_program_run(p, &s, &err));
    m.arena = lmb_plan_describe(plan).arena_bytes;
    for (int i = 0; i < lmb_plan_steps(plan); i++) {
        lmb_plan_step at = lmb_plan_step_at(plan, i);
        m.again += at.op && strcmp(at.op, "BatchNormApply") == 0;
    }
    free(state);
    lmb_program_destroy(p);
    return m;
}

START_TEST(less_memory_gives_the_same_bits)
{
    static const char *const texts[] = {
        "{name: resnet, depth: 14, width: 8}", "{name: mobilenet_v2, width: 0.25}", "{name: resnet, depth: 8, width: 8}",
        "{name: layers, layers: [{repeat: {times: 4, layers: [{conv: 9}, {conv: 12}]}}, {pool: global}, dense]}", /* 1-D */
    };
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    lmb_graph *model;
    lmb_config *c;

    err = (lmb_error)LMB_ERROR_INIT;
    if (_i < 2)
        ck_ok(lmb_cpu_backends(_i ? "portable" : "cpu", backends, &err));
    else if (lmb_cpu_backends_bf16("cpu", backends, &err) != LMB_OK)
        return; /* a processor without */
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const lmb_shape shape = i == 3 ? LMB_SHAPE(3, 64) : LMB_SHAPE(3, 8, 8);
        ck_ok(lmb_config_parse(texts[i], strlen(texts[i]), "t.yaml", &c, &err));
        ck_ok(lmb_model_build(lmb_config_root(c), &shape, 4, 5, &model, &err));
        made fast = step_in(model, backends, SIZE_MAX), small = step_in(model, backends, 0);
        made fits = step_in(model, backends, fast.arena), limited = step_in(model, backends, fast.arena - 1);
        ck_assert_int_eq(fast.again, 0);
        ck_assert_int_gt(small.again, 2);
        ck_assert_uint_lt(small.arena, fast.arena - fast.arena / 20);
        ck_assert_int_eq(fits.again, 0);
        ck_assert_int_eq(limited.again, small.again);
        ck_assert_mem_eq(fast.out, small.out, fast.n * sizeof *fast.out);
        ck_assert_mem_eq(fast.out, limited.out, fast.n * sizeof *fast.out);
        free(fast.out);
        free(small.out);
        free(fits.out);
        free(limited.out);
        lmb_graph_destroy(model);
        lmb_config_destroy(c);
    }
}
END_TEST

/* ---- a row is a sample ---- */

/* x [1, 6] -> [-1, 3] [-> Dropout] -> [-1, 6] -> Gemm [1, 4] [-> mean over the rows] */
static lmb_graph *of_rows(bool dropout, bool mean)
{
    static const int64_t split[] = { -1, 3 }, whole[] = { -1, 6 };
    float w[6 * 4];
    lmb_graph *g;

    for (int i = 0; i < 24; i++)
        w[i] = (float)i;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 6), NULL);
    lmb_vid v = lmb_emit(&b, "Reshape", "parts", LMB_IN(x, lmb_emit_ints(&b, split, 2)), LMB_NO_ATTRS);
    if (dropout)
        v = lmb_emit(&b, "Dropout", "some", LMB_IN(v, lmb_emit_scalar(&b, 0.5f)), LMB_NO_ATTRS);
    v = lmb_emit(&b, "Reshape", "whole", LMB_IN(v, lmb_emit_ints(&b, whole, 2)), LMB_NO_ATTRS);
    lmb_vid weights = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w", LMB_F32, LMB_SHAPE(6, 4), w);
    v = lmb_emit(&b, "Gemm", "scores", LMB_IN(v, weights), LMB_NO_ATTRS);
    if (mean)
        v = lmb_emit(&b, "ReduceMean", "mean", LMB_IN(v), LMB_ATTRS(LMB_AINTS("axes", 0)));
    lmb_emit_output(&b, "y", v);
    ck_ok(lmb_builder_status(&b));
    return g;
}

static lmb_status planned(const lmb_graph *g, int64_t rows)
{
    double smoothing = 0;
    const lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    const lmb_plan *plan;
    lmb_program *p;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_program_create(g, &loss, NULL, &p, &err));
    lmb_status st = lmb_program_plan(p, rows, false, &plan, &err);
    lmb_program_destroy(p);
    return st;
}

/* One answer for all samples is not read as one for each, nor are more rows dropped from than samples have numbers. */
START_TEST(a_row_is_a_sample)
{
    lmb_graph *plain = of_rows(false, false), *mixed = of_rows(false, true), *dropped = of_rows(true, false);
    lmb_predictor *p;

    ck_ok(planned(plain, 5));
    ck_ok(lmb_predictor_create(plain, NULL, NULL, 5, &p, &err));
    lmb_predictor_destroy(p);
    ck_assert_int_eq(planned(mixed, 5), LMB_E_SHAPE);
    ck_assert_msg(strstr(err.msg, "1 of 5 rows") != NULL, "%s", err.msg);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_predictor_create(mixed, NULL, NULL, 5, &p, &err), LMB_E_SHAPE);
    ck_ok(lmb_predictor_create(mixed, NULL, NULL, 1, &p, &err));
    lmb_predictor_destroy(p);
    ck_assert_int_eq(planned(dropped, 5), LMB_E_UNSUPPORTED);
    ck_assert_msg(strstr(err.msg, "drops from 10 rows, and the batch has 5 samples") != NULL, "%s", err.msg);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_predictor_create(dropped, NULL, NULL, 5, &p, &err)); /* which drops nothing */
    lmb_predictor_destroy(p);
    lmb_graph_destroy(plain);
    lmb_graph_destroy(mixed);
    lmb_graph_destroy(dropped);
}
END_TEST

LMB_TEST_MAIN("train/program", add_loop(what_is_told_to_be_final_is, 3); add(an_answer_does_not_move_the_observer);
              add(a_row_is_a_sample);
              add_loop(less_memory_gives_the_same_bits, 3);)
