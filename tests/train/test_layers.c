/* Mirrors train/layers*.c: a list of layers is the zoo's network, and what does not fit is refused where it stands. */
#include "train/layers.h"

#include <string.h>

#include "core/cpu/cpu.h"
#include "core/plan/plan.h"
#include "tests/check_main.h"

static lmb_error err;

static lmb_status build(const char *text, lmb_graph **out)
{
    lmb_config *c = NULL;
    const lmb_shape sample = { 3, { 1, 12, 12 } };
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "m.yaml", &c, &err));
    lmb_status st = lmb_model_build(lmb_config_root(c), &sample, 4, 1, out, &err);
    lmb_config_destroy(c);
    return st;
}

static int64_t numbers(const lmb_graph *g)
{
    int64_t n = 0;
    for (int v = 0; v < g->n_values; v++)
        n += lmb_role_is_state(g->value[v].role) ? lmb_shape_count(&g->value[v].shape) : 0;
    return n;
}

static double macs(const lmb_graph *g)
{
    lmb_plan *p;
    lmb_plan_options o = { 0 };
    ck_ok(lmb_plan_compile(g, &o, &p, &err));
    double m = lmb_plan_describe(p).cost.macs;
    lmb_plan_destroy(p);
    return m;
}

static const struct { const char *zoo, *list;
} same[] = {
    { "{name: resnet, depth: 8, width: 4}",
      "{name: layers, layers: [{conv: 4}, {residual: [{conv: 4}, {conv: {channels: 4, activation: none}}]},"
      " {residual: [{conv: {channels: 8, stride: 2}}, {conv: {channels: 8, activation: none}}]},"
      " {residual: [{conv: {channels: 16, stride: 2}}, {conv: {channels: 16, activation: none}}]}, {pool: global}, dense]}" },
    { "{name: vgg, channels: [6, 0, 8]}",
      "{name: layers, layers: [{conv: {channels: 6}}, {pool: max}, {conv: 8}, {pool: {kind: global}}, {dropout: 0}, dense]}" },
    { "{name: resnet_imagenet, width: 2}",
      "{name: layers, layers: [{conv: {channels: 2, kernel: 7, stride: 2}}, {pool: {kind: max, kernel: 3, stride: 2, padding: 1}},"
      " {repeat: {times: 2, layers: [{residual: [{conv: 2}, {conv: {channels: 2, activation: none}}]}]}},"
      " {residual: [{conv: {channels: 4, stride: 2}}, {conv: {channels: 4, activation: none}}]}, {residual: [{conv: 4}, {conv: {channels: 4, activation: none}}]},"
      " {residual: [{conv: {channels: 8, stride: 2}}, {conv: {channels: 8, activation: none}}]}, {residual: [{conv: 8}, {conv: {channels: 8, activation: none}}]},"
      " {residual: [{conv: {channels: 16, stride: 2}}, {conv: {channels: 16, activation: none}}]}, {residual: [{conv: 16}, {conv: {channels: 16, activation: none}}]},"
      " {pool: global}, dense]}" },
    { "{name: mlp, hidden: [20, 10]}", "{name: layers, layers: [flatten, {dense: 20}, {dense: {units: 10}}, dense]}" },
};

START_TEST(lists_are_the_zoo)
{
    lmb_graph *a, *b;
    ck_ok(build(same[_i].zoo, &a));
    ck_ok(build(same[_i].list, &b));
    ck_assert_int_eq(numbers(a), numbers(b));
    ck_assert_double_eq(macs(a), macs(b));
    lmb_graph_destroy(a);
    lmb_graph_destroy(b);
}
END_TEST

START_TEST(blocks)
{
    lmb_graph *g;
    ck_ok(build(
        "{name: layers, activation: relu6, layers: [{concat: {name: mix, branches: [[{conv: 3}], [{depthwise: {}}, {conv: {channels: 5, kernel: 1}}]]}},"
        " {repeat: {times: 3, name: deep, layers: [{conv: {name: c, channels: 8, norm: false}}]}}, {pool: average}, flatten, norm, {activation: tanh}, {scale: 0.5}, dense]}",
        &g));
    ck_assert_int_ne(lmb_graph_find(g, "deep.3.c.conv.bias"), LMB_NONE);
    ck_assert_int_ne(lmb_graph_find(g, "mix.2.conv2.conv.weight"), LMB_NONE);
    const lmb_value *mix = &g->value[lmb_graph_find(g, "mix")];
    ck_assert_int_eq(mix->shape.d[1], 8);
    const lmb_node *last = &g->node[g->n_nodes - 1], *half = &g->node[g->value[last->in[0]].node];
    ck_assert_str_eq(half->op->name, "Mul"); /* by a half, in front of the last layer */
    ck_assert(*(const float *)g->value[half->in[1]].data == 0.5f);
    lmb_graph_destroy(g);
}
END_TEST

START_TEST(without_padding)
{
    lmb_graph *padded, *bare;
    ck_ok(build("{name: layers, layers: [{conv: {channels: 4, kernel: 5}}, flatten, {dense: {name: d, units: 4}}]}",
                &padded));
    ck_ok(build(
        "{name: layers, layers: [{conv: {channels: 4, kernel: 5, pad: false}}, flatten, {dense: {name: d, units: 4}}]}",
        &bare));
    int64_t h = 0, w = 0; /* of the image */
    for (int v = 0; v < bare->n_values && h == 0; v++)
        if (bare->value[v].shape.n == 4 && bare->value[v].role == LMB_ROLE_INPUT)
            h = bare->value[v].shape.d[2], w = bare->value[v].shape.d[3];
    ck_assert_int_gt(h, 4);
    ck_assert_int_eq(numbers(padded) - numbers(bare), 4 * 4 * (h * w - (h - 4) * (w - 4)));
    lmb_graph_destroy(padded);
    lmb_graph_destroy(bare);
}
END_TEST

static const struct { const char *text, *words;
} wrong[] = {
    { "{name: resnet_imagenet, depth: 20}", "depth is 20; it must be 18, 34, 50, 101 or 152" },
    { "{name: layers, layers: [{pool: {kind: max, kernel: 2, padding: 2}}]}",
      "padding 2; it must be below the kernel, 2" },
    { "{name: layers}", "layers needs `layers`" },
    { "{name: layers, layers: []}", "at least one" },
    { "{name: layers,\n layers: [{conv: 4},\n  {cnov: 4}]}",
      "m.yaml:3:3: this item: there is no layer 'cnov'; did you mean conv" },
    { "{name: layers, layers: [{conv: {chanels: 4}}]}", "did you mean" },
    { "{name: layers, layers: [{conv: 4, pool: max}]}", "one word or as one `kind: options`" },
    { "{name: layers, layers: [{conv: 4}, dense]}", "put `flatten` or `pool: global` before it" },
    { "{name: layers, layers: [flatten, {conv: 4}]}", "can not stand behind flatten" },
    { "{name: layers, layers: [{conv: 4}]}", "end the list with `dense`" },
    { "{name: layers, layers: [{pool: {kernel: 13}}, flatten, dense]}", "does not fit into" },
    { "{name: layers, layers: [{conv: {channels: 6, groups: 4}}]}", "4 groups must divide" },
    { "{name: layers, layers: [{conv: {kernel: 33, pad: false}}, flatten, dense]}", "does not fit into" },
    { "{name: layers, layers: [{residual: [{pool: global}]}]}", "which no 1x1 convolution does" },
    { "{name: layers, layers: [{concat: [[{conv: 4}], [{conv: {channels: 4, stride: 2}}]]}]}",
      "all but the channels must be equal" },
    { "{name: layers, layers: [{repeat: {times: 4096, layers: [{repeat: {times: 4096, layers: [{conv: 1}]}}]}}]}",
      "more than 4096 layers" },
    { "{name: layers, layers: [{conv: 2}, {conv: {channels: 65536, kernel: 64}}]}", "weights; at most" },
    { "{name: layers, layers: [{conv: {channels: 4, activation: rellu}}]}", "m.yaml:1:25: conv1 takes" },
    { "{name: layers, layers: [{conv: {channels: 4, name: 'a b'}}]}", "letters, digits" },
};

START_TEST(what_does_not_fit_is_refused_where_it_stands)
{
    lmb_graph *g = NULL;
    ck_assert_int_ne(build(wrong[_i].text, &g), LMB_OK);
    ck_assert_msg(strstr(err.msg, wrong[_i].words) != NULL, "%s: %s", wrong[_i].text, err.msg);
}
END_TEST

LMB_TEST_MAIN("train/layers", add_loop(lists_are_the_zoo, sizeof same / sizeof *same); add(blocks);
              add(without_padding);
              add_loop(what_does_not_fit_is_refused_where_it_stands, sizeof wrong / sizeof *wrong);)
