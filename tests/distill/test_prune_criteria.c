/* Mirrors distill/prune/criteria: scores by hand, and channels that go in steps. */
#include "distill/prune/criteria.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* Three steps of the cube root leave what one of the share does, or less: what is rounded is rounded down. */
START_TEST(steps_come_to_the_target)
{
    const lmb_prune_channels c = { .criterion = "l2", .parameters = 0.3, .min_channels = 1, .round_to = 1, .steps = 3 };
    lmb_graph *g = make("{name: resnet, depth: 20, width: 5}"), *at = NULL;
    double all = parameters_of(g);
    lmb_prune_channels step = lmb_prune_step(&c);

    ck_assert_double_eq_tol(step.parameters, cbrt(0.3), 1e-12);
    ck_assert_double_eq(step.keep, 0);
    ck_ok(lmb_graph_copy(g, &at, &err));
    for (int i = 0; i < 3; i++) {
        lmb_graph *next;
        ck_ok(lmb_pass_prune_channels(at, &step, &next, NULL, &err));
        lmb_graph_destroy(at);
        at = next;
    }
    ck_assert_double_le(parameters_of(at), 0.3 * all);
    ck_assert_double_ge(parameters_of(at), 0.2 * all);
    lmb_graph_destroy(at);
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("distill/prune_criteria", add(other_criteria_by_hand); add(steps_come_to_the_target);)
