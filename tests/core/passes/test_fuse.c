/* Mirrors core/passes/fuse.c: what is fused, what must not be, and that gradients and statistics stay the same. */
#include "core/passes/fuse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/cpu/cpu.h"
#include "core/graph/autodiff.h"
#include "core/plan/plan.h"
#include "tests/check_main.h"

static lmb_error err;

typedef struct net { lmb_graph *g; lmb_vid loss, wrt[64], grad[64], kept; int n_wrt; } net;

static lmb_vid numbers(net *n, lmb_builder *b, lmb_role role, const char *name, lmb_shape s, float lo, float hi)
{
    int64_t count = lmb_shape_count(&s);
    float *f = malloc(sizeof *f * (size_t)count);
    lmb_rand r = lmb_rand_at(5, LMB_RAND_TEST, 0, (uint64_t)b->g->n_values);
    ck_assert_ptr_nonnull(f);
    for (int64_t i = 0; i < count; i++)
        f[i] = lo + (hi - lo) * lmb_rand_uniform(&r, (uint32_t)i);
    lmb_vid v = lmb_emit_value(b, role, name, LMB_F32, s, f);
    free(f);
    if (role == LMB_ROLE_PARAMETER)
        n->wrt[n->n_wrt++] = v;
    return v;
}

static lmb_vid norm(net *n, lmb_builder *b, lmb_vid x)
{
    int64_t c = lmb_builder_value(b, x)->shape.d[1];
    lmb_vid in[5] = { x, numbers(n, b, LMB_ROLE_PARAMETER, "scale", LMB_SHAPE(c), 0.5f, 1.5f),
                      numbers(n, b, LMB_ROLE_PARAMETER, "bias", LMB_SHAPE(c), -1, 1),
                      numbers(n, b, LMB_ROLE_STATISTIC, "mean", LMB_SHAPE(c), -1, 1),
                      numbers(n, b, LMB_ROLE_STATISTIC, "var", LMB_SHAPE(c), 0.5f, 1.5f) };
    lmb_vid y[3];
    lmb_emit_n(b, "BatchNormalization", "bn", in, 5, LMB_ATTRS(LMB_AINT("training_mode", 1)), y, 3);
    ck_ok(lmb_builder_status(b));
    b->g->value[in[3]].next = y[1];
    b->g->value[in[4]].next = y[2];
    return y[0];
}

static lmb_vid conv(net *n, lmb_builder *b, lmb_vid x, int64_t k)
{
    lmb_vid w =
        numbers(n, b, LMB_ROLE_PARAMETER, "w", LMB_SHAPE(k, lmb_builder_value(b, x)->shape.d[1], 3, 3), -0.3f, 0.3f);
    return lmb_emit(b, "Conv", "conv", LMB_IN(x, w), LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1)));
}

static lmb_vid relu(lmb_builder *b, lmb_vid x) { return lmb_emit(b, "Relu", "relu", LMB_IN(x), LMB_NO_ATTRS); }
static lmb_vid relu6(lmb_builder *b, lmb_vid x)
{
    return lmb_emit(b, "Clip", "relu6", LMB_IN(x, lmb_emit_scalar(b, 0), lmb_emit_scalar(b, 1)), LMB_NO_ATTRS);
}
static lmb_vid sum(lmb_builder *b, lmb_vid x, lmb_vid y)
{
    return lmb_emit(b, "Add", "sum", LMB_IN(x, y), LMB_NO_ATTRS);
}

/* One row a pattern: appended behind a convolution. */
static lmb_vid plain(net *n, lmb_builder *b, lmb_vid x) { return norm(n, b, x); }
static lmb_vid with_relu(net *n, lmb_builder *b, lmb_vid x) { return relu(b, norm(n, b, x)); }
static lmb_vid with_clip(net *n, lmb_builder *b, lmb_vid x) { return relu6(b, norm(n, b, x)); }
static lmb_vid residual(net *n, lmb_builder *b, lmb_vid x) { return relu(b, sum(b, norm(n, b, conv(n, b, x, 6)), x)); }
static lmb_vid right_residual(net *n, lmb_builder *b, lmb_vid x) { return sum(b, x, norm(n, b, conv(n, b, x, 6))); }
static lmb_vid two_norms(net *n, lmb_builder *b, lmb_vid x)
{
    lmb_vid y = norm(n, b, conv(n, b, x, 6));
    return relu(b, sum(b, y, norm(n, b, x)));
}
/* The normalised value is read twice: nothing may vanish. */
static lmb_vid shared(net *n, lmb_builder *b, lmb_vid x)
{
    lmb_vid y = norm(n, b, x);
    return sum(b, relu(b, y), y);
}
static lmb_vid shared_clip(net *n, lmb_builder *b, lmb_vid x)
{
    lmb_vid y = norm(n, b, x);
    return sum(b, relu6(b, y), y);
}
static lmb_vid doubled(net *n, lmb_builder *b, lmb_vid x)
{
    lmb_vid y = norm(n, b, x);
    return sum(b, y, y);
}
static lmb_vid an_output(net *n, lmb_builder *b, lmb_vid x)
{
    n->kept = norm(n, b, x);
    lmb_emit_output(b, "kept", n->kept);
    return relu(b, n->kept);
}

/* Convolutions without a norm: an activation right behind, behind a sum, and one whose sum is read twice. */
static lmb_vid conv_relu(net *n, lmb_builder *b, lmb_vid x) { (void)n; return relu(b, x); }
static lmb_vid conv_residual(net *n, lmb_builder *b, lmb_vid x) { return relu(b, sum(b, conv(n, b, x, 6), x)); }
static lmb_vid conv_clip(net *n, lmb_builder *b, lmb_vid x) { (void)n; return relu6(b, x); }
static lmb_vid conv_shared(net *n, lmb_builder *b, lmb_vid x)
{
    lmb_vid y = sum(b, conv(n, b, x, 6), x);
    return sum(b, relu(b, y), y);
}

static const struct row {
    const char *name;
    lmb_vid (*build)(net *n, lmb_builder *b, lmb_vid x);
    int norms, left; /* BatchNormAct nodes, and Relu, Clip, Add and their gradients that stay */
    int convs;       /* ConvAct nodes */
} rows[] = {
    { "plain", plain, 1, 0 }, { "relu", with_relu, 1, 0 }, { "clip", with_clip, 1, 0 },
    { "residual", residual, 1, 2 }, /* ReluGrad is read by both branches, whose gradients are added up */
    { "right residual", right_residual, 1, 1 }, { "two norms", two_norms, 2, 2 }, { "shared", shared, 1, 4 },
    { "shared clip", shared_clip, 1, 4 }, { "doubled", doubled, 1, 2 },
    { "conv relu", conv_relu, 0, 1, 1 }, { "conv residual", conv_residual, 0, 2, 1 },
    { "conv clip", conv_clip, 0, 2, 0 }, /* ClipGrad reads what Clip read */
    { "conv shared", conv_shared, 0, 5, 1 }, { "output", an_output, 1, 2 },
};

static net make(const struct row *row)
{
    net n = { .kept = LMB_NONE };
    lmb_graph *forward;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&forward, &err));
    lmb_builder b = lmb_builder_of(forward, &err);
    lmb_vid x = numbers(&n, &b, LMB_ROLE_CONSTANT, "x", LMB_SHAPE(3, 4, 5, 5), -1, 1);
    lmb_vid y = row->build(&n, &b, conv(&n, &b, x, 6));
    lmb_vid weigh = numbers(&n, &b, LMB_ROLE_CONSTANT, "r", lmb_builder_value(&b, y)->shape, -1, 1);
    n.loss =
        lmb_emit(&b, "SumTo", "loss", LMB_IN(lmb_emit(&b, "Mul", NULL, LMB_IN(y, weigh), LMB_NO_ATTRS)), LMB_NO_ATTRS);
    lmb_emit_output(&b, "loss", n.loss);
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_autodiff(forward, n.loss, n.wrt, n.n_wrt, &n.g, n.grad, &err));
    for (int i = 0; i < n.n_wrt; i++) {
        char name[16];
        snprintf(name, sizeof name, "grad%d", i);
        ck_ok(lmb_graph_output_add(n.g, name, n.grad[i], &err));
    }
    lmb_graph_destroy(forward);
    return n;
}

static void same(const lmb_graph *g, lmb_vid v, const lmb_plan *a, const lmb_plan *b, const char *row)
{
    const float *x = lmb_plan_data(a, v), *y = lmb_plan_data(b, v);
    double scale = 1e-3, worst = 0;
    ck_assert(x && y);
    for (int64_t i = 0; i < lmb_shape_count(&g->value[v].shape); i++) {
        scale = fmax(scale, fabs((double)x[i]));
        worst = fmax(worst, fabs((double)x[i] - y[i]));
    }
    ck_assert_msg(worst <= 2e-5 * scale, "%s, %s: differs by %g of %g", row, g->value[v].name, worst, scale);
}

/* Gradients, kept outputs and running statistics equal those of the graph that is not fused, on every backend. */
START_TEST(results_stay)
{
    static const char *const names[] = { "cpu", "portable" };
    net n = make(&rows[_i]);
    for (size_t k = 0; k < 2; k++) {
        const lmb_backend *list[3];
        lmb_plan *plain_plan, *fused;
        ck_ok(lmb_cpu_backends(names[k], list, &err));
        lmb_plan_options o = { .backends = list, .update_state = true };
        ck_ok(lmb_plan_compile(n.g, &o, &fused, &err));
        o.no_fusion = true;
        ck_ok(lmb_plan_compile(n.g, &o, &plain_plan, &err));
        ck_ok(lmb_plan_run(plain_plan, NULL, &err));
        ck_ok(lmb_plan_run(fused, NULL, &err));
        for (int i = 0; i < n.g->n_outputs; i++)
            same(n.g, n.g->output[i].value, plain_plan, fused, rows[_i].name);
        for (int v = 0; v < n.g->n_values; v++)
            if (n.g->value[v].next != LMB_NONE)
                same(n.g, n.g->value[v].next, plain_plan, fused, rows[_i].name);
        lmb_plan_destroy(plain_plan);
        lmb_plan_destroy(fused);
    }
    lmb_graph_destroy(n.g);
}
END_TEST

START_TEST(groups_are_found)
{
    static const char *const members[] = { "Relu", "Clip", "Add", "ReluGrad", "ClipGrad" };
    net n = make(&rows[_i]);
    lmb_graph *g;
    lmb_vid *map;
    int norms = 0, left = 0, convs = 0;

    ck_ok(lmb_pass_fuse(n.g, false, &g, &map, &err));
    for (int i = 0; g && i < g->n_nodes; i++) {
        const char *op = g->node[i].op->name;
        norms += strcmp(op, "BatchNormAct") == 0;
        convs += strcmp(op, "ConvAct") == 0;
        ck_assert_str_ne(op, "BatchNormalization");
        ck_assert_str_ne(op, "BatchNormGrad");
        for (int k = 0; k < LMB_COUNT(members); k++)
            left += strcmp(op, members[k]) == 0;
    }
    if (g) /* else nothing to fuse */
        ck_assert_msg(norms == rows[_i].norms && left == rows[_i].left && convs == rows[_i].convs,
                      "%s: %d norms, %d convs, %d left", rows[_i].name, norms, convs, left);
    else
        ck_assert_int_eq(rows[_i].norms + rows[_i].convs, 0);
    if (n.kept != LMB_NONE)
        ck_assert_int_ne(map[n.kept], LMB_NONE);
    free(map);
    lmb_graph_destroy(g);
    lmb_graph_destroy(n.g);
}
END_TEST

/* Without BatchNormalization in training there is nothing to copy; a plan reads state where the caller keeps it. */
START_TEST(state_is_the_callers)
{
    net n = make(&rows[1]);
    const lmb_backend *list[3];
    lmb_plan *p;
    lmb_state_layout *l;
    lmb_graph *g;
    lmb_vid *map;
    float before;

    ck_ok(lmb_cpu_backends("cpu", list, &err));
    lmb_plan_options o = { .backends = list };
    ck_ok(lmb_plan_compile(n.g, &o, &p, &err));
    ck_ok(lmb_plan_run(p, NULL, &err));
    before = *(const float *)lmb_plan_data(p, n.loss);
    ck_ok(lmb_state_layout_create(n.g, &l, &err));
    float *zero = calloc(l->count, sizeof *zero);
    ck_assert_ptr_nonnull(zero);
    ck_ok(lmb_plan_bind_state(p, l, zero, &err));
    ck_ok(lmb_plan_run(p, NULL, &err));
    ck_assert_float_eq(*(const float *)lmb_plan_data(p, n.loss), 0);
    for (int i = 0; i < l->n; i++)
        ck_ok(lmb_plan_bind(p, l->segment[i].value, NULL, &err));
    ck_ok(lmb_plan_run(p, NULL, &err));
    ck_assert_float_eq(*(const float *)lmb_plan_data(p, n.loss), before);
    ck_assert_int_ge(lmb_plan_ready(p, n.loss), 0);
    ck_assert_int_eq(lmb_plan_bind(p, n.g->node[0].out[0], zero, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_plan_destroy(p);
    lmb_state_layout_destroy(l);
    lmb_graph_destroy(n.g);
    free(zero);

    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_emit_output(&b, "y", relu(&b, lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(2), NULL)));
    ck_ok(lmb_builder_status(&b));
    lmb_graph *fused;
    ck_ok(lmb_pass_fuse(g, false, &fused, &map, &err));
    ck_assert(!fused && !map);
    lmb_graph_destroy(g);
}
END_TEST

static int nodes(const lmb_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += strcmp(g->node[i].op->name, op) == 0;
    return n;
}

/* A product and its Relu, in training too, whose gradient reads the result; not where the sum itself is read. */
START_TEST(products_are_fused_where_they_may)
{
    net n = { 0 };
    lmb_graph *g, *with, *fused;
    lmb_vid *map, grad[2];

    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = numbers(&n, &b, LMB_ROLE_INPUT, "x", LMB_SHAPE(4, 6), -1, 1),
            w = numbers(&n, &b, LMB_ROLE_PARAMETER, "w", LMB_SHAPE(6, 6), -1, 1),
            c = numbers(&n, &b, LMB_ROLE_PARAMETER, "c", LMB_SHAPE(6), -1, 1);
    lmb_vid first = lmb_emit(&b, "Gemm", "first", LMB_IN(x, w, c), LMB_ATTRS(LMB_AINT("transB", 1)));
    lmb_vid second = lmb_emit(&b, "Gemm", "second", LMB_IN(relu(&b, first), w), LMB_NO_ATTRS);
    lmb_vid loss = lmb_emit(&b, "ReduceSum", "loss", LMB_IN(sum(&b, relu(&b, second), second)),
                            LMB_ATTRS(LMB_AINT("keepdims", 0)));
    lmb_emit_output(&b, "loss", loss);
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_autodiff(g, loss, n.wrt, 2, &with, grad, &err));
    ck_ok(lmb_graph_output_add(with, "dw", grad[0], &err));
    ck_ok(lmb_pass_fuse(with, false, &fused, &map, &err));
    ck_assert(!fused && !map);
    ck_ok(lmb_pass_fuse(with, true, &fused, &map, &err));
    ck_assert(fused && nodes(fused, "GemmAct") == 1);
    ck_assert_int_eq(nodes(fused, "Relu"), 1);
    ck_assert_int_eq(nodes(fused, "Gemm"), nodes(with, "Gemm") - 1);
    ck_assert_int_eq(map[first], LMB_NONE);
    ck_assert_int_ne(map[second], LMB_NONE);
    free(map);
    lmb_graph_destroy(fused);
    lmb_graph_destroy(with);
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("core/passes/fuse", add(products_are_fused_where_they_may);
              add_loop(results_stay, LMB_COUNT(rows)); add_loop(groups_are_found, LMB_COUNT(rows));
              add(state_is_the_callers);)
