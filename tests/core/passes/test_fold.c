/* Mirrors core/passes/fold.c: what is folded answers as before, with norms that do something, whatever its numbers are;
 * what can not be folded stays. */
#include "core/passes/fold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "core/cpu/cpu.h"
#include "core/plan/plan.h"
#include "tests/check_main.h"

enum { CHANNELS = 4, HEIGHT = 7, WIDTH = 5, NUMBERS = CHANNELS * HEIGHT * WIDTH };
static lmb_error err;

static lmb_vid numbers(lmb_builder *b, lmb_role role, lmb_shape s, float lo, float hi)
{
    int64_t n = lmb_shape_count(&s);
    float *w = malloc(sizeof *w * (size_t)(n + 1));
    lmb_rand r = lmb_rand_at(4, LMB_RAND_TEST, 0, (uint64_t)b->g->n_values);

    for (int64_t i = 0; i < n; i++)
        w[i] = lo + (hi - lo) * lmb_rand_uniform(&r, (uint32_t)i);
    lmb_vid v = lmb_emit_value(b, role, "w", LMB_F32, s, w);
    free(w);
    return v;
}

static lmb_builder begin(lmb_graph **g, lmb_vid *x)
{
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(g, &err));
    lmb_builder b = lmb_builder_of(*g, &err);
    *x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, CHANNELS, HEIGHT, WIDTH), NULL);
    return b;
}

static lmb_vid conv(lmb_builder *b, lmb_role role, lmb_vid x, int64_t k, int64_t group, bool bias)
{
    int64_t c = lmb_builder_value(b, x)->shape.d[1];
    lmb_vid in[3] = { x, numbers(b, role, LMB_SHAPE(k, c / group, 3, 2), -0.5f, 0.5f),
                      bias ? numbers(b, role, LMB_SHAPE(k), -1, 1) : LMB_NONE };
    return lmb_emit(b, "Conv", "conv", in, bias ? 3 : 2,
                    LMB_ATTRS(LMB_AINT("group", group), LMB_AINTS("pads", 0, 1, 2, 0), LMB_AINTS("strides", 1, 2),
                              LMB_AINTS("dilations", 2, 1)));
}

static lmb_vid norm(lmb_builder *b, lmb_role role, lmb_vid x)
{
    int64_t c = lmb_builder_value(b, x)->shape.d[1];
    lmb_role seen = role == LMB_ROLE_CONSTANT ? role : LMB_ROLE_STATISTIC;
    return lmb_emit(b, "BatchNormalization", "norm",
                    LMB_IN(x, numbers(b, role, LMB_SHAPE(c), -1.5f, 1.5f), numbers(b, role, LMB_SHAPE(c), -1, 1),
                           numbers(b, seen, LMB_SHAPE(c), -1, 1), numbers(b, seen, LMB_SHAPE(c), 0.2f, 2)),
                    LMB_ATTRS(LMB_AREAL("epsilon", 0.01f)));
}

/* By reference kernels as it stands, or as a plan of the portable ones would run it. */
static int answers(const lmb_graph *g, bool fused, float *y)
{
    const lmb_backend *list[3];
    lmb_plan_options o = { .backends = fused ? list : NULL, .no_fusion = !fused };
    float x[NUMBERS];
    lmb_plan *p;

    for (int i = 0; i < NUMBERS; i++)
        x[i] = (float)(i * 29 % 64) / 32 - 1;
    ck_ok(lmb_cpu_backends("portable", list, &err));
    ck_ok(lmb_plan_compile(g, &o, &p, &err));
    ck_ok(lmb_plan_bind(p, lmb_graph_input(g, 0), x, &err));
    ck_ok(lmb_plan_run(p, NULL, &err));
    int n = (int)lmb_shape_count(&g->value[g->output[0].value].shape);
    ck_assert_int_le(n, 1024);
    memcpy(y, lmb_plan_data(p, g->output[0].value), (size_t)n * sizeof *y);
    lmb_plan_destroy(p);
    return n;
}

static int count(const lmb_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += strcmp(g->node[i].op->name, op) == 0;
    return n;
}

/* Folded, and as a predictor runs it: the same answers. */
static void check(lmb_builder *b, lmb_vid y, int norms_left)
{
    lmb_graph *g = b->g, *made[2];
    float want[1024], got[1024], most = 0;

    lmb_emit_output(b, "y", y);
    ck_ok(lmb_builder_status(b));
    ck_ok(lmb_pass_fold(g, &made[0], &err));
    ck_ok(lmb_pass_deploy(g, NULL, 0, &made[1], &err));
    int n = answers(g, false, want);
    for (int i = 0; i < n; i++)
        most = fmaxf(most, fabsf(want[i]));
    for (int k = 0; k < 4; k++) {
        ck_assert_int_eq(answers(made[k / 2], k % 2, got), n);
        for (int i = 0; i < n; i++)
            ck_assert_msg(fabsf(got[i] - want[i]) <= 1e-5f * most, "%d: number %d is %g, was %g", k, i, (double)got[i],
                          (double)want[i]);
        ck_assert_int_eq(count(made[k / 2], "BatchNormalization"), norms_left);
    }
    lmb_graph_destroy(made[0]);
    lmb_graph_destroy(made[1]);
    lmb_graph_destroy(g);
}

static const lmb_role roles[] = { LMB_ROLE_PARAMETER, LMB_ROLE_CONSTANT };

/* Of each channel for itself, of groups, of all; with and without a bias; parameters and constants; one after another.
 */
START_TEST(a_norm_behind_its_convolution)
{
    static const int64_t groups[] = { 1, 2, CHANNELS };
    lmb_role role = roles[_i % 2];
    lmb_graph *g;
    lmb_vid x;
    lmb_builder b = begin(&g, &x);

    x = norm(&b, role, conv(&b, role, x, 8, groups[_i / 4], _i / 2 % 2));
    x = lmb_emit(&b, "Clip", "clip", LMB_IN(x, lmb_emit_scalar(&b, -0.3f), lmb_emit_scalar(&b, 0.8f)), LMB_NO_ATTRS);
    check(&b, norm(&b, role, conv(&b, role, x, 4, 1, true)), 0);
}
END_TEST

/* Read by others, before it or behind another op, with numbers that another norm has as well. */
START_TEST(what_can_not_be_folded_stays)
{
    lmb_role role = roles[_i % 2];
    lmb_graph *g;
    lmb_vid x, y;
    lmb_builder b = begin(&g, &x);

    if (_i / 2 == 0) { /* the convolution's output is read twice */
        y = conv(&b, role, x, 6, 1, false);
        y = lmb_emit(&b, "Add", "sum", LMB_IN(y, norm(&b, role, y)), LMB_NO_ATTRS);
        check(&b, y, 1);
    } else if (_i / 2 == 1) { /* in front of one, and behind a Relu */
        y = conv(&b, role, norm(&b, role, x), 6, 1, false);
        check(&b, norm(&b, role, lmb_emit(&b, "Relu", "relu", LMB_IN(y), LMB_NO_ATTRS)), 2);
    } else if (_i / 2 == 2) { /* two with the same numbers */
        y = norm(&b, role, conv(&b, role, x, 4, 1, true));
        lmb_node first = g->node[g->n_nodes - 1];
        lmb_vid in[5];
        memcpy(in, first.in, sizeof in);
        in[0] = conv(&b, role, y, 4, 1, false);
        check(&b, lmb_emit(&b, "BatchNormalization", "again", in, 5, LMB_NO_ATTRS), 2);
    } else { /* two convolutions with the same weights */
        y = conv(&b, role, x, 4, 1, true);
        lmb_vid w = g->node[g->n_nodes - 1].in[1], bias = g->node[g->n_nodes - 1].in[2];
        y = lmb_emit(&b, "Conv", "tied", LMB_IN(norm(&b, role, y), w, bias), LMB_NO_ATTRS);
        check(&b, norm(&b, role, y), 2);
    }
}
END_TEST

/* In front of a convolution, one for all channels and one each, on either side, and where the bias is a layer's of two.
 */
START_TEST(factors_in_front_of_a_convolution)
{
    lmb_graph *g;
    lmb_vid x;
    lmb_builder b = begin(&g, &x);
    lmb_vid c = numbers(&b, LMB_ROLE_CONSTANT, _i % 2 ? LMB_SHAPE(CHANNELS, 1, 1) : LMB_SHAPE(1), 0.2f, 3);

    x = _i / 2 ? lmb_emit(&b, "Mul", "factor", LMB_IN(c, x), LMB_NO_ATTRS)
               : lmb_emit(&b, "Mul", "factor", LMB_IN(x, c), LMB_NO_ATTRS);
    x = conv(&b, LMB_ROLE_PARAMETER, x, 4, 1, true);
    lmb_vid bias = g->node[g->n_nodes - 1].in[2];
    x = lmb_emit(&b, "Conv", "other", LMB_IN(x, numbers(&b, LMB_ROLE_PARAMETER, LMB_SHAPE(4, 4, 1, 1), -1, 1), bias),
                 LMB_NO_ATTRS);
    check(&b, norm(&b, LMB_ROLE_PARAMETER, x), 0);
}
END_TEST

START_TEST(what_is_frozen_stays_frozen)
{
    lmb_graph *g, *folded;
    lmb_vid x;
    lmb_builder b = begin(&g, &x);

    lmb_emit_output(&b, "y", norm(&b, LMB_ROLE_PARAMETER, conv(&b, LMB_ROLE_PARAMETER, x, 4, 1, true)));
    for (int v = 0; v < g->n_values; v++)
        g->value[v].frozen = _i && g->value[v].role == LMB_ROLE_PARAMETER;
    ck_ok(lmb_pass_fold(g, &folded, &err));
    for (int v = 0; v < folded->n_values; v++)
        ck_assert(folded->value[v].role != LMB_ROLE_PARAMETER || folded->value[v].frozen == _i);
    lmb_graph_destroy(g);
    lmb_graph_destroy(folded);
}
END_TEST

LMB_TEST_MAIN("core/passes/fold", add_loop(a_norm_behind_its_convolution, 12);
              add_loop(what_can_not_be_folded_stays, 8); add_loop(factors_in_front_of_a_convolution, 4);
              add_loop(what_is_frozen_stays_frozen, 2);)
