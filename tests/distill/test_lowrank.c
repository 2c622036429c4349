/* Mirrors distill/lowrank: singular values of known matrices, a factorised model that answers as the whole one does at
 * full rank, and as the model with the truncated weights below it, and that still folds and becomes integers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/random.h"
#include "core/cpu/cpu.h"
#include "core/passes/fold.h"
#include "distill/lowrank/lowrank.h"
#include "distill/lowrank/svd.h"
#include "distill/quantize/qat.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/predictor.h"

static lmb_error err;

static const char *const models[] = { "{name: resnet, depth: 8, width: 6}", "{name: vgg, channels: [8, 0, 12, 9]}",
                                      "{name: lenet}", "{name: mlp, hidden: [20, 12]}" };

static lmb_graph *make(int which)
{
    err = (lmb_error)LMB_ERROR_INIT;
    return graph_of(models[which], LMB_SHAPE(3, 16, 16), 5, 3);
}

static void answers(const lmb_graph *g, float *y)
{
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    lmb_predictor *p;
    const float *logits;
    float x[3 * 16 * 16];
    lmb_rand r = lmb_rand_at(5, LMB_RAND_TEST, 0, 0);

    for (size_t i = 0; i < LMB_COUNT(x); i++)
        x[i] = lmb_rand_normal(&r, (uint32_t)i);
    ck_ok(lmb_cpu_backends("reference", backends, &err));
    ck_ok(lmb_predictor_create(g, NULL, backends, 1, &p, &err));
    ck_ok(lmb_predictor_run(p, x, 1, &logits, &err));
    memcpy(y, logits, 5 * sizeof *y);
    lmb_predictor_destroy(p);
}

static void same_answers(const lmb_graph *a, const lmb_graph *b)
{
    float ya[5], yb[5], largest = 1e-3f;

    answers(a, ya);
    answers(b, yb);
    for (int i = 0; i < 5; i++)
        largest = fmaxf(largest, fabsf(ya[i]));
    for (int i = 0; i < 5; i++)
        ck_assert_msg(fabsf(ya[i] - yb[i]) <= 1e-4f * largest, "logit %d: %.9g and %.9g", i, (double)ya[i],
                      (double)yb[i]);
}

/* Strang, Introduction to Linear Algebra, section 7.2: [3 0; 4 5] has singular values sqrt 45 and sqrt 5. */
START_TEST(known_singular_values)
{
    const double a[] = { 3, 0, 4, 5 };
    double u[4], s[2], v[4];

    ck_ok(lmb_svd(a, 2, 2, u, s, v, &err));
    ck_assert_double_eq_tol(s[0], sqrt(45), 1e-14);
    ck_assert_double_eq_tol(s[1], sqrt(5), 1e-14);
    ck_assert_double_eq_tol(fabs(v[0]), sqrt(0.5), 1e-14);
    ck_assert_double_eq_tol(fabs(u[0]), sqrt(0.1), 1e-14);
}
END_TEST

/* Tall, wide and of low rank: u s v' is the matrix, vectors are orthonormal, Frobenius norms agree. */
START_TEST(decomposition_multiplies_back)
{
    static const int m[] = { 9, 4, 6 }, n[] = { 4, 9, 6 };
    int rank = _i == 2 ? 3 : 4, k = m[_i] < n[_i] ? m[_i] : n[_i];
    double a[54] = { 0 }, u[54], s[9], v[54];
    lmb_rand r = lmb_rand_at(1, LMB_RAND_TEST, 0, (uint64_t)_i);

    for (int q = 0; q < rank; q++)
        for (int i = 0; i < m[_i]; i++)
            for (int j = 0; j < n[_i]; j++)
                a[i * n[_i] + j] += (double)lmb_rand_normal(&r, (uint32_t)(100 * q + i)) *
                                    (double)lmb_rand_normal(&r, (uint32_t)(100 * q + 50 + j));
    ck_ok(lmb_svd(a, m[_i], n[_i], u, s, v, &err));
    for (int i = 0; i < k; i++)
        ck_assert(i < rank ? s[i] > 1e-3 : s[i] < 1e-12 * s[0]);
    for (int i = 0; i < m[_i]; i++)
        for (int j = 0; j < n[_i]; j++) {
            double sum = 0;
            for (int q = 0; q < k; q++)
                sum += u[i * k + q] * s[q] * v[j * k + q];
            ck_assert_double_eq_tol(sum, a[i * n[_i] + j], 1e-12);
        }
    for (int p = 0; p < rank; p++)
        for (int q = 0; q < rank; q++) {
            double left = 0, right = 0;
            for (int i = 0; i < m[_i]; i++)
                left += u[i * k + p] * u[i * k + q];
            for (int j = 0; j < n[_i]; j++)
                right += v[j * k + p] * v[j * k + q];
            ck_assert_double_eq_tol(left, p == q, 1e-12);
            ck_assert_double_eq_tol(right, p == q, 1e-12);
        }
}
END_TEST

/* Three equal input channels of 3 x 3 taps: rank 9 of 27 directions of the outputs, 1 of 3 of the inputs. At ranks
 * above its own the layer is still what it was, and what is left of it is no more than there was. */
START_TEST(more_ranks_than_there_are)
{
    enum { OUT = 64, IN = 3, TAPS = 9, N = OUT * IN * TAPS };
    static const int64_t ranks[][2] = { { 9, 1 }, { 16, 3 }, { 27, 2 }, { 27, 3 } };
    lmb_graph *g = graph_of("{name: vgg, channels: [64]}", LMB_SHAPE(IN, 16, 16), 5, 3);
    lmb_rand r = lmb_rand_at(7, LMB_RAND_TEST, 0, 0);
    const lmb_node *conv = NULL;
    const lmb_shape shape = LMB_SHAPE(OUT, IN, 3, 3);
    float w[N], cut[N];
    lmb_basis *b;
    double share;

    for (int i = g->n_nodes - 1; i >= 0; i--)
        if (lmb_lowrank_fits(g, &g->node[i]) && g->value[g->node[i].in[1]].shape.n == 4)
            conv = &g->node[i];
    ck_assert_ptr_nonnull(conv);
    ck_assert(lmb_shape_equal(&g->value[conv->in[1]].shape, &shape));
    for (int i = 0; i < N; i++)
        w[i] = lmb_rand_normal(&r, (uint32_t)(i / (IN * TAPS) * TAPS + i % TAPS));
    ck_ok(lmb_graph_set_data(g, conv->in[1], w, &err));
    ck_ok(lmb_basis_create(g, conv, &b, &err));
    ck_assert(b->s_out[8] > 1 && b->s_out[9] == 0 && b->s_in[0] > 1 && b->s_in[1] == 0);
    for (size_t i = 0; i < LMB_COUNT(ranks); i++) {
        double lost = 0, all = 0;
        ck_ok(lmb_basis_weights(b, ranks[i][0], ranks[i][1], cut, &err));
        for (int k = 0; k < N; k++) {
            lost += ((double)cut[k] - (double)w[k]) * ((double)cut[k] - (double)w[k]);
            all += (double)w[k] * (double)w[k];
        }
        ck_assert_msg(lost <= 1e-10 * all, "ranks %d, %d: %g of the weights is lost", (int)ranks[i][0],
                      (int)ranks[i][1], sqrt(lost / all));
        ck_ok(lmb_basis_energy(b, ranks[i][0], ranks[i][1], &share, &err));
        ck_assert_double_eq_tol(share, 1, 1e-12);
    }
    lmb_basis_destroy(b);
    lmb_graph_destroy(g);
}
END_TEST

START_TEST(infinite_weights_are_refused)
{
    const double a[] = { 1, INFINITY };
    double s[1];

    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_svd(a, 1, 2, NULL, s, NULL, &err), LMB_E_NUMERIC);
}
END_TEST

/* Every layer that fits, at its full rank, or at half of it. */
static int choose(const lmb_graph *g, int share, lmb_lowrank *what, lmb_basis **basis)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        if (!lmb_lowrank_fits(g, &g->node[i]))
            continue;
        ck_ok(lmb_basis_create(g, &g->node[i], &basis[n], &err));
        const lmb_basis *b = basis[n];
        int64_t out = b->taps == 1 ? b->rank : b->out < b->in * b->taps ? b->out : b->in * b->taps;
        int64_t in = b->taps == 1 ? b->rank : b->in < b->out * b->taps ? b->in : b->out * b->taps;
        what[n] = (lmb_lowrank){ g->value[g->node[i].in[1]].name, (out + share - 1) / share, (in + share - 1) / share,
                                 n % 2 ? NULL : b };
        n++;
    }
    return n;
}

START_TEST(full_rank_answers_the_same)
{
    lmb_graph *g = make(_i), *thin;
    lmb_lowrank what[32];
    lmb_basis *basis[32];
    int n = choose(g, 1, what, basis);

    ck_assert_int_gt(n, 2);
    ck_ok(lmb_pass_lowrank(g, what, n, &thin, &err));
    ck_assert_int_gt(thin->n_nodes, g->n_nodes + n - 1);
    ck_assert_int_eq(lmb_graph_find(thin, what[0].weight), LMB_NONE);
    same_answers(g, thin);
    for (int i = 0; i < n; i++)
        lmb_basis_destroy(basis[i]);
    lmb_graph_destroy(g);
    lmb_graph_destroy(thin);
}
END_TEST

/* Below full rank the factors are the truncated weights, and the folded, quantised forms still exist. */
START_TEST(half_rank_is_the_truncated_model)
{
    lmb_graph *g = make(_i), *thin, *cut, *folded, *qat;
    lmb_lowrank what[32];
    lmb_basis *basis[32];
    int n = choose(g, 2, what, basis);
    lmb_qat_config q;

    ck_ok(lmb_pass_lowrank(g, what, n, &thin, &err));
    ck_ok(lmb_graph_copy(g, &cut, &err));
    for (int i = 0; i < n; i++) {
        const lmb_basis *b = basis[i];
        float *w = malloc(sizeof *w * (size_t)(b->out * b->in * b->taps));
        ck_ok(lmb_basis_weights(b, what[i].rank_out, what[i].rank_in, w, &err));
        double lost = 0, kept = 0, whole = 0;
        for (int64_t k = 0; k < b->out * b->in * b->taps; k++) {
            lost += ((double)w[k] - b->w[k]) * ((double)w[k] - b->w[k]);
            kept += (double)w[k] * (double)w[k];
            whole += b->w[k] * b->w[k];
        }
        ck_assert(lost > 0);
        ck_assert_double_eq_tol(kept + lost, whole, 1e-5 * whole); /* Pythagoras: an orthogonal projection */
        double tail = 0;
        for (int64_t k = what[i].rank_out; b->taps == 1 && k < b->rank; k++)
            tail += b->s[k] * b->s[k];
        if (b->taps == 1) /* Eckart and Young: exactly the squares of what is cut off */
            ck_assert_double_eq_tol(lost, tail, 1e-5 * (tail + lost));
        ck_ok(lmb_graph_set_data(cut, lmb_graph_find(cut, what[i].weight), w, &err));
        free(w);
    }
    same_answers(cut, thin);
    lmb_fields_default(lmb_qat_fields, &q);
    ck_ok(lmb_pass_fold(thin, &folded, &err));
    for (int i = 0; i < folded->n_nodes; i++)
        ck_assert_str_ne(folded->node[i].op->name, "BatchNormalization");
    same_answers(thin, folded);
    ck_ok(lmb_pass_qat(folded, &q, &qat, &err));
    for (int i = 0; i < n; i++)
        lmb_basis_destroy(basis[i]);
    lmb_graph_destroy(g);
    lmb_graph_destroy(thin);
    lmb_graph_destroy(cut);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(qat);
}
END_TEST

START_TEST(impossible_ranks_are_refused)
{
    lmb_graph *g = make(0), *thin;
    lmb_lowrank what = { NULL, 99, 1, NULL };
    for (int i = 0; i < g->n_nodes; i++)
        if (lmb_lowrank_fits(g, &g->node[i]))
            what.weight = g->value[g->node[i].in[1]].name;
    ck_assert_int_eq(lmb_pass_lowrank(g, &what, 1, &thin, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    what.weight = "nobody";
    ck_assert_int_eq(lmb_pass_lowrank(g, &what, 1, &thin, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "nobody"));
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("distill/lowrank", add(known_singular_values); add_loop(decomposition_multiplies_back, 3);
              add(more_ranks_than_there_are); add(infinite_weights_are_refused);
              add_loop(full_rank_answers_the_same, (int)LMB_COUNT(models));
              add_loop(half_rank_is_the_truncated_model, (int)LMB_COUNT(models)); add(impossible_ranks_are_refused);)
