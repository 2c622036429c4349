/* Mirrors distill/quantize/steps.c and FakeQuant's gradient of its scale: the formula of the paper, number by number.
 */
#include "distill/quantize/steps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/autodiff.h"
#include "core/plan/plan.h"
#include "tests/check_main.h"

static lmb_error err;
static lmb_builder b;

static const float *least; /* s is behind Clip(s, least), as in training; NULL: it is not */

/* loss = sum(FakeQuant(x; s, z) c): d loss / d s of the graph, as many as s has numbers. */
static void gradient(const lmb_shape *shape, const float *x, const lmb_shape *scales, const float *s, const float *z,
                     const float *c, int64_t lo, int64_t hi, float *out)
{
    const lmb_plan_options none = { .no_fusion = true };
    lmb_graph *g, *backward;
    lmb_plan *p;

    ck_ok(lmb_graph_create(&g, &err));
    b = lmb_builder_of(g, &err);
    lmb_vid vx = lmb_emit_value(&b, LMB_ROLE_CONSTANT, "x", LMB_F32, *shape, x),
            vs = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "s", LMB_F32, *scales, s);
    lmb_vid vc = lmb_emit_value(&b, LMB_ROLE_CONSTANT, "c", LMB_F32, *shape, c);
    lmb_vid step = least ? lmb_emit(&b, "Clip", NULL, LMB_IN(vs, lmb_emit_scalar(&b, *least)), LMB_NO_ATTRS) : vs;
    lmb_vid in[3] = { vx, step, z ? lmb_emit_value(&b, LMB_ROLE_CONSTANT, "z", LMB_F32, *scales, z) : LMB_NONE };
    lmb_vid q = lmb_emit(&b, "FakeQuant", "q", in, z ? 3 : 2,
                         LMB_ATTRS(LMB_AINT("lo", lo), LMB_AINT("hi", hi), LMB_AINT("learn", 1)));
    lmb_vid loss = lmb_emit(&b, "SumTo", NULL, LMB_IN(lmb_emit(&b, "Mul", NULL, LMB_IN(q, vc), LMB_NO_ATTRS)),
                            LMB_NO_ATTRS),
            ds;
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_autodiff(g, loss, &vs, 1, &backward, &ds, &err));
    ck_ok(lmb_graph_output_add(backward, "ds", ds, &err));
    ck_assert(lmb_shape_equal(&backward->value[ds].shape, scales));
    ck_ok(lmb_plan_compile(backward, &none, &p, &err));
    ck_ok(lmb_plan_run(p, NULL, &err));
    memcpy(out, lmb_plan_data(p, ds), sizeof *out * (size_t)lmb_shape_count(scales));
    lmb_plan_destroy(p);
    lmb_graph_destroy(g);
    lmb_graph_destroy(backward);
}

/* Equation 3 of arXiv:1902.08153 with a zero point: round(v) - v inside, the bound where it saturates, v = x / s. */
static double slope(double x, double s, double z, double lo, double hi)
{
    double q = nearbyint(x / s) + z;
    return q < lo ? lo - z : q > hi ? hi - z : q - z - x / s;
}

/* Weights: two rows of four, a step each, N = 4, Qp = 7; bounds on both sides, ties, exact integers. */
START_TEST(of_weights)
{
    const lmb_shape shape = LMB_SHAPE(2, 4), two = LMB_SHAPE(2);
    const float x[8] = { 0.3f, -0.24f, 5, -0.7f, 0.11f, 0.02f, -3, 0.05f }, s[2] = { 0.1f, 0.04f },
                c[8] = { 1, 2, -1, 0.5f, 3, -2, 1, 4 };
    float got[2];
    err = (lmb_error)LMB_ERROR_INIT;
    gradient(&shape, x, &two, s, NULL, c, -7, 7, got);
    for (int r = 0; r < 2; r++) {
        double want = 0;
        for (int i = 0; i < 4; i++)
            want += c[4 * r + i] * slope((double)x[4 * r + i], (double)s[r], 0, -7, 7);
        want /= sqrt(4 * 7);
        ck_assert_msg(fabs(got[r] - want) < 1e-5, "row %d: %g, by the formula %g", r, (double)got[r], want);
    }
}
END_TEST

/* Activations: one step, zero point 3; a sample has 3 features, so N = 3 whatever the batch; Qp = 15. */
START_TEST(of_activations)
{
    const lmb_shape shape = LMB_SHAPE(2, 3), one = { 0 };
    const float x[6] = { -0.2f, 0.33f, 9, -1, 0.55f, 0.71f }, s = 0.1f, z = 3, c[6] = { 1, -1, 2, 0.25f, 3, 1 };
    float got;
    double want = 0;
    err = (lmb_error)LMB_ERROR_INIT;
    gradient(&shape, x, &one, &s, &z, c, 0, 15, &got);
    for (int i = 0; i < 6; i++)
        want += c[i] * slope((double)x[i], (double)s, 3, 0, 15);
    want /= sqrt(3 * 15);
    ck_assert_msg(fabs(got - want) < 1e-5, "%g, by the formula %g", (double)got, want);
}
END_TEST

/* Above the floor the gradient is what it is without one. An update too long puts the step below; what would push it
 * further down is held back there, and the first gradients that ask for it bring it up again. */
START_TEST(a_step_below_its_floor_comes_back)
{
    const lmb_shape shape = LMB_SHAPE(2, 4), two = LMB_SHAPE(2);
    const float floor = 1e-8f, x[8] = { 0.3f, 0.2f, 5, 0.7f, 0.11f, 0.02f, 3, 0.05f },
                down[8] = { 1, 1, 1, 1, 1, 1, 1, 1 }, up[8] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    float s[2] = { 0.002f, 0.1f }, bare[2], got[2];

    err = (lmb_error)LMB_ERROR_INIT;
    gradient(&shape, x, &two, s, NULL, down, -7, 7, bare);
    least = &floor;
    gradient(&shape, x, &two, s, NULL, down, -7, 7, got);
    ck_assert_mem_eq(got, bare, sizeof got);
    ck_assert_float_gt(got[0], 0);
    s[0] -= 0.001f * got[0]; /* below the floor */
    ck_assert_float_lt(s[0], 0);
    gradient(&shape, x, &two, s, NULL, down, -7, 7, got);
    ck_assert(got[0] == 0 && got[1] == bare[1]);
    for (int i = 0; i < 4; i++) {
        gradient(&shape, x, &two, s, NULL, up, -7, 7, got);
        ck_assert_msg(got[0] < 0, "a step of %g gets the gradient %g", (double)s[0], (double)got[0]);
        s[0] -= 0.001f * got[0];
    }
    ck_assert_float_gt(s[0], 0.002f);
    least = NULL;
}
END_TEST

LMB_TEST_MAIN("distill/steps", add(of_weights); add(of_activations); add(a_step_below_its_floor_comes_back);)
