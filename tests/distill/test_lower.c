/* Mirrors distill/quantize/lower.c: what looks like an integer form and is none. That the integers of what is one are
 * right is for test_quantize.c and test_schemes.c. */
#include "core/ops/attrs.h"
#include "distill/quantize/integer_form.h"
#include "distill/quantize/qdq.h"
#include "tests/distill/written.h"

/* Integers lie in rows of pixels with all their channels: an image of the same numbers in another form is another. */
START_TEST(a_reshape_makes_a_list_or_nothing)
{
    static const int64_t to[4][4] = { { 1, 8, 3, 6 }, { 1, 4, 4, 9 }, { 1, 4, 6, 6 }, { 1, 4, 6, 6 } };
    lmb_graph *g, *form;
    lmb_vid x;
    float a[CLASSES], c[CLASSES];
    lmb_deployed d;
    lmb_builder b = begin(&g, &x);

    x = one(&b, "Relu", conv(&b, with(&b, "Mul", x, 0.01f), 4, 3));
    x = _i == 3 ? one(&b, "Flatten", x) : x;
    x = lmb_emit(&b, "Reshape", "other", LMB_IN(x, lmb_emit_ints(&b, to[_i], 4)), LMB_NO_ATTRS);
    end(&b, head(&b, one(&b, "GlobalAveragePool", conv(&b, x, 4, 3))));
    ck_ok(lmb_pass_integer_form(g, &form, &err));
    if (_i < 2) {
        ck_assert_int_eq(lmb_deployed_sketch(form, NULL, &d, &err), LMB_E_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(err.msg, "other"));
    } else {
        answers(g, a);
        integers(form, c);
        close_to(a, c, 0.08f);
    }
    lmb_graph_destroy(g);
    lmb_graph_destroy(form);
}
END_TEST

/* The QDQ graph of a small model, whose convolution has as many channels as it reads. */
static lmb_graph *qdq_graph(void)
{
    lmb_graph *g, *frozen, *out;
    lmb_dataset *data = bytes_as_data();
    const lmb_ptq_config how = { .calibration = SAMPLES, .seed = 1, .backend = "reference", .threads = 1 };
    lmb_vid x;
    lmb_builder b = begin(&g, &x);

    x = one(&b, "Relu", conv(&b, with(&b, "Mul", x, 0.01f), CHANNELS, 3));
    end(&b, head(&b, one(&b, "GlobalAveragePool", x)));
    ck_ok(lmb_ptq(g, &how, data, &frozen, &err));
    ck_ok(lmb_pass_qdq(frozen, &out, &err));
    lmb_dataset_destroy(data);
    lmb_graph_destroy(frozen);
    lmb_graph_destroy(g);
    return out;
}

/* A file of others may say of a pair two things, or have scales along the wrong axis; ONNX computes that, we do not. */
START_TEST(pairs_and_axes_of_others)
{
    lmb_graph *g = qdq_graph();
    lmb_str file = LMB_STR_INIT;
    bool changed = false;

    ck_ok(lmb_lower(g, &file, &err));
    for (int i = 0; i < g->n_nodes && !changed; i++) {
        const lmb_node *n = &g->node[i];
        if (strcmp(n->op->name, "DequantizeLinear") != 0)
            continue;
        int before = g->value[n->in[0]].node;
        if (_i == 0 && before == LMB_NONE && g->value[n->in[0]].shape.n == 4) {
            ((lmb_axis_attr *)(uintptr_t)n->attr)->axis = 1; /* of a graph that nobody else has */
            changed = true;
        } else if (_i == 1 && before != LMB_NONE && g->value[g->node[before].in[0]].role != LMB_ROLE_INPUT) {
            float twice = 2 * *(const float *)g->value[n->in[1]].data;
            lmb_vid *in = (lmb_vid *)(uintptr_t)n->in;
            ck_ok(lmb_graph_value(g, LMB_ROLE_CONSTANT, "twice", LMB_F32, &(lmb_shape){ 0 }, &twice, &in[1], &err));
            changed = true;
        }
    }
    ck_assert(changed);
    lmb_str_free(&file);
    ck_assert_int_eq(lmb_lower(g, &file, &err), LMB_E_UNSUPPORTED);
    lmb_str_free(&file);
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("distill/lower", add_loop(a_reshape_makes_a_list_or_nothing, 4); add_loop(pairs_and_axes_of_others, 2);)
