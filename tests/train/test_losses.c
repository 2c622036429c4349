/* Mirrors train/loss.c and train/losses: values by hand, the frozen teacher, the prior, and pairs that do not go
 * together. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/predictor.h"
#include "train/program.h"

static lmb_error err;

static lmb_graph *mlp(const char *text, int classes, uint64_t seed)
{
    return graph_of(text, LMB_SHAPE(1, 2, 3), classes, seed);
}

static void softmax(const float *x, int n, double t, double *p)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += p[i] = exp(x[i] / t);
    for (int i = 0; i < n; i++)
        p[i] /= sum;
}

START_TEST(the_loss_is_hintons)
{
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_graph *teacher = mlp("{name: mlp, hidden: [5]}", 3, 1), *student = mlp("{name: mlp, hidden: [4]}", 3, 2);
    lmb_objective d = { .distill = { 0.7, 3, "" }, .label_smoothing = 0, .teacher = teacher };
    lmb_loss loss = lmb_objective_loss(&d);
    lmb_program *p;
    lmb_predictor *pt, *ps;
    float x[12], out[200], state[200];
    const float *lt, *ls;
    int64_t y[2] = { 2, 0 };
    double want = 0;

    for (int i = 0; i < 12; i++)
        x[i] = (float)(i * 37 % 256);
    ck_ok(lmb_objective_check(&d, student, &err));
    ck_ok(lmb_program_create(student, &loss, NULL, &p, &err));
    ck_assert_uint_le(lmb_program_layout(p)->count, 200);
    lmb_state_from_graph(lmb_program_layout(p), student, state);
    lmb_step_info info = { 1, 0, NULL };
    lmb_program_step s = { .n = 2, .x = x, .y = y, .state = state, .out = out, .info = &info };
    ck_ok(lmb_program_run(p, &s, &err));
    ck_ok(lmb_predictor_create(teacher, NULL, NULL, 2, &pt, &err));
    ck_ok(lmb_predictor_create(student, NULL, NULL, 2, &ps, &err));
    ck_ok(lmb_predictor_run(pt, x, 2, &lt, &err));
    ck_ok(lmb_predictor_run(ps, x, 2, &ls, &err));
    for (int n = 0; n < 2; n++) {
        double a[3], b[3], hard[3];
        softmax(lt + 3 * n, 3, 3, a);
        softmax(ls + 3 * n, 3, 3, b);
        softmax(ls + 3 * n, 3, 1, hard);
        for (int k = 0; k < 3; k++)
            want += 0.5 * 0.7 * 9 * a[k] * log(a[k] / b[k]);
        want -= 0.5 * 0.3 * log(hard[y[n]]);
    }
    ck_assert_double_eq_tol(s.loss, want, 1e-5);
    lmb_predictor_destroy(pt);
    lmb_predictor_destroy(ps);
    lmb_program_destroy(p);
    lmb_graph_destroy(teacher);
    lmb_graph_destroy(student);
}
END_TEST

START_TEST(other_classes_are_refused_before_any_work)
{
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_graph *teacher = mlp("{name: mlp, hidden: [5]}", 4, 1), *student = mlp("{name: mlp, hidden: [4]}", 3, 2);
    lmb_objective d = { .distill = { 0.7, 3, "" }, .teacher = teacher };
    ck_assert_int_eq(lmb_objective_check(&d, student, &err), LMB_E_SHAPE);
    ck_assert_str_eq(err.msg, "the teacher has 4 classes, the student 3");
    lmb_graph_destroy(teacher);
    lmb_graph_destroy(student);
}
END_TEST

/* Adding c to the logits before the softmax: -log(softmax(z + c)[y]). */
START_TEST(the_prior_shifts_the_labels_term_alone)
{
    err = (lmb_error)LMB_ERROR_INIT;
    static const float prior[3] = { -0.5f, -3, -1 };
    lmb_graph *student = mlp("{name: mlp, hidden: [4]}", 3, 2);
    lmb_objective d = { .prior = prior };
    lmb_loss loss = lmb_objective_loss(&d);
    lmb_program *p;
    lmb_predictor *ps;
    float x[6] = { 3, 200, 40, 90, 0, 255 }, out[200], state[200], shifted[3];
    const float *ls;
    int64_t y = 1;
    double soft[3];

    ck_ok(lmb_program_create(student, &loss, NULL, &p, &err));
    lmb_state_from_graph(lmb_program_layout(p), student, state);
    lmb_step_info info = { 1, 0, NULL };
    lmb_program_step s = { .n = 1, .x = x, .y = &y, .state = state, .out = out, .info = &info };
    ck_ok(lmb_program_run(p, &s, &err));
    ck_ok(lmb_predictor_create(student, NULL, NULL, 1, &ps, &err));
    ck_ok(lmb_predictor_run(ps, x, 1, &ls, &err));
    for (int k = 0; k < 3; k++)
        shifted[k] = ls[k] + prior[k];
    softmax(shifted, 3, 1, soft);
    ck_assert_double_eq_tol(s.loss, -log(soft[1]), 1e-5);
    lmb_predictor_destroy(ps);
    lmb_program_destroy(p);
    lmb_graph_destroy(student);
}
END_TEST

LMB_TEST_MAIN("train/losses", add(the_loss_is_hintons); 
             add(other_classes_are_refused_before_any_work); add(the_prior_shifts_the_labels_term_alone);)
