/* Mirrors distill/prune/blocks.c: which blocks a model has, and that without some it answers as the whole model does with
 * what makes their channels at zero. */
#include "distill/prune/blocks.h"

#include "core/base/compiler.h"
#include "core/graph/op.h"
#include "tests/distill/answers.h"

/* By hand: a stage's first block has a layer in its shortcut where it changes shape. MobileNetV2 has 10 sums, and so
 * narrow two more, of blocks that have 8 channels before and after. */
static const struct { const char *model, *first; int blocks; } models[] = {
    { "{name: resnet, depth: 8, width: 6}", "stage1.0.2.conv.weight", 1 },
    { "{name: resnet, depth: 20, width: 5}", "stage1.0.2.conv.weight", 7 },
    { "{name: mobilenet_v2, width: 0.25}", NULL, 12 },
    { "{name: vgg, channels: [8, 0, 12, 9]}", NULL, 0 },
};

static lmb_graph *model(int i)
{
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_graph *g = built(models[i].model);
    fill(g);
    return g;
}

static int count(const lmb_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += strcmp(g->node[i].op->name, op) == 0;
    return n;
}

/* The model with what makes these blocks' channels at zero. */
static lmb_graph *silent(const lmb_graph *g, const lmb_block *b, const bool *drop, int n)
{
    lmb_graph *m;

    ck_ok(lmb_graph_copy(g, &m, &err));
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 2 && drop[i]; k++)
            if (b[i].makes[k] != LMB_NONE) {
                float *zero = calloc((size_t)lmb_shape_count(&g->value[b[i].makes[k]].shape), sizeof *zero);
                ck_ok(lmb_graph_set_data(m, b[i].makes[k], zero, &err));
                free(zero);
            }
    return m;
}

static void same_as_silent(const lmb_graph *g, const lmb_block *b, const bool *drop, int n)
{
    const char *weight[32];
    lmb_graph *small, *m = silent(g, b, drop, n);
    float whole[8], want[8], got[8], far = 0;
    int dropped = 0;

    for (int i = 0; i < n; i++)
        if (drop[i])
            weight[dropped++] = g->value[b[i].weight].name;
    ck_ok(lmb_pass_drop_blocks(g, weight, dropped, &small, &err));
    answer(g, whole);
    answer(m, want);
    answer(small, got);
    for (int k = 0; k < 5; k++) {
        far = fmaxf(far, fabsf(whole[k] - want[k]));
        ck_assert_msg(fabsf(want[k] - got[k]) <= 1e-5f * (1 + fabsf(want[k])), "logit %d: %g, %g", k, (double)want[k],
                      (double)got[k]);
    }
    ck_assert_float_gt(far, 1e-5f); /* the blocks did something */
    ck_assert_int_eq(count(small, "Add"), count(g, "Add") - dropped);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(lmb_graph_find(small, g->value[b[i].weight].name) == LMB_NONE, drop[i]);
    lmb_graph_destroy(m);
    lmb_graph_destroy(small);
}

START_TEST(a_model_without_blocks_is_the_silent_one)
{
    lmb_graph *g = model(_i);
    lmb_block *b;
    int n;

    ck_ok(lmb_blocks_find(g, &b, &n, &err));
    ck_assert_int_eq(n, models[_i].blocks);
    if (models[_i].first)
        ck_assert_str_eq(g->value[b[0].weight].name, models[_i].first);
    for (int i = 0; i < n; i++) { /* alone; with the next; all up to it */
        bool one[32] = { 0 }, two[32] = { 0 }, all[32] = { 0 };
        one[i] = two[i] = two[(i + 1) % n] = true;
        for (int k = 0; k <= i; k++)
            all[k] = true;
        same_as_silent(g, b, one, n);
        same_as_silent(g, b, two, n);
        same_as_silent(g, b, all, n);
    }
    lmb_blocks_free(b, n);
    lmb_graph_destroy(g);
}
END_TEST

/* Nothing is left of a block: no node, no state, and no Relu of a Relu. */
START_TEST(nothing_is_left_of_a_block)
{
    lmb_graph *g = model(1), *small;
    const char *weight[] = { "stage1.1.2.conv.weight", "stage1.2.2.conv.weight", "stage3.2.2.conv.weight" };

    ck_ok(lmb_pass_drop_blocks(g, weight, LMB_COUNT(weight), &small, &err));
    ck_assert_int_eq(count(small, "Conv"), count(g, "Conv") - 6);
    ck_assert_int_eq(count(small, "Relu"), count(g, "Relu") - 6);
    ck_assert_int_eq(count(small, "BatchNormalization"), count(g, "BatchNormalization") - 6);
    for (int v = 0; v < small->n_values; v++)
        ck_assert_msg(!strstr(small->value[v].name, "stage1.1.") && !strstr(small->value[v].name, "stage3.2."),
                      "%s is left", small->value[v].name);
    lmb_graph_destroy(small);

    const char *other[] = { "stage1.0.1.conv.weight" };
    ck_assert_int_eq(lmb_pass_drop_blocks(g, other, 1, &small, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "stage1.0.1.conv.weight ends no residual block"));
    lmb_graph_destroy(g);
}
END_TEST

static lmb_vid weight(lmb_builder *b, const char *name, lmb_shape s)
{
    return lmb_emit_value(b, LMB_ROLE_PARAMETER, name, LMB_F32, s, NULL);
}

static lmb_vid layer(lmb_builder *b, lmb_vid x, const char *w, const char *bias)
{
    return lmb_emit(b, "Conv", NULL, LMB_IN(x, weight(b, w, LMB_SHAPE(3, 3, 1, 1)), weight(b, bias, LMB_SHAPE(3))),
                    LMB_NO_ATTRS);
}

/* x + g(x + f(x)) of a sum of two layers, which is no block. */
static lmb_graph *nested(void)
{
    lmb_graph *g;

    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 3, 4, 4), NULL);
    lmb_vid first = lmb_emit(&b, "Add", NULL, LMB_IN(layer(&b, x, "left", "left.b"), layer(&b, x, "right", "right.b")),
                             LMB_NO_ATTRS);
    lmb_vid inner = lmb_emit(&b, "Add", NULL, LMB_IN(layer(&b, first, "f", "f.b"), first), LMB_NO_ATTRS);
    lmb_vid outer = lmb_emit(&b, "Add", NULL, LMB_IN(first, layer(&b, inner, "g", "g.b")), LMB_NO_ATTRS);
    lmb_vid y = lmb_emit(&b, "Flatten", NULL, LMB_IN(lmb_emit(&b, "GlobalAveragePool", NULL, LMB_IN(outer),
                                                               LMB_NO_ATTRS)), LMB_NO_ATTRS);
    lmb_emit_output(&b, "logits", y);
    ck_ok(lmb_builder_status(&b));
    fill(g);
    return g;
}

START_TEST(blocks_in_blocks)
{
    static const char *const drop[][2] = { { "f" }, { "g" }, { "f", "g" } };
    static const int layers[] = { 3, 2, 2 };
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_graph *g = nested(), *small;
    lmb_block *b;
    int n;

    ck_ok(lmb_blocks_find(g, &b, &n, &err));
    ck_assert_int_eq(n, 2);
    ck_assert_str_eq(g->value[b[0].weight].name, "f");
    ck_assert_str_eq(g->value[b[1].weight].name, "g");
    ck_assert(b[1].gone[b[0].weight] && !b[0].gone[b[1].weight]);
    for (int i = 0; i < 3; i++) {
        const bool which[2] = { drop[i][0][0] == 'f', drop[i][0][0] == 'g' || drop[i][1] };
        float want[8], got[8];
        lmb_graph *m = silent(g, b, which, 2);
        ck_ok(lmb_pass_drop_blocks(g, drop[i], drop[i][1] ? 2 : 1, &small, &err));
        ck_assert_int_eq(count(small, "Conv"), layers[i]);
        answer(m, want);
        answer(small, got);
        for (int k = 0; k < 3; k++)
            ck_assert_float_eq_tol(want[k], got[k], 1e-5f * (1 + fabsf(want[k])));
        lmb_graph_destroy(m);
        lmb_graph_destroy(small);
    }
    lmb_blocks_free(b, n);
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("distill/prune_blocks", add_loop(a_model_without_blocks_is_the_silent_one, LMB_COUNT(models));
              add(nothing_is_left_of_a_block); add(blocks_in_blocks);)
