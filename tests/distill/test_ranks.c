/* Mirrors distill/lowrank/ranks.c: ranks of known spectra, what is lost below them, and what it does to answers; layers
 * that are left alone, and names that are refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/random.h"
#include "core/cpu/cpu.h"
#include "core/graph/op.h"
#include "distill/lowrank/ranks.h"
#include "tests/check_main.h"
#include "tests/fields_check.h"
#include "tests/train/from_text.h"
#include "train/predictor.h"

static lmb_error err;

static const char *const models[] = { "{name: resnet, depth: 8, width: 6}", "{name: vgg, channels: [8, 0, 12, 9]}",
                                      "{name: lenet}", "{name: mlp, hidden: [20, 12]}",
                                      "{name: mobilenet_v1, width: 0.06}" };
enum { MODELS = (int)LMB_COUNT(models), VGG = 1, MLP = 3, NUMBERS = 3 * 16 * 16 };

static lmb_graph *make(int which)
{
    err = (lmb_error)LMB_ERROR_INIT;
    return graph_of(models[which], LMB_SHAPE(3, 16, 16), 5, 3);
}

/* Bound as a configuration would be; what `text` does not say is the default. */
static lmb_config *bind(const char *text, lmb_ranks_config *out)
{
    lmb_config *c;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "r.yaml", &c, &err));
    ck_ok(lmb_fields_bind(lmb_ranks_fields, lmb_config_root(c), out, &err));
    return c;
}

static lmb_ranks choose(const lmb_graph *g, const char *text)
{
    lmb_ranks_config c;
    lmb_ranks r;
    lmb_config *y = bind(text, &c);
    ck_ok(lmb_ranks_choose(g, &c, &r, &err));
    lmb_config_destroy(y);
    return r;
}

static const lmb_ranks_row *row_of(const lmb_ranks *r, const char *weight)
{
    for (int i = 0; i < r->n; i++)
        if (strcmp(r->row[i].weight, weight) == 0)
            return &r->row[i];
    ck_abort_msg("%s has no row", weight);
    return NULL;
}

/* Vector k of an orthonormal basis of n: a cosine. */
static double cosine(int64_t n, int64_t k, int64_t i)
{
    return sqrt((k ? 2.0 : 1.0) / (double)n) * cos(M_PI * ((double)i + 0.5) * (double)k / (double)n);
}

/* The first layer with `taps` weights a channel pair that has room for 4 ranks; its weights become known ones. */
static lmb_vid plant(lmb_graph *g, int64_t taps, const double *s, int n)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (!lmb_lowrank_fits(g, &g->node[i]))
            continue;
        lmb_vid v = g->node[i].in[1];
        const lmb_shape *d = &g->value[v].shape;
        int64_t out = d->d[0], in = d->d[1], t = d->n == 4 ? d->d[2] * d->d[3] : 1;
        if ((taps > 1) != (t > 1) || out < 8 || in < 8)
            continue;
        float *w = calloc((size_t)(out * in * t), sizeof *w);
        for (int64_t o = 0; o < out; o++)
            for (int64_t c = 0; c < in; c++)
                for (int64_t k = 0; k < t; k++)
                    for (int q = 0; q < n; q++) /* outputs: one direction each; inputs of a k x k: pairs share one */
                        w[(o * in + c) * t + k] +=
                            (float)(s[q] * cosine(out, q, o) * cosine(in, t > 1 ? q / 2 : q, c) * (t > 1 ? k == q : 1));
        ck_ok(lmb_graph_set_data(g, v, w, &err));
        free(w);
        return v;
    }
    ck_abort_msg("no layer to plant weights in");
    return LMB_NONE;
}

/* ---- the rank ---- */

START_TEST(as_few_as_hold_the_share)
{
    const double two[] = { 3, 1 }, even[] = { 2, 2, 2, 2 }, none[] = { 0, 0, 0 }, tail[] = { 1, 1e-8, 1e-9 };
    const struct { const double *s; int64_t n; double energy; int64_t rank; } rows[] = {
        { two, 2, 0.89, 1 },   { two, 2, 0.9, 1 },   { two, 2, 0.91, 2 },   { two, 2, 1, 2 },
        { even, 4, 0.25, 1 },  { even, 4, 0.5, 2 },  { even, 4, 0.51, 3 },  { even, 4, 0.75, 3 },
        { even, 4, 0.76, 4 },  { even, 4, 0.01, 1 }, { none, 3, 0.5, 3 },   { tail, 3, 1, 1 },
    };

    for (size_t i = 0; i < LMB_COUNT(rows); i++)
        ck_assert_msg(lmb_ranks_of_energy(rows[i].s, rows[i].n, rows[i].energy) == rows[i].rank, "row %zu: %lld", i,
                      (long long)lmb_ranks_of_energy(rows[i].s, rows[i].n, rows[i].energy));
}
END_TEST

/* Squares 64, 16, 4, 1 of 85: 75.3, 94.1, 98.8 and 100 %. */
static const double planted[] = { 8, 4, 2, 1 };

START_TEST(known_spectrum_of_a_matrix)
{
    const struct { const char *config; int64_t rank; double energy; } rows[] = {
        { "{energy: 0.75, tile: 1}", 1, 64 / 85.0 }, { "{energy: 0.9, tile: 1}", 2, 80 / 85.0 },
        { "{energy: 0.98, tile: 1}", 3, 84 / 85.0 }, { "{energy: 1, tile: 1}", 4, 1 },
        { "{energy: 0.75, tile: 3}", 3, 84 / 85.0 }, /* rounded up */
        { "{energy: 0.98, tile: 8}", 4, 1 },         /* but not beyond what the weights have */
    };
    lmb_graph *g = make(MLP);
    const char *weight = g->value[plant(g, 1, planted, 4)].name;

    for (size_t i = 0; i < LMB_COUNT(rows); i++) {
        lmb_ranks r = choose(g, rows[i].config);
        const lmb_ranks_row *x = row_of(&r, weight);
        ck_assert_msg(x->thin && x->rank_out == rows[i].rank && x->rank_in == rows[i].rank, "%s: rank %lld",
                      rows[i].config, (long long)x->rank_out);
        ck_assert_double_eq_tol(x->energy, rows[i].energy, 1e-6);
        lmb_ranks_free(&r);
    }
    lmb_graph_destroy(g);
}
END_TEST

/* Outputs see 64, 16, 4, 1; inputs 80 and 5, as two directions of outputs share one. */
START_TEST(known_spectra_of_a_convolution)
{
    const struct { const char *config; int64_t out, in; double energy; } rows[] = {
        { "{energy: 0.75, tile: 1}", 1, 1, 64 / 85.0 },
        { "{energy: 0.9, tile: 1}", 2, 1, 80 / 85.0 },
        { "{energy: 0.98, tile: 1}", 3, 2, 84 / 85.0 },
        { "{energy: 1, tile: 1}", 4, 2, 1 },
        { "{energy: 0.98, tile: 8}", 4, 2, 1 },
    };
    lmb_graph *g = make(VGG);
    const char *weight = g->value[plant(g, 9, planted, 4)].name;

    for (size_t i = 0; i < LMB_COUNT(rows); i++) {
        lmb_ranks r = choose(g, rows[i].config);
        const lmb_ranks_row *x = row_of(&r, weight);
        ck_assert_msg(x->thin && x->rank_out == rows[i].out && x->rank_in == rows[i].in, "%s: ranks %lld, %lld",
                      rows[i].config, (long long)x->rank_out, (long long)x->rank_in);
        ck_assert_double_eq_tol(x->energy, rows[i].energy, 1e-6);
        lmb_ranks_free(&r);
    }
    lmb_graph_destroy(g);
}
END_TEST

/* ---- what is lost ---- */

static void answers(const lmb_graph *g, const float *x, float *y)
{
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    lmb_predictor *p;
    const float *logits;

    ck_ok(lmb_cpu_backends("reference", backends, &err));
    ck_ok(lmb_predictor_create(g, NULL, backends, 1, &p, &err));
    ck_ok(lmb_predictor_run(p, x, 1, &logits, &err));
    memcpy(y, logits, 5 * sizeof *y);
    lmb_predictor_destroy(p);
}

static void draw(uint64_t which, float *x)
{
    lmb_rand r = lmb_rand_at(5, LMB_RAND_TEST, 0, which);
    for (int i = 0; i < NUMBERS; i++)
        x[i] = lmb_rand_normal(&r, (uint32_t)i);
}

static double distance(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sqrt(sum);
}

/* At energy 1 what cannot be cut is not, and what is of low rank is cut exactly. */
START_TEST(all_the_energy_is_the_function)
{
    const float zero[5] = { 0 };
    lmb_graph *g = make(_i), *thin;
    float x[NUMBERS], whole[5], cut[5];
    lmb_ranks r = choose(g, "{energy: 1}");

    for (int i = 0; i < r.n; i++)
        ck_assert_msg(!r.row[i].thin, "%s of full rank is factorised", r.row[i].weight);
    ck_ok(lmb_ranks_apply(&r, &thin, &err));
    ck_assert_int_eq(thin->n_nodes, g->n_nodes);
    lmb_ranks_free(&r);
    lmb_graph_destroy(thin);

    if (_i == VGG || _i == MLP) {
        plant(g, _i == VGG ? 9 : 1, planted, 4);
        r = choose(g, "{energy: 1, tile: 2}");
        ck_ok(lmb_ranks_apply(&r, &thin, &err));
        ck_assert_int_gt(thin->n_nodes, g->n_nodes);
        draw(1, x);
        answers(g, x, whole);
        answers(thin, x, cut);
        ck_assert_double_le(distance(whole, cut, 5), 1e-4 * (1e-3 + distance(whole, zero, 5)));
        lmb_ranks_free(&r);
        lmb_graph_destroy(thin);
    }
    lmb_graph_destroy(g);
}
END_TEST

/* x [1, 144] by MatMul and Add to 64 numbers, by weights of rank 8, then by MatMul to 5. */
static lmb_graph *products(void)
{
    float w[144 * 64] = { 0 }, b[64], head[64 * 5];
    lmb_graph *g;

    err = (lmb_error)LMB_ERROR_INIT;
    for (int64_t i = 0; i < 144; i++)
        for (int64_t o = 0; o < 64; o++)
            for (int64_t q = 0; q < 8; q++)
                w[i * 64 + o] += (float)((double)(9 - q) * cosine(144, q, i) * cosine(64, q, o));
    for (int i = 0; i < 64; i++)
        b[i] = 0.01f * (float)i;
    for (int i = 0; i < 64 * 5; i++)
        head[i] = (float)cosine(320, 7, i);
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder e = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&e, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 144), NULL),
            v = lmb_emit_value(&e, LMB_ROLE_PARAMETER, "full", LMB_F32, LMB_SHAPE(144, 64), w),
            a = lmb_emit_value(&e, LMB_ROLE_PARAMETER, "bias", LMB_F32, LMB_SHAPE(64), b),
            h = lmb_emit_value(&e, LMB_ROLE_PARAMETER, "head", LMB_F32, LMB_SHAPE(64, 5), head);
    x = lmb_emit(&e, "MatMul", "product", LMB_IN(x, v), LMB_NO_ATTRS);
    x = lmb_emit(&e, "Add", "sum", LMB_IN(x, a), LMB_NO_ATTRS);
    x = lmb_emit(&e, "MatMul", "last", LMB_IN(x, h), LMB_NO_ATTRS);
    ck_ok(lmb_builder_status(&e));
    ck_ok(lmb_graph_output_add(g, "logits", x, &err));
    return g;
}

/* A full layer as exporters write it is one, by the name of its weights, which may be asked for. */
START_TEST(products_are_layers)
{
    lmb_graph *g = products(), *thin;
    float x[NUMBERS], whole[5], cut[5];
    const float zero[5] = { 0 };
    lmb_ranks r = choose(g, "{energy: 1, tile: 1, layers: [full]}");

    ck_assert_int_eq(r.n, 1);
    ck_assert_int_eq(r.others, 0);
    ck_assert_str_eq(r.row[0].weight, "full");
    ck_assert(r.row[0].thin && r.row[0].rank_out == 8 && r.row[0].out == 64 && r.row[0].in == 144);
    ck_ok(lmb_ranks_apply(&r, &thin, &err));
    draw(3, x);
    answers(g, x, whole);
    answers(thin, x, cut);
    ck_assert_double_le(distance(whole, cut, 5), 1e-4 * distance(whole, zero, 5));
    ck_assert_double_lt(lmb_graph_macs(thin), 0.25 * lmb_graph_macs(g));
    lmb_ranks_free(&r);
    lmb_graph_destroy(thin);
    lmb_graph_destroy(g);
    g = make(4);
    r = choose(g, "{energy: 0.5}");
    ck_assert_int_eq(r.others, 13); /* the depthwise ones */
    lmb_ranks_free(&r);
    lmb_graph_destroy(g);
}
END_TEST

/* A model of one layer: answers are off by no more than the length of what the weights have lost times the sample's. */
START_TEST(answers_are_off_by_what_is_lost)
{
    static const char *const configs[] = { "{energy: 0.5, tile: 1, gain: 0}", "{energy: 0.9, tile: 1, gain: 0}",
                                           "{energy: 0.99, tile: 1, gain: 0}" };
    const double s[] = { 3, 2, 1, 0.5, 0.25 };
    double last = INFINITY;
    lmb_graph *g = graph_of("{name: mlp, hidden: []}", LMB_SHAPE(3, 16, 16), 5, 3), *thin;

    err = (lmb_error)LMB_ERROR_INIT;
    lmb_vid v = LMB_NONE;
    for (int i = 0; i < g->n_nodes; i++)
        if (lmb_lowrank_fits(g, &g->node[i]))
            v = g->node[i].in[1];
    ck_assert_int_ne(v, LMB_NONE);
    float *w = calloc((size_t)5 * NUMBERS, sizeof *w);
    for (int64_t o = 0; o < 5; o++)
        for (int64_t k = 0; k < NUMBERS; k++)
            for (int q = 0; q < 5; q++)
                w[o * NUMBERS + k] += (float)(s[q] * cosine(5, q, o) * cosine(NUMBERS, q, k));
    ck_ok(lmb_graph_set_data(g, v, w, &err));
    free(w);
    for (size_t k = 0; k < LMB_COUNT(configs); k++) {
        lmb_ranks r = choose(g, configs[k]);
        double all = 0, most = 0;
        for (int q = 0; q < 5; q++)
            all += s[q] * s[q];
        ck_assert(r.n == 1 && r.row[0].thin);
        double lost = sqrt(all * (1 - r.row[0].energy));
        ck_ok(lmb_ranks_apply(&r, &thin, &err));
        for (uint64_t i = 0; i < 20; i++) {
            const float zero[NUMBERS] = { 0 };
            float x[NUMBERS], whole[5], cut[5];
            draw(i, x);
            answers(g, x, whole);
            answers(thin, x, cut);
            double off = distance(whole, cut, 5), length = distance(x, zero, NUMBERS);
            ck_assert_msg(off <= lost * length * (1 + 1e-5) + 1e-4, "%s: off by %g, lost %g", configs[k], off,
                          lost * length);
            most = fmax(most, off);
        }
        ck_assert(most > 0 && most < last);
        last = most;
        lmb_ranks_free(&r);
        lmb_graph_destroy(thin);
    }
    lmb_graph_destroy(g);
}
END_TEST

/* What is left of the weights is what the row says, and no less than the two ranks promise. */
START_TEST(rows_tell_what_is_left)
{
    lmb_graph *g = make(_i), *thin;
    lmb_ranks r = choose(g, "{energy: 0.6, tile: 1, gain: 0}");
    double before = 0, after = 0, batch = (double)g->value[lmb_graph_input(g, 0)].shape.d[0];
    int n = 0;

    for (int i = 0; i < r.n; i++) {
        const lmb_ranks_row *x = &r.row[i];
        before += x->macs;
        after += x->macs_after;
        if (!x->thin)
            continue;
        const lmb_basis *b = x->basis;
        double lost = 0, all = 0;
        float *w = malloc(sizeof *w * (size_t)(b->out * b->in * b->taps));
        ck_ok(lmb_basis_weights(b, x->rank_out, x->rank_in, w, &err));
        for (int64_t k = 0; k < b->out * b->in * b->taps; k++) {
            lost += ((double)w[k] - b->w[k]) * ((double)w[k] - b->w[k]);
            all += b->w[k] * b->w[k];
        }
        free(w);
        ck_assert_double_eq_tol(1 - lost / all, x->energy, 1e-5);
        ck_assert_double_ge(x->energy, (x->taps > 1 ? 2 * 0.6 - 1 : 0.6) - 1e-9);
        ck_assert_double_lt(x->macs_after, x->macs);
        n++;
    }
    ck_assert_int_gt(n, 0);
    ck_ok(lmb_ranks_apply(&r, &thin, &err));
    ck_assert_double_eq_tol(lmb_graph_macs(g) - lmb_graph_macs(thin), batch * (before - after), 0.5);
    lmb_ranks_free(&r);
    lmb_graph_destroy(g);
    lmb_graph_destroy(thin);
}
END_TEST

/* ---- which layers ---- */

static int thin_of(const lmb_graph *g, const char *text)
{
    lmb_ranks r = choose(g, text);
    int n = 0;
    for (int i = 0; i < r.n; i++)
        n += r.row[i].thin;
    lmb_ranks_free(&r);
    return n;
}

START_TEST(layers_are_left_alone)
{
    lmb_graph *g = make(MLP);
    lmb_ranks all = choose(g, "{energy: 0.3, tile: 1, gain: 0}"), inner, one;
    char text[200];

    ck_assert_int_eq(all.n, 3);
    inner = choose(g, "{energy: 0.3, tile: 1, gain: 0, ends: false}");
    ck_assert_int_eq(inner.n, 1);
    ck_assert_str_eq(inner.row[0].weight, all.row[1].weight);
    snprintf(text, sizeof text, "{energy: 0.3, tile: 1, gain: 0, ends: false, layers: [%s]}", all.row[0].weight);
    one = choose(g, text); /* an end that is named is meant */
    ck_assert_int_eq(one.n, 1);
    ck_assert_str_eq(one.row[0].weight, all.row[0].weight);
    ck_assert(one.row[0].thin);
    ck_assert_int_gt(thin_of(g, "{energy: 0.3, tile: 1, gain: 0}"), 1);
    ck_assert_int_lt(thin_of(g, "{energy: 0.3, tile: 1, gain: 0.8}"), thin_of(g, "{energy: 0.3, tile: 1, gain: 0}"));
    ck_assert_int_eq(thin_of(g, "{energy: 0.3, tile: 1024}"), 0); /* a whole layer is less than a tile */
    lmb_ranks_free(&all);
    lmb_ranks_free(&inner);
    lmb_ranks_free(&one);
    lmb_graph_destroy(g);
}
END_TEST

/* All zero: of no rank, and a factor of it would never learn. */
START_TEST(zeros_stay)
{
    lmb_graph *g = make(MLP);
    const double none[] = { 0 };
    const char *weight = g->value[plant(g, 1, none, 1)].name;
    lmb_ranks r = choose(g, "{energy: 0.3, tile: 1, gain: 0}");

    ck_assert(!row_of(&r, weight)->thin);
    lmb_ranks_free(&r);
    lmb_graph_destroy(g);
}
END_TEST

static void refused(const lmb_graph *g, const char *text, const char *says)
{
    lmb_ranks_config c;
    lmb_ranks r;
    lmb_config *y;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "r.yaml", &y, &err));
    lmb_status st = lmb_fields_bind(lmb_ranks_fields, lmb_config_root(y), &c, &err);
    if (st == LMB_OK)
        st = lmb_ranks_choose(g, &c, &r, &err);
    ck_assert_msg(st == LMB_E_ARG && strstr(err.msg, says), "%s: %d: %s", text, (int)st, err.msg);
    lmb_config_destroy(y);
}

START_TEST(what_can_not_be_is_refused)
{
    lmb_graph *g = make(4);
    float nan = NAN;

    ck_defaults("lowrank", lmb_ranks_fields);
    refused(g, "{energy: 0}", "energy is 0");
    refused(g, "{energy: 1.1}", "energy is 1.1");
    refused(g, "{gain: 1}", "gain is 1");
    refused(g, "{tile: 0}", "tile is 0");
    refused(g, "{energie: 0.5}", "did you mean 'energy'");
    refused(g, "{layers: head.weight}", "layers is a list");
    refused(g, "{layers: [nobody]}", "r.yaml:1:11: no layer 'nobody' can be factorised; there are ");
    for (int i = 0; i < g->n_nodes; i++) /* a depthwise one is no matrix */
        if (strcmp(g->node[i].op->name, "Conv") == 0 && !lmb_lowrank_fits(g, &g->node[i])) {
            char text[200];
            snprintf(text, sizeof text, "{layers: [%s]}", g->value[g->node[i].in[1]].name);
            refused(g, text, "can be factorised");
            break;
        }
    lmb_graph_destroy(g);
    g = make(MLP);
    lmb_vid v = plant(g, 1, planted, 4);
    float *w = malloc(lmb_shape_bytes(&g->value[v].shape, LMB_F32));
    memcpy(w, g->value[v].data, lmb_shape_bytes(&g->value[v].shape, LMB_F32));
    w[7] = nan;
    ck_ok(lmb_graph_set_data(g, v, w, &err));
    free(w);
    lmb_ranks_config c;
    lmb_ranks r;
    lmb_fields_default(lmb_ranks_fields, &c);
    ck_assert_int_eq(lmb_ranks_choose(g, &c, &r, &err), LMB_E_NUMERIC);
    ck_assert_ptr_nonnull(strstr(err.msg, g->value[v].name));
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("distill/ranks", add(as_few_as_hold_the_share); add(known_spectrum_of_a_matrix);
              add(known_spectra_of_a_convolution); add_loop(all_the_energy_is_the_function, MODELS);
              add(products_are_layers); add(answers_are_off_by_what_is_lost); add_loop(rows_tell_what_is_left, MODELS);
              add(layers_are_left_alone); add(zeros_stay); add(what_can_not_be_is_refused);)
