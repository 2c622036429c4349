/* Mirrors distill/prune/criteria: scores by hand, and channels that go in steps. */
#include "distill/prune/criteria.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/graph/op.h"
#include "distill/prune/channels.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"

static lmb_error err;

static lmb_graph *make(const char *text)
{
    err = (lmb_error)LMB_ERROR_INIT;
    return graph_of(text, LMB_SHAPE(3, 16, 16), 5, 3);
}

static double parameters_of(const lmb_graph *g)
{
    lmb_state_layout *l;
    ck_ok(lmb_state_layout_create(g, &l, &err));
    double n = (double)lmb_state_parameters(l);
    lmb_state_layout_destroy(l);
    return n;
}

static const lmb_axis_class *class_of(const lmb_graph *g, const lmb_axis_map *m, const char *weight)
{
    for (int k = 0; k < m->n_classes; k++)
        if (m->class[k].label != LMB_NONE && strcmp(g->value[m->class[k].label].name, weight) == 0)
            return &m->class[k];
    ck_abort_msg("no class of %s", weight);
    return NULL;
}

/* Eight filters: six are (1, 1, 0 ...), the first (3, 0, 0 ...), the second (1.75, -1.75, 0 ...). Scores by hand; the
 * smaller of the first two is another by l1 than by l2, and by the median those near the others go first. */
START_TEST(other_criteria_by_hand)
{
    lmb_graph *g = make("{name: vgg, channels: [8, 0, 12]}");
    lmb_axis_map *m;
    const lmb_prune_criterion *l1, *l2, *median, *taylor, *random;
    float *w = calloc(8 * 27, sizeof *w);
    double a[8], b[8];

    for (int i = 0; i < 8; i++)
        w[i * 27] = w[i * 27 + 1] = 1;
    w[0] = 3, w[1] = 0;               /* l1 3, l2 3 */
    w[27] = 1.75f, w[28] = -1.75f;    /* l1 3.5, l2 2.47 */
    ck_ok(lmb_graph_set_data(g, lmb_graph_find(g, "layer1.conv.weight"), w, &err));
    ck_ok(lmb_axis_map_create(g, &m, &err));
    const lmb_axis_class *c = class_of(g, m, "layer1.conv.weight");
    lmb_prune_view v = { g, m, NULL, 5 };
    ck_ok(lmb_prune_criterion_find("l1", &l1, &err));
    ck_ok(lmb_prune_criterion_find("l2", &l2, &err));
    ck_ok(lmb_prune_criterion_find("median", &median, &err));
    ck_ok(lmb_prune_criterion_find("taylor", &taylor, &err));
    ck_ok(lmb_prune_criterion_find("random", &random, &err));
    ck_ok(l1->score(&v, c, a, &err));
    ck_ok(l2->score(&v, c, b, &err));
    ck_assert_double_eq_tol(a[0], 3, 1e-9);
    ck_assert_double_eq_tol(a[1], 3.5, 1e-9);
    ck_assert_double_eq_tol(b[0], 3, 1e-9);
    ck_assert_double_eq_tol(b[1], 1.75 * sqrt(2), 1e-9);
    ck_ok(median->score(
        &v, c, a, &err)); /* distances: 6 equal filters, sqrt 5 from the first, sqrt(0.75^2 + 2.75^2) from the second */
    double first = sqrt(5), second = sqrt(0.5625 + 7.5625), between = sqrt(1.25 * 1.25 + 1.75 * 1.75);
    ck_assert_double_eq_tol(a[0], 6 * first + between, 1e-6);
    ck_assert_double_eq_tol(a[1], 6 * second + between, 1e-6);
    ck_assert_double_eq_tol(a[5], first + second, 1e-6);

    ck_ok(random->score(&v, c, a, &err)); /* the same each time, another of another seed */
    ck_ok(random->score(&v, c, b, &err));
    ck_assert_mem_eq(a, b, sizeof a);
    v.seed = 6;
    ck_ok(random->score(&v, c, b, &err));
    ck_assert_mem_ne(a, b, sizeof a);
    ck_assert(taylor->gradients);
    ck_assert_int_eq(taylor->score(&v, c, a, &err), LMB_E_ARG);
    free(w);
    lmb_axis_map_destroy(m);
    lmb_graph_destroy(g);
}
END_TEST

static double channels_of(const lmb_graph *g)
{
    lmb_axis_map *m;
    double n = 0;

    ck_ok(lmb_axis_map_create(g, &m, &err));
    for (int k = 0; k < m->n_classes; k++)
        n += m->class[k].prunable ? m->class[k].channels : 0;
    lmb_axis_map_destroy(m);
    return n;
}

/* All of c's steps, without the trainings between them. */
static lmb_graph *by_steps(const lmb_graph *g, const lmb_prune_channels *c)
{
    lmb_graph *at = NULL, *next;

    for (int64_t k = 1; k <= c->steps; k++) {
        lmb_prune_channels step = lmb_prune_step(c, k);
        step.whole = g;
        ck_ok(lmb_pass_prune_channels(at ? at : g, &step, &next, NULL, &err));
        lmb_graph_destroy(at);
        at = next;
    }
    return at;
}

/* The target of each step is a share of the whole model, and the last one is what was asked for. */
START_TEST(steps_come_to_the_target)
{
    const lmb_prune_channels c = { .criterion = "l2", .parameters = 0.3, .min_channels = 1, .round_to = 1, .steps = 3 };
    lmb_graph *g = make("{name: resnet, depth: 20, width: 5}");
    lmb_prune_channels step = lmb_prune_step(&c, 1);

    ck_assert_double_eq_tol(step.parameters, cbrt(0.3), 1e-12);
    ck_assert_double_eq(step.keep, 0);
    ck_assert_double_eq(lmb_prune_step(&c, 3).parameters, 0.3);
    lmb_graph *at = by_steps(g, &c);
    ck_assert_double_le(parameters_of(at), 0.3 * parameters_of(g));
    ck_assert_double_ge(parameters_of(at), 0.27 * parameters_of(g));
    lmb_graph_destroy(at);
    lmb_graph_destroy(g);
}
END_TEST

/* 448 channels in twelve layers that keep multiples of 8: what rounding takes beyond a step's target is not asked for
 * again, and what is reached at once is reached in steps. */
START_TEST(rounding_does_not_add_up)
{
    const struct { double keep, macs, parameters, block; int64_t steps; } rows[] = {
        { .keep = 0.5, .steps = 32, .block = 8 / 448.0 }, { .keep = 0.3, .steps = 4, .block = 8 / 448.0 },
        { .macs = 0.3, .steps = 32, .block = 0.1 },       { .parameters = 0.3, .steps = 32, .block = 0.06 },
    }; /* block: what 8 channels of one layer are at most */
    lmb_graph *g = make("{name: vgg, channels: [16, 16, 16, 16, 0, 32, 32, 32, 32, 0, 64, 64, 64, 64]}");

    for (size_t i = 0; i < LMB_COUNT(rows); i++) {
        lmb_prune_channels c = { .criterion = "l2", .keep = rows[i].keep, .macs = rows[i].macs, .min_channels = 2,
                                 .parameters = rows[i].parameters, .round_to = 8, .steps = rows[i].steps };
        lmb_graph *at = by_steps(g, &c);
        double target = c.keep + c.macs + c.parameters,
               share = c.keep > 0   ? channels_of(at) / channels_of(g)
                       : c.macs > 0 ? lmb_graph_macs(at) / lmb_graph_macs(g)
                                    : parameters_of(at) / parameters_of(g);
        ck_assert_msg(share <= target && share > target - rows[i].block, "row %zu: %g is left", i, share);
        lmb_graph_destroy(at);
    }
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("distill/prune_criteria", add(other_criteria_by_hand); add(steps_come_to_the_target);
              add(rounding_does_not_add_up);)
