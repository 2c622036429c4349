/* Mirrors core/graph/graph.c, state.c and query.c: values and nodes, names, contents, the state vector, counts. */
#include "core/graph/graph.h"

#include <stdlib.h>
#include <string.h>

#include "core/graph/op.h"
#include "core/graph/state.h"
#include "tests/check_main.h"

static lmb_error err;

/* y = relu(x w + b), x: [4, 3], w: [3, 2]. */
typedef struct net { lmb_graph *g; lmb_vid x, w, b, y; } net;

static const float weights[6] = { 1, 2, 3, 4, 5, 6 }, biases[2] = { -1, 1 };

static net dense(void)
{
    net n;
    ck_ok(lmb_graph_create(&n.g, &err));
    lmb_builder b = lmb_builder_of(n.g, &err);
    n.x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(4, 3), NULL);
    n.w = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w", LMB_F32, LMB_SHAPE(3, 2), weights);
    n.b = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "b", LMB_F32, LMB_SHAPE(2), biases);
    lmb_vid sum = lmb_emit(&b, "Gemm", "fc", LMB_IN(n.x, n.w, n.b), LMB_NO_ATTRS);
    n.y = lmb_emit(&b, "Relu", "relu", LMB_IN(sum), LMB_NO_ATTRS);
    lmb_emit_output(&b, "y", n.y);
    ck_ok(lmb_builder_status(&b));
    return n;
}

START_TEST(nodes_infer_their_results)
{
    net n = dense();
    ck_assert_int_eq(n.g->n_nodes, 2);
    ck_assert_int_eq(n.g->value[n.y].shape.n, 2);
    ck_assert_int_eq(n.g->value[n.y].shape.d[0], 4);
    ck_assert_int_eq(n.g->value[n.y].shape.d[1], 2);
    ck_assert_int_eq(lmb_graph_find(n.g, "w"), n.w);
    ck_assert_int_eq(lmb_graph_find(n.g, "absent"), LMB_NONE);
    ck_assert_int_eq(lmb_graph_find_output(n.g, "y"), n.y);
    ck_assert_int_eq(lmb_graph_input(n.g, 0), n.x);
    ck_assert_int_eq(lmb_graph_input(n.g, 1), LMB_NONE);
    ck_assert(lmb_graph_macs(n.g) == 4 * 3 * 2);
    lmb_graph_destroy(n.g);
}
END_TEST

START_TEST(what_does_not_fit_leaves_the_graph_alone)
{
    net n = dense();
    int values = n.g->n_values, nodes = n.g->n_nodes;
    lmb_vid out;

    ck_assert_int_eq(
        lmb_graph_node(n.g, lmb_op_find("", "Gemm"), "odd", (lmb_vid[]){ n.x, n.x }, 2, NULL, 0, &out, 1, &err),
        LMB_E_SHAPE);
    ck_assert_ptr_nonnull(strstr(err.msg, "odd"));
    lmb_attr wrong = { .name = "alpha", .kind = LMB_ATTR_INT, .i = 1 },
             unknown = { .name = "beat", .kind = LMB_ATTR_REAL };
    ck_assert_int_ne(
        lmb_graph_node(n.g, lmb_op_find("", "Gemm"), "g", (lmb_vid[]){ n.x, n.w }, 2, &wrong, 1, &out, 1, &err),
        LMB_OK);
    err = (lmb_error)LMB_ERROR_INIT; /* which keeps the first */
    ck_assert_int_ne(
        lmb_graph_node(n.g, lmb_op_find("", "Gemm"), "g", (lmb_vid[]){ n.x, n.w }, 2, &unknown, 1, &out, 1, &err),
        LMB_OK);
    ck_assert_ptr_nonnull(strstr(err.msg, "beat"));
    ck_assert_int_eq(n.g->n_values, values);
    ck_assert_int_eq(n.g->n_nodes, nodes);
    lmb_graph_destroy(n.g);
}
END_TEST

START_TEST(taken_names_become_fresh_ones)
{
    net n = dense();
    lmb_shape two = LMB_SHAPE(2);
    lmb_vid other;
    ck_ok(lmb_graph_value(n.g, LMB_ROLE_PARAMETER, "w", LMB_F32, &two, NULL, &other, &err));
    ck_assert_str_ne(n.g->value[other].name, "w");
    ck_assert_int_eq(lmb_graph_find(n.g, n.g->value[other].name), other);
    for (int i = 0; i < 2; i++) /* state without content is zeros */
        ck_assert(((const float *)n.g->value[other].data)[i] == 0);
    lmb_graph_destroy(n.g);
}
END_TEST

/* A client is given a model each round: contents change where they are, or it would grow by a model a round. */
START_TEST(contents_change_in_place)
{
    net n = dense();
    lmb_graph *copy;
    const float two[2] = { 7, 8 };
    const void *at = n.g->value[n.b].data;

    ck_ok(lmb_graph_copy(n.g, &copy, &err));
    ck_ok(lmb_graph_set_data(n.g, n.b, two, &err));
    ck_assert_ptr_eq(n.g->value[n.b].data, at);
    ck_assert_mem_eq(at, two, sizeof two);
    ck_ok(lmb_graph_set_data(n.g, n.b, n.g->value[n.b].data, &err)); /* its own content is fine */
    ck_assert_mem_eq(copy->value[n.b].data, biases, sizeof biases);  /* a copy has its own */
    ck_assert_int_eq(lmb_graph_set_data(n.g, n.y, two, &err), LMB_E_ARG);
    ck_assert_int_eq(lmb_graph_set_data(n.g, n.x, two, &err), LMB_E_ARG);
    lmb_graph_destroy(copy);
    lmb_graph_destroy(n.g);
}
END_TEST

START_TEST(state_goes_there_and_back)
{
    net n = dense();
    lmb_state_layout *l;
    float state[8], back[8];

    ck_ok(lmb_state_layout_create(n.g, &l, &err));
    ck_assert_uint_eq(l->count, 8);
    ck_assert_uint_eq(lmb_state_parameters(l), 8);
    ck_assert_uint_eq(lmb_state_find(l, "b")->offset, 6);
    ck_assert_ptr_null(lmb_state_find(l, "absent"));
    lmb_state_from_graph(l, n.g, state);
    ck_assert_mem_eq(state, weights, sizeof weights);
    ck_assert_mem_eq(state + 6, biases, sizeof biases);
    for (int i = 0; i < 8; i++)
        state[i] = (float)-i;
    ck_ok(lmb_state_to_graph(l, state, n.g, &err));
    lmb_state_from_graph(l, n.g, back);
    ck_assert_mem_eq(back, state, sizeof state);
    lmb_state_layout_destroy(l);
    lmb_graph_destroy(n.g);
}
END_TEST

START_TEST(layouts_of_other_shapes_have_other_hashes)
{
    net n = dense(), m = dense();
    lmb_state_layout *a, *b;
    lmb_shape one = LMB_SHAPE(1);
    lmb_vid more;

    ck_ok(lmb_state_layout_create(n.g, &a, &err));
    ck_ok(lmb_state_layout_create(m.g, &b, &err));
    ck_assert_mem_eq(a->hash.b, b->hash.b, sizeof a->hash.b);
    lmb_state_layout_destroy(b);
    ck_ok(lmb_graph_value(m.g, LMB_ROLE_PARAMETER, "more", LMB_F32, &one, NULL, &more, &err));
    ck_ok(lmb_state_layout_create(m.g, &b, &err));
    ck_assert_mem_ne(a->hash.b, b->hash.b, sizeof a->hash.b);
    lmb_state_layout_destroy(a);
    lmb_state_layout_destroy(b);
    lmb_graph_destroy(n.g);
    lmb_graph_destroy(m.g);
}
END_TEST

LMB_TEST_MAIN("core/graph/graph", add(nodes_infer_their_results); add(what_does_not_fit_leaves_the_graph_alone);
              add(taken_names_become_fresh_ones); add(contents_change_in_place); add(state_goes_there_and_back);
              add(layouts_of_other_shapes_have_other_hashes);)
