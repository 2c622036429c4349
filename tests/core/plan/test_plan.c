/* Mirrors core/plan and core/graph/autodiff.c: a small residual network end to end. */
#include "core/plan/plan.h"

#include <math.h>
#include <string.h>

#include "core/base/str.h"
#include "core/graph/autodiff.h"
#include "tests/check_main.h"

static lmb_error err;

typedef struct net { lmb_graph *g; lmb_vid x, w1, b1, w2, loss; } net;

/* loss = sum(relu(conv(x)) + conv(relu(conv(x)))), with a skip connection so that gradients add up. */
static net build(void)
{
    net n = { 0 };
    float w1[4 * 2 * 3 * 3], b1[4], w2[4 * 4 * 3 * 3];
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, 0, 0);

    err = (lmb_error)LMB_ERROR_INIT;
    for (uint32_t i = 0; i < 72; i++)
        w1[i] = lmb_rand_normal(&r, i) * 0.3f;
    for (uint32_t i = 0; i < 4; i++)
        b1[i] = lmb_rand_normal(&r, 100 + i) * 0.3f;
    for (uint32_t i = 0; i < 144; i++)
        w2[i] = lmb_rand_normal(&r, 200 + i) * 0.3f;
    ck_ok(lmb_graph_create(&n.g, &err));
    lmb_builder b = lmb_builder_of(n.g, &err);
    n.x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(2, 2, 7, 6), NULL);
    n.w1 = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w1", LMB_F32, LMB_SHAPE(4, 2, 3, 3), w1);
    n.b1 = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "b1", LMB_F32, LMB_SHAPE(4), b1);
    n.w2 = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w2", LMB_F32, LMB_SHAPE(4, 4, 3, 3), w2);
    lmb_vid y = lmb_emit(&b, "Conv", "c1", LMB_IN(n.x, n.w1, n.b1),
                         LMB_ATTRS(LMB_AINTS("pads", 1, 0, 1, 2), LMB_AINTS("strides", 2, 1)));
    y = lmb_emit(&b, "Relu", "r1", LMB_IN(y), LMB_NO_ATTRS);
    lmb_vid z = lmb_emit(&b, "Conv", "c2", LMB_IN(y, n.w2), LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1)));
    z = lmb_emit(&b, "Add", "skip", LMB_IN(z, y), LMB_NO_ATTRS);
    z = lmb_emit(&b, "Relu", "r2", LMB_IN(z), LMB_NO_ATTRS);
    n.loss = lmb_emit(&b, "SumTo", "loss", LMB_IN(z), LMB_NO_ATTRS);
    lmb_emit_output(&b, "loss", n.loss);
    ck_ok(lmb_builder_status(&b));
    return n;
}

static void fill(float *x, int n)
{
    lmb_rand r = lmb_rand_at(4, LMB_RAND_TEST, 0, 0);
    for (int i = 0; i < n; i++)
        x[i] = lmb_rand_normal(&r, (uint32_t)i);
}

START_TEST(gradients_agree_with_finite_differences)
{
    net n = build();
    lmb_graph *t;
    lmb_vid wrt[] = { n.w1, n.b1, n.w2 }, grad[3];
    lmb_plan *fwd, *bwd;
    lmb_state_layout *l;
    float x[2 * 2 * 7 * 6], state[220], g[220];

    ck_ok(lmb_autodiff(n.g, n.loss, wrt, 3, &t, grad, &err));
    lmb_builder b = lmb_builder_of(t, &err);
    lmb_emit_output(&b, "g1", grad[0]);
    lmb_emit_output(&b, "g2", grad[1]);
    lmb_emit_output(&b, "g3", grad[2]);
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_state_layout_create(t, &l, &err));
    ck_assert_uint_eq(l->count, 220);
    lmb_state_from_graph(l, t, state);
    fill(x, 168);
    ck_ok(lmb_plan_compile(n.g, NULL, &fwd, &err));
    ck_ok(lmb_plan_compile(t, NULL, &bwd, &err));
    ck_ok(lmb_plan_bind_state(fwd, l, state, &err));
    ck_ok(lmb_plan_bind_state(bwd, l, state, &err));
    ck_ok(lmb_plan_bind(fwd, n.x, x, &err));
    ck_ok(lmb_plan_bind(bwd, n.x, x, &err));
    for (int i = 0; i < 3; i++)
        ck_ok(lmb_plan_bind(bwd, grad[i], g + l->segment[i].offset, &err));
    ck_ok(lmb_plan_run(bwd, NULL, &err));
    for (int i = 0; i < 220; i += 3) {
        const float h = 1e-3f, keep = state[i];
        state[i] = keep + h;
        ck_ok(lmb_plan_run(fwd, NULL, &err));
        double up = *(float *)lmb_plan_data(fwd, n.loss);
        state[i] = keep - h;
        ck_ok(lmb_plan_run(fwd, NULL, &err));
        double down = *(float *)lmb_plan_data(fwd, n.loss);
        state[i] = keep;
        double want = (up - down) / (2 * h);
        ck_assert_msg(fabs(want - g[i]) < 0.02 * fabs(want) + 0.03, "state %d: %g, finite difference %g", i, g[i],
                      want);
    }
    lmb_plan_destroy(fwd);
    lmb_plan_destroy(bwd);
    lmb_state_layout_destroy(l);
    lmb_graph_destroy(t);
    lmb_graph_destroy(n.g);
}
END_TEST

START_TEST(memory_reuse_changes_no_bit_and_saves_memory)
{
    net n = build();
    lmb_plan *a, *b;
    float x[168];
    lmb_plan_options apart = { .no_reuse = true };

    fill(x, 168);
    ck_ok(lmb_plan_compile(n.g, NULL, &a, &err));
    ck_ok(lmb_plan_compile(n.g, &apart, &b, &err));
    ck_ok(lmb_plan_bind(a, n.x, x, &err));
    ck_ok(lmb_plan_bind(b, n.x, x, &err));
    ck_ok(lmb_plan_run(a, NULL, &err));
    ck_ok(lmb_plan_run(b, NULL, &err));
    ck_assert_mem_eq(lmb_plan_data(a, n.loss), lmb_plan_data(b, n.loss), sizeof(float));
    ck_assert_uint_lt(lmb_plan_describe(a).arena_bytes, lmb_plan_describe(b).arena_bytes);
    ck_assert_uint_le(lmb_plan_describe(a).live_bytes, lmb_plan_describe(a).arena_bytes);
    lmb_str s = LMB_STR_INIT;
    lmb_plan_print(a, &s);
    ck_assert_ptr_nonnull(strstr(s.text, "reference"));
    lmb_str_free(&s);
    lmb_plan_destroy(a);
    lmb_plan_destroy(b);
    lmb_graph_destroy(n.g);
}
END_TEST

START_TEST(limits_and_wrong_bindings_are_sentences)
{
    net n = build();
    lmb_plan *p = NULL;
    lmb_plan_options tight = { .max_bytes = 100 };

    ck_assert_int_eq(lmb_plan_compile(n.g, &tight, &p, &err), LMB_E_NOMEM);
    ck_assert_ptr_nonnull(strstr(err.msg, "smaller batch"));
    ck_assert_ptr_null(p);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_plan_compile(n.g, NULL, &p, &err));
    ck_assert_int_eq(lmb_plan_bind(p, n.loss - 1, &p, &err), LMB_E_ARG);
    size_t arena = lmb_plan_describe(p).arena_bytes;
    lmb_plan_destroy(p);
    err = (lmb_error)LMB_ERROR_INIT;
    const lmb_plan_options described = { .no_memory = true };
    ck_ok(lmb_plan_compile(n.g, &described, &p, &err));
    ck_assert_uint_eq(lmb_plan_describe(p).arena_bytes, arena);
    ck_assert_int_eq(lmb_plan_run(p, NULL, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "made to be described"));
    lmb_plan_destroy(p);
    lmb_graph_destroy(n.g);
}
END_TEST

START_TEST(bad_nodes_are_refused_and_named)
{
    net n = build();
    lmb_vid out;
    int nodes = n.g->n_nodes;

    ck_assert_int_eq(
        lmb_graph_node(n.g, lmb_op_find("", "Conv"), "stem", LMB_IN(n.x, n.w2), LMB_NO_ATTRS, &out, 1, &err),
        LMB_E_SHAPE);
    ck_assert_str_eq(err.msg, "Conv node stem: 2 input channels in 1 groups, 4 output channels, w takes 4 a group");
    ck_assert_int_eq(n.g->n_nodes, nodes);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_graph_node(n.g, lmb_op_find("", "Relu"), "r", LMB_IN(n.x), LMB_ATTRS(LMB_AINT("alpha", 1)),
                                    &out, 1, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "Relu node r: Relu has no attribute 'alpha'");
    /* one pixel of a million channels, whose frame of zeros would have 2^64 bytes */
    int64_t far = 1 << 20;
    lmb_builder b = lmb_builder_of(n.g, &err);
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "wide", LMB_F32, LMB_SHAPE(1, far, 1, 1), NULL);
    lmb_vid w = lmb_emit_value(&b, LMB_ROLE_INPUT, "filters", LMB_F32, LMB_SHAPE(far, 1, 3, 3), NULL);
    ck_ok(lmb_builder_status(&b));
    ck_assert_int_eq(lmb_graph_node(n.g, lmb_op_find("", "Conv"), "far", LMB_IN(x, w),
                                    LMB_ATTRS(LMB_AINT("group", far), LMB_ATEXT("auto_pad", "SAME_UPPER"),
                                              LMB_AINTS("dilations", far, far)),
                                    &out, 1, &err),
                     LMB_E_SHAPE);
    ck_assert_ptr_nonnull(strstr(err.msg, "at most 2^44 numbers"));
    lmb_graph_destroy(n.g);
}
END_TEST

/* ---- storage types: a backend of one kernel that keeps its operands in bf16 ---- */

static lmb_dtype all_bf16(const lmb_call *c, int operand)
{
    (void)c, (void)operand;
    return LMB_BF16;
}

static lmb_status half_relu(void *state, const lmb_run *r, lmb_error *e)
{
    const uint16_t *x = r->in[0].data;
    uint16_t *y = r->out[0].data;
    (void)state;
    if (r->in[0].dtype != LMB_BF16 || r->out[0].dtype != LMB_BF16)
        return LMB_FAIL(e, LMB_E_ARG, "it is not bf16");
    for (int64_t i = 0; i < lmb_shape_count(&r->in[0].shape); i++)
        y[i] = x[i] & 0x8000 ? 0 : x[i];
    return LMB_OK;
}

static lmb_layout all_nhwc(const lmb_call *c, int operand)
{
    (void)c, (void)operand;
    return LMB_LAYOUT_NHWC;
}

static const lmb_kernel half = { .name = "half:relu",
                                 .op = "Relu",
                                 .domain = "",
                                 .storage = all_bf16,
                                 .layout = all_nhwc,
                                 .run = half_relu,
                                 .inplace = true };
static const lmb_kernel *const halves[] = { &half, NULL };
static const lmb_backend half_backend = { .name = "half", .kernels = halves };

/* y = Relu(Relu(x)), z = Relu(y w). With frozen_exact only the last Relu, which comes from a parameter, is bf16. */
START_TEST(storage_is_carried)
{
    static const lmb_backend *const list[] = { &half_backend, NULL };
    float x[24], w = 1.5f;
    lmb_graph *g;
    lmb_plan *p;

    err = (lmb_error)LMB_ERROR_INIT;
    fill(x, 24);
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid in = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 2, 3, 4), NULL);
    lmb_vid scale = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w", LMB_F32, (lmb_shape){ 0 }, &w);
    lmb_vid first = lmb_emit(&b, "Relu", "first", LMB_IN(in), LMB_NO_ATTRS);
    lmb_vid y = lmb_emit(&b, "Relu", "second", LMB_IN(first), LMB_NO_ATTRS);
    lmb_vid z = lmb_emit(&b, "Relu", "third", LMB_IN(lmb_emit(&b, "Mul", "product", LMB_IN(y, scale), LMB_NO_ATTRS)),
                         LMB_NO_ATTRS);
    lmb_emit_output(&b, "y", y);
    lmb_emit_output(&b, "z", z);
    ck_ok(lmb_builder_status(&b));
    for (int exact = 0; exact < 2; exact++) {
        lmb_plan_options o = { .backends = list, .frozen_exact = exact };
        float out[24];
        ck_ok(lmb_plan_compile(g, &o, &p, &err));
        /* x; y to NHWC f32 for Mul and to plain f32 as output; z there and back. Exact: z alone */
        ck_assert_int_eq(lmb_plan_describe(p).conversions, exact ? 2 : 5);
        int kept = 0;
        for (int i = 0; i < lmb_plan_steps(p); i++)
            kept += strcmp(lmb_plan_step_at(p, i).kernel, "half:relu") == 0;
        ck_assert_int_eq(kept, exact ? 1 : 3);
        ck_ok(lmb_plan_bind(p, in, x, &err));
        ck_ok(lmb_plan_bind(p, z, out, &err));
        ck_ok(lmb_plan_run(p, NULL, &err));
        const float *made = lmb_plan_data(p, y);
        for (int i = 0; i < 24; i++) {
            float want = x[i] > 0 ? x[i] : 0;
            ck_assert_msg(fabsf(made[i] - want) <= want / (exact ? 1e6f : 256), "y[%d] is %g, not %g", i,
                          (double)made[i], (double)want);
            ck_assert_msg(fabsf(out[i] - 1.5f * want) <= 1.5f * want / 100, "z[%d] is %g, not %g", i, (double)out[i],
                          1.5 * (double)want);
        }
        lmb_plan_destroy(p);
    }
    lmb_graph_destroy(g);
}
END_TEST

/* Each round of a federation puts a model into the same graph: it does not grow. */
START_TEST(content_is_replaced_in_its_place)
{
    net n = build();
    const float *at = n.g->value[n.b1].data, next[4] = { 1, 2, 3, 4 };

    ck_ok(lmb_graph_set_data(n.g, n.b1, next, &err));
    ck_assert_ptr_eq(n.g->value[n.b1].data, at);
    ck_assert_mem_eq(at, next, sizeof next);
    lmb_graph_destroy(n.g);
}
END_TEST

LMB_TEST_MAIN("core/plan/plan", add(content_is_replaced_in_its_place);
              add(gradients_agree_with_finite_differences);
              add(memory_reuse_changes_no_bit_and_saves_memory); add(limits_and_wrong_bindings_are_sentences);
              add(bad_nodes_are_refused_and_named); add(storage_is_carried);)
