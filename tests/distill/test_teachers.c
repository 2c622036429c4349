/* Mirrors distill/teachers.c: the weighted mean of logits, folded or not, and teachers that do not go together. */
#include "distill/teachers.h"

#include <math.h>
#include <string.h>

#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/predictor.h"

static lmb_error err;
enum { ROWS = 3, NUMBERS = 2 * 6 * 6 };

static lmb_graph *model(const char *text, int classes, uint64_t seed)
{
    return graph_of(text, LMB_SHAPE(2, 6, 6), classes, seed);
}

static void answers(const lmb_graph *g, const float *x, float *out)
{
    const float *logits;
    lmb_predictor *p;
    ck_ok(lmb_predictor_create(g, NULL, NULL, ROWS, &p, &err));
    ck_ok(lmb_predictor_run(p, x, ROWS, &logits, &err));
    memcpy(out, logits, sizeof *out * ROWS * 3);
    lmb_predictor_destroy(p);
}

/* Norms that do something, as after a training. */
static void wear(lmb_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        for (int k = 1; k < 5 && strcmp(n->op->name, "BatchNormalization") == 0; k++) {
            float worn[64];
            int64_t count = lmb_shape_count(&g->value[n->in[k]].shape);
            ck_assert_int_le(count, 64);
            for (int c = 0; c < count; c++)
                worn[c] = 0.3f + 0.1f * (float)((3 * c + i + k) % 7);
            ck_ok(lmb_graph_set_data(g, n->in[k], worn, &err));
        }
    }
}

START_TEST(their_logits_are_averaged_with_weights)
{
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_graph *a = model("{name: resnet, depth: 8, width: 4}", 3, 1), *b = model("{name: mlp, hidden: [7]}", 3, 2),
              *both, *one;
    float x[ROWS * NUMBERS], ya[ROWS * 3], yb[ROWS * 3], y[ROWS * 3];

    wear(a);
    for (int i = 0; i < ROWS * NUMBERS; i++)
        x[i] = (float)(i * 37 % 256);
    answers(a, x, ya);
    answers(b, x, yb);
    ck_ok(lmb_teachers_join((const lmb_graph *[]){ a, b }, (double[]){ 3, 1 }, 2, &both, &err));
    answers(both, x, y);
    for (int i = 0; i < ROWS * 3; i++)
        ck_assert_float_eq_tol(y[i], 0.75f * ya[i] + 0.25f * yb[i], 1e-4f * (1 + fabsf(ya[i])));
    ck_ok(lmb_teachers_join((const lmb_graph *[]){ b }, (double[]){ 5 }, 1, &one, &err));
    answers(one, x, y);
    for (int i = 0; i < ROWS * 3; i++)
        ck_assert_float_eq_tol(y[i], yb[i], 1e-5f);
    lmb_graph_destroy(one);
    lmb_graph_destroy(both);
    lmb_graph_destroy(b);
    lmb_graph_destroy(a);
}
END_TEST

START_TEST(those_that_do_not_go_together_are_refused)
{
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_graph *a = model("{name: mlp, hidden: [7]}", 3, 1), *b = model("{name: mlp, hidden: [7]}", 4, 2), *out = NULL;

    ck_assert_int_eq(lmb_teachers_join((const lmb_graph *[]){ a, b }, (double[]){ 1, 1 }, 2, &out, &err), LMB_E_SHAPE);
    ck_assert_str_eq(err.msg, "teacher 2 has 4 classes, the first one 3");
    ck_assert_int_eq(lmb_teachers_join(NULL, NULL, 0, &out, &err), LMB_E_ARG);
    ck_assert_ptr_null(out);
    lmb_graph_destroy(b);
    lmb_graph_destroy(a);
}
END_TEST

LMB_TEST_MAIN("distill/teachers", add(their_logits_are_averaged_with_weights);
              add(those_that_do_not_go_together_are_refused);)
