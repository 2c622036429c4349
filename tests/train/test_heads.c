/* Mirrors train/heads.c, and losses that compare the samples of a batch: weights that are trained along have gradients
 * and are gone in the end; a batch without relations teaches nothing. */
#include <math.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/random.h"
#include "core/graph/state.h"
#include "tests/check_main.h"
#include "train/lesson.h"
#include "train/model.h"
#include "train/program.h"

static lmb_error err;

enum { ROWS = 4, NUMBERS = 2 * 6 * 6, CLASSES = 3, STATE = 2000 };
static const char SMALL[] = "{name: layers, mean: 0, scale: 1, layers: [{conv: {channels: 3, norm: false}}, {pool: "
                            "max}, {conv: {channels: 4, norm: false}}, flatten, dense]}";
static const char LARGE[] = "{name: resnet, depth: 8, width: 4, mean: 0, scale: 1}";

typedef struct fixture {
    lmb_config *c;
    lmb_graph *student, *teacher;
    lmb_objective o;
    float x[ROWS * NUMBERS], state[STATE], out[STATE];
    int64_t y[ROWS];
} fixture;

static lmb_graph *model(const char *text, uint64_t seed)
{
    lmb_shape shape = LMB_SHAPE(2, 6, 6);
    lmb_config *c;
    lmb_graph *g;
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", &c, &err));
    ck_ok(lmb_model_build(lmb_config_root(c), &shape, CLASSES, seed, &g, &err));
    lmb_config_destroy(c);
    return g;
}

static void begin(fixture *f, const char *losses, const char *teacher, double alpha)
{
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, 0, 0);
    err = (lmb_error)LMB_ERROR_INIT;
    memset(f, 0, sizeof *f);
    ck_ok(lmb_config_parse(losses, strlen(losses), "t.yaml", &f->c, &err));
    f->student = model(SMALL, 2);
    f->teacher = model(teacher, 1);
    f->o = (lmb_objective){ .distill = { .alpha = alpha, .temperature = 2, .losses = lmb_config_root(f->c) },
                            .teacher = f->teacher };
    for (uint32_t i = 0; i < ROWS * NUMBERS; i++)
        f->x[i] = lmb_rand_normal(&r, i);
    for (int i = 0; i < ROWS; i++)
        f->y[i] = i % CLASSES;
}

static void end(fixture *f)
{
    lmb_graph_destroy(f->student);
    lmb_graph_destroy(f->teacher);
    lmb_config_destroy(f->c);
}

static lmb_program *program(fixture *f, lmb_loss *loss)
{
    lmb_program *p;
    *loss = lmb_objective_loss(&f->o);
    ck_ok(lmb_program_create(f->student, loss, NULL, &p, &err));
    ck_assert_uint_le(lmb_program_layout(p)->count, STATE);
    lmb_state_from_graph(lmb_program_layout(p), f->student, f->state);
    return p;
}

static double step(fixture *f, lmb_program *p)
{
    lmb_step_info info = { 1, 0, NULL };
    lmb_program_step s = { .n = ROWS, .x = f->x, .y = f->y, .state = f->state, .out = f->out, .info = &info };
    ck_ok(lmb_program_run(p, &s, &err));
    return s.loss;
}

/* Heads are part of what is trained: they have gradients, the student's own numbers stand where they stood, and they
 * are gone in the end. */
START_TEST(heads_are_trained_along)
{
    static fixture f;
    static float gradient[STATE];
    lmb_graph *taught;
    lmb_loss loss;
    lmb_error no = LMB_ERROR_INIT;
    lmb_program *p;

    begin(
        &f,
        "[{name: hint, weight: 3}, {name: contrastive, width: 5, temperature: 0.5, memory: 6}, {name: relational, distance: 2, "
        "angle: 3}]",
        LARGE, 0.8);
    ck_ok(lmb_objective_bind(&f.o, &err));
    ck_ok(lmb_objective_check(&f.o, f.student, &err));
    loss = lmb_objective_loss(&f.o);
    lmb_step_info info = { 1, 0, NULL };
    lmb_program_step s = { .n = ROWS, .x = f.x, .y = f.y, .state = f.state, .out = f.out, .info = &info };
    ck_ok(lmb_program_create(f.student, &loss, NULL, &p, &err)); /* no room was made */
    ck_assert_int_eq(lmb_program_run(p, &s, &no), LMB_E_ARG);
    ck_assert_msg(strstr(no.msg, "weights of its own") != NULL, "%s", no.msg);
    size_t own = lmb_program_layout(p)->count;
    lmb_program_destroy(p);

    ck_ok(lmb_objective_prepare(&f.o, f.student, 7, &taught, &err));
    ck_assert_ptr_nonnull(taught);
    lmb_graph *whole = f.student;
    f.student = taught;
    p = program(&f, &loss);
    int n = (int)lmb_program_layout(p)->count - 4 * 6 * 5, moved = 0; /* but for two memories, each twice */
    ck_assert_int_gt(n, (int)own);
    step(&f, p);
    memcpy(gradient, f.out, sizeof gradient);
    for (int i = 0; i < n; i += i < (int)own ? 7 : 3) {
        float keep = f.state[i], h = 2e-3f;
        f.state[i] = keep + h;
        double up = step(&f, p);
        f.state[i] = keep - h;
        double down = step(&f, p), want = (up - down) / (2.0 * (double)h);
        f.state[i] = keep;
        ck_assert_msg(fabs(want - (double)gradient[i]) < 0.02 * fabs(want) + 0.02,
                      "number %d: gradient %g, difference %g", i, (double)gradient[i], want);
        moved += i >= (int)own && fabs(want) > 0.01;
    }
    ck_assert_int_gt(moved, 5);
    lmb_program_destroy(p);

    lmb_state_layout *l;
    ck_ok(lmb_state_layout_create(taught, &l, &err));
    for (int i = 0; i < STATE; i++)
        f.state[i] = (float)i;
    ck_ok(lmb_state_to_graph(l, f.state, taught, &err));
    lmb_state_layout_destroy(l);
    ck_ok(lmb_objective_finish(taught, whole, &err));
    ck_ok(lmb_state_layout_create(whole, &l, &err));
    ck_assert_uint_eq(l->count, own);
    lmb_state_from_graph(l, whole, f.out);
    ck_assert_mem_eq(f.out, f.state, sizeof *f.out * own);
    lmb_state_layout_destroy(l);
    lmb_graph_destroy(whole);
    end(&f);
}
END_TEST

/* A row alone, and rows that are all the same, have no relations; nothing divides by zero. */
START_TEST(without_relations_there_is_nothing_to_learn)
{
    static fixture f;
    lmb_loss loss;

    begin(&f, "[relational]", LARGE, 1);
    ck_ok(lmb_objective_bind(&f.o, &err));
    for (int i = NUMBERS; i < ROWS * NUMBERS; i++)
        f.x[i] = f.x[i % NUMBERS];
    lmb_program *p = program(&f, &loss);
    lmb_step_info info = { 1, 0, NULL };
    for (int rows = 1; rows <= ROWS; rows += ROWS - 1) {
        lmb_program_step s = { .n = rows, .x = f.x, .y = f.y, .state = f.state, .out = f.out, .info = &info };
        ck_ok(lmb_program_run(p, &s, &err));
        ck_assert_double_eq_tol(s.loss, 0, 1e-6);
        for (size_t i = 0; i < lmb_program_layout(p)->count; i++)
            ck_assert_msg(f.out[i] == 0, "rows %d, number %zu: gradient %g", rows, i, (double)f.out[i]);
    }
    lmb_program_destroy(p);
    end(&f);
}
END_TEST

LMB_TEST_MAIN("train/heads", add(heads_are_trained_along); add(without_relations_there_is_nothing_to_learn);)
