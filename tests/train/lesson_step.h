/* tests/train/lesson_step.h - one step of training in which a teacher has a share. */
#ifndef LMB_TESTS_TRAIN_LESSON_STEP_H
#define LMB_TESTS_TRAIN_LESSON_STEP_H

#include "core/base/random.h"
#include "core/graph/state.h"
#include "tests/train/from_text.h"
#include "train/lesson.h"
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

static inline void begin(fixture *f, const char *losses, const char *teacher, double alpha)
{
    const lmb_shape shape = LMB_SHAPE(2, 6, 6);
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, 0, 0);
    err = (lmb_error)LMB_ERROR_INIT;
    memset(f, 0, sizeof *f);
    f->c = config_of(losses);
    f->student = graph_of(SMALL, shape, CLASSES, 2);
    f->teacher = graph_of(teacher, shape, CLASSES, 1);
    f->o = (lmb_objective){ .distill = { .alpha = alpha, .temperature = 2, .losses = lmb_config_root(f->c) },
                            .teacher = f->teacher };
    for (uint32_t i = 0; i < ROWS * NUMBERS; i++)
        f->x[i] = lmb_rand_normal(&r, i);
    for (int i = 0; i < ROWS; i++)
        f->y[i] = i % CLASSES;
}

static inline void end(fixture *f)
{
    lmb_graph_destroy(f->student);
    lmb_graph_destroy(f->teacher);
    lmb_config_destroy(f->c);
}

static inline lmb_program *program(fixture *f, lmb_loss *loss)
{
    lmb_program *p;
    *loss = lmb_objective_loss(&f->o);
    ck_ok(lmb_program_create(f->student, loss, NULL, &p, &err));
    ck_assert_uint_le(lmb_program_layout(p)->count, STATE);
    lmb_state_from_graph(lmb_program_layout(p), f->student, f->state);
    return p;
}

static inline double step(fixture *f, lmb_program *p)
{
    lmb_step_info info = { 1, 0, NULL };
    lmb_program_step s = { .n = ROWS, .x = f->x, .y = f->y, .state = f->state, .out = f->out, .info = &info };
    ck_ok(lmb_program_run(p, &s, &err));
    return s.loss;
}

#endif
