/* Mirrors train/heads.c, and losses that compare the samples of a batch: weights that are trained along have gradients
 * and are gone in the end; a batch without relations teaches nothing. */
#include <math.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/random.h"
#include "core/graph/state.h"
#include "tests/check_main.h"
#include "tests/train/lesson_step.h"
#include "train/lesson.h"
#include "train/model.h"
#include "train/program.h"

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
    int n = (int)lmb_program_layout(p)->count - 4 * 6 * 5 - 2 * 6, moved = 0; /* but for two memories and whose rows they have, each twice */
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

static float *state_of(fixture *f, const lmb_program *p, const lmb_graph *g, const char *name)
{
    const lmb_state_layout *l = lmb_program_layout(p);
    for (int i = 0; i < l->n; i++)
        if (strcmp(g->value[l->segment[i].value].name, name) == 0)
            return f->state + l->segment[i].offset;
    ck_abort_msg("there is no %s", name);
    return NULL;
}

/* One sample and a memory of six rows. Those of its own count for nothing, whatever is in them; if all are, there is
 * nothing to tell it from. */
START_TEST(its_own_earlier_row_is_no_wrong_answer)
{
    enum { SLOTS = 6, WIDTH = 5 };
    static fixture f;
    const uint32_t sample = 11;
    double loss[2][2];
    lmb_graph *taught;
    lmb_loss made;

    begin(&f, "[{name: contrastive, width: 5, temperature: 0.5, memory: 6}]", LARGE, 1);
    ck_ok(lmb_objective_bind(&f.o, &err));
    ck_ok(lmb_objective_prepare(&f.o, f.student, 7, &taught, &err));
    lmb_graph_destroy(f.student);
    f.student = taught;
    lmb_program *p = program(&f, &made);
    lmb_step_info info = { 1, 0, &sample };
    lmb_program_step s = { .n = 1, .x = f.x, .y = f.y, .state = f.state, .out = f.out, .info = &info };
    float *of = state_of(&f, p, taught, "limbeck.memory.samples");
    for (int own = 0; own < 2; own++)
        for (int turned = 0; turned < 2; turned++) {
            for (int i = 0; i < SLOTS; i++)
                of[i] = i == 2 ? (float)(own ? sample + 1 : sample) : (float)i;
            for (int k = 0; k < 2; k++) {
                float *row = state_of(&f, p, taught, k ? "limbeck.memory1.rows" : "limbeck.memory0.rows") + 2 * WIDTH;
                for (int i = 0; i < WIDTH && turned; i++)
                    row[i] = -row[i];
            }
            ck_ok(lmb_program_run(p, &s, &err));
            loss[own][turned] = s.loss;
        }
    ck_assert_double_gt(fabs(loss[0][0] - loss[0][1]), 1e-3);
    ck_assert_double_eq(loss[1][0], loss[1][1]);
    ck_assert_double_lt(loss[1][0], loss[0][0]);
    for (int i = 0; i < SLOTS; i++)
        of[i] = (float)(sample + 1);
    ck_ok(lmb_program_run(p, &s, &err));
    ck_assert_double_eq_tol(s.loss, 0, 1e-6);
    lmb_program_destroy(p);
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

LMB_TEST_MAIN("train/heads", add(heads_are_trained_along); add(its_own_earlier_row_is_no_wrong_answer);
              add(without_relations_there_is_nothing_to_learn);)
