/* Mirrors distill/search/probe.c: what a move was tried to cost against the definition, computed here; what changes no
 * answer costs nothing; the number of threads changes no bit; fewer bits are felt.
 */
#include <math.h>

#include "core/cpu/cpu.h"
#include "distill/search/probe.h"
#include "tests/distill/search.h"
#include "train/predictor.h"

enum { N = 100, CLASSES = 4 };

static void zero(lmb_graph *g, const char *name)
{
    lmb_vid v = lmb_graph_find(g, name);
    ck_assert_msg(v != LMB_NONE, "no %s", name);
    float *z = calloc((size_t)lmb_shape_count(&g->value[v].shape), sizeof *z);
    ck_ok(lmb_graph_set_data(g, v, z, &err));
    free(z);
}

/* A ResNet-14 whose first block adds nothing. */
static void begin(found *t)
{
    lmb_graph *g = make("{name: resnet, depth: 14, width: 8, mean: 120, scale: 0.02}");

    zero(g, "stage1.0.2.bn.scale");
    zero(g, "stage1.0.2.bn.bias");
    find_moves(t, g, N, (lmb_taylor_config){ 1, 64, 1, "cpu" },
               (lmb_moves_config){ 4, 4, { true, true, true, true }, 3 });
}

static lmb_probe_config config(int threads)
{
    return (lmb_probe_config){ N, 7, "cpu", threads, 2, NULL, NULL, NULL };
}

/* Probabilities at temperature 2 for every sample of the data, in its own order. */
static void answers(const found *t, const lmb_graph *g, double p[N][CLASSES])
{
    const lmb_backend *backends[3];
    lmb_predictor *q;
    const float *z;
    uint8_t raw[192];
    float x[192];
    int32_t label;

    ck_ok(lmb_cpu_backends("reference", backends, &err));
    ck_ok(lmb_predictor_create(g, NULL, backends, 1, &q, &err));
    for (int i = 0; i < N; i++) {
        double sum = 0;
        ck_ok(t->data->read(t->data, i, raw, &label, &err));
        for (int k = 0; k < 192; k++)
            x[k] = raw[k];
        ck_ok(lmb_predictor_run(q, x, 1, &z, &err));
        for (int k = 0; k < CLASSES; k++)
            sum += p[i][k] = exp((double)z[k] / 2);
        for (int k = 0; k < CLASSES; k++)
            p[i][k] /= sum;
    }
    lmb_predictor_destroy(q);
}

START_TEST(a_move_costs_what_its_answers_differ)
{
    static double was[N][CLASSES], is[N][CLASSES];
    lmb_probe_config c = config(2);
    int kinds[LMB_MOVE_KINDS] = { 0 };
    found t;

    begin(&t);
    ck_ok(lmb_probe_moves(&t.m, t.data, &c, &err));
    answers(&t, t.g, was);
    for (int i = 0; i < t.m.n; i++) {
        const lmb_move *x = &t.m.move[i];
        lmb_graph *after;
        double kl = 0;
        if (x->kind == LMB_MOVE_BITS || kinds[x->kind]++ > 4)
            continue;
        ck_ok(lmb_moves_apply(&t.m, &i, 1, &after, &err));
        answers(&t, after, is);
        for (int n = 0; n < N; n++)
            for (int k = 0; k < CLASSES; k++)
                kl += was[n][k] * log(was[n][k] / is[n][k]) / N;
        ck_assert_msg(fabs(kl - x->loss) <= 1e-6 + 1e-3 * kl, "%s: %g, by definition %g", x->what, x->loss, kl);
        lmb_graph_destroy(after);
    }
    ck_assert(kinds[LMB_MOVE_SHRINK] && kinds[LMB_MOVE_FACTOR] && kinds[LMB_MOVE_BLOCK] == 4);
    forget_moves(&t);
}
END_TEST

START_TEST(what_changes_nothing_costs_nothing)
{
    lmb_probe_config c = config(1);
    bool seen = false;
    double least_bits = 1;
    found t;

    begin(&t);
    ck_ok(lmb_probe_moves(&t.m, t.data, &c, &err));
    for (int i = 0; i < t.m.n; i++) {
        const lmb_move *x = &t.m.move[i];
        bool silent = strncmp(x->what, "stage1.0.", 9) == 0 &&
                      (x->kind == LMB_MOVE_BLOCK || strcmp(x->what, "stage1.0.1.conv.weight") == 0);
        ck_assert(x->loss > 0);
        if (silent)
            ck_assert_msg(x->loss < 1e-9, "%s costs %g", x->what, x->loss);
        seen |= x->kind == LMB_MOVE_BLOCK && silent;
        if (x->kind == LMB_MOVE_BITS && strcmp(x->what, "head.weight") == 0)
            least_bits = fmin(least_bits, x->loss);
    }
    ck_assert(seen);
    ck_assert_msg(least_bits > 1e-9 && least_bits < 1, "few bits cost %g", least_bits);
    forget_moves(&t);
}
END_TEST

START_TEST(threads_change_no_bit)
{
    found t;

    begin(&t);
    double *loss = calloc((size_t)t.m.n, sizeof *loss);
    for (int threads = 1; threads < 4; threads++) {
        lmb_probe_config c = config(threads);
        ck_ok(lmb_probe_moves(&t.m, t.data, &c, &err));
        for (int i = 0; i < t.m.n; i++) {
            if (threads == 1)
                loss[i] = t.m.move[i].loss;
            ck_assert(loss[i] == t.m.move[i].loss);
        }
    }
    free(loss);
    forget_moves(&t);
}
END_TEST

static bool enough(void *ctx, const char *what, int64_t done, int64_t all)
{
    (void)what, (void)all;
    ++*(int *)ctx;
    return done == 0;
}

START_TEST(who_watches_can_stop_it)
{
    lmb_probe_config c = config(1);
    int looks = 0;
    found t;

    begin(&t);
    c.work = enough;
    c.ctx = &looks;
    ck_assert_int_eq(lmb_probe_moves(&t.m, t.data, &c, &err), LMB_E_STOPPED);
    ck_assert_int_eq(looks, 2);
    forget_moves(&t);
}
END_TEST

START_TEST(a_model_without_finite_answers_is_refused)
{
    lmb_probe_config c = config(1);
    found t;

    begin(&t);
    lmb_vid v = lmb_graph_find(t.g, "head.bias");
    ck_assert_int_ne(v, LMB_NONE);
    const float bias[CLASSES] = { NAN };
    ck_ok(lmb_graph_set_data(t.g, v, bias, &err));
    ck_assert_int_eq(lmb_probe_moves(&t.m, t.data, &c, &err), LMB_E_NUMERIC);
    forget_moves(&t);
}
END_TEST

LMB_TEST_MAIN("distill/search_probe", tcase_add_checked_fixture(tc_, setup, teardown);
              add(a_move_costs_what_its_answers_differ); add(what_changes_nothing_costs_nothing);
              add(threads_change_no_bit); add(who_watches_can_stop_it);
              add(a_model_without_finite_answers_is_refused);)
