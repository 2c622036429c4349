/* The kernels of the CUDA module against the references, on the host: the same sources without a device. Mirrors
 * core/cuda/ops. */
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/check/check.h"
#include "core/graph/autodiff.h"
#include "tests/check_main.h"
#include "tests/core/cuda/on_host.h"

static lmb_error err;

static int cases(void)
{
    int n = 0;
    while (lmb_op_cases[n].op)
        n++;
    return n;
}

START_TEST(agrees_with_the_reference)
{
    int checked = 0;

    err = (lmb_error)LMB_ERROR_INIT;
    for (int p = 0; p < LMB_CUDA_PRECISIONS; p++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            const lmb_backend *const list[] = { &backends[p], NULL };
            ck_ok(lmb_check_case(&lmb_op_cases[_i], list, seed, &checked, &err));
            ck_assert_int_gt(checked, 0);
        }
}
END_TEST

/* A plan on a device has no other kernels to fall back to without a trip to the host. */
START_TEST(every_op_has_a_kernel)
{
    for (int i = 0; lmb_ops[i]; i++) {
        bool found = false;
        for (int k = 0; backends[0].kernels[k] && !found; k++)
            found = strcmp(backends[0].kernels[k]->op, lmb_ops[i]->name) == 0 &&
                    strcmp(backends[0].kernels[k]->domain, lmb_ops[i]->domain) == 0;
        ck_assert_msg(found, "no kernel for %s", lmb_ops[i]->name);
    }
}
END_TEST

/* A convolution and its two gradients, as autodiff makes them: what cuDNN is told of each. */
START_TEST(convolutions_are_described_to_cudnn)
{
    static const struct { int64_t c, h, w, k, kh, kw, group, stride[2], dilation[2], pads[4];
    } cases[] = {
        { 3, 32, 32, 16, 3, 3, 1, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } },
        { 16, 32, 32, 32, 3, 3, 1, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 } },
        { 32, 16, 16, 32, 3, 3, 32, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 } },
        { 32, 9, 7, 16, 1, 1, 1, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 } },
        { 8, 9, 7, 12, 3, 2, 4, { 2, 1 }, { 1, 2 }, { 1, 0, 0, 2 } },
        { 3, 224, 224, 64, 7, 7, 1, { 2, 2 }, { 1, 1 }, { 3, 3, 3, 3 } },
    };
    int found = 0;
    lmb_vid wrt[2], grad[2];
    lmb_graph *g, *with;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    wrt[0] =
        lmb_emit_value(&b, LMB_ROLE_PARAMETER, "x", LMB_F32, LMB_SHAPE(4, cases[_i].c, cases[_i].h, cases[_i].w), NULL);
    wrt[1] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w", LMB_F32,
                            LMB_SHAPE(cases[_i].k, cases[_i].c / cases[_i].group, cases[_i].kh, cases[_i].kw), NULL);
    lmb_vid y = lmb_emit(
        &b, "Conv", "y", LMB_IN(wrt[0], wrt[1]),
        LMB_ATTRS(LMB_AINT("group", cases[_i].group), LMB_AINTS("strides", cases[_i].stride[0], cases[_i].stride[1]),
                  LMB_AINTS("dilations", cases[_i].dilation[0], cases[_i].dilation[1]),
                  LMB_AINTS("pads", cases[_i].pads[0], cases[_i].pads[1], cases[_i].pads[2], cases[_i].pads[3])));
    lmb_vid loss = lmb_emit(&b, "ReduceSum", "loss", LMB_IN(y), LMB_ATTRS(LMB_AINT("keepdims", 0)));
    lmb_emit_output(&b, "loss", loss);
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_autodiff(g, loss, wrt, 2, &with, grad, &err));
    for (int i = 0; i < with->n_nodes; i++) {
        lmb_type in[LMB_MAX_IN], out[LMB_MAX_OUT];
        lmb_call c;
        lmb_call_of(with, &with->node[i], in, out, &c);
        if (strncmp(c.op->name, "Conv", 4) != 0)
            continue;
        for (int p = 0; p < LMB_CUDA_PRECISIONS; p++) {
            int links = 0;
            ck_ok(cuda->api->describe_conv(&c, (lmb_cuda_precision)p, &links, &err));
            ck_assert_int_ge(links, 1);
        }
        found++;
    }
    ck_assert_int_eq(found, 3);
    lmb_graph_destroy(with);
    lmb_graph_destroy(g);
}
END_TEST

/* A layer with bias and Relu is one product, in each precision, and a plainer one stands behind it. */
START_TEST(products_are_described_with_what_follows)
{
    static const char *const names[] = { "cublaslt:gemm_act", "cublaslt-tf32:gemm_act", "cublaslt-bf16:gemm_act" };
    const lmb_backend *const list[] = { &backends[_i], NULL };
    lmb_plan_options o = { .backends = list };
    lmb_str s = LMB_STR_INIT;
    lmb_graph *g;
    lmb_plan *p;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(16, 64), NULL),
            w = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w", LMB_F32, LMB_SHAPE(32, 64), NULL),
            c = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "c", LMB_F32, LMB_SHAPE(32), NULL);
    lmb_vid y = lmb_emit(&b, "Gemm", "layer", LMB_IN(x, w, c), LMB_ATTRS(LMB_AINT("transB", 1)));
    lmb_emit_output(&b, "y", lmb_emit(&b, "Relu", "act", LMB_IN(y), LMB_NO_ATTRS));
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_plan_compile(g, &o, &p, &err));
    lmb_plan_print(p, &s);
    ck_assert_msg(strstr(s.text, names[_i]) && strstr(s.text, "[fused: described; product: described]"), "%s", s.text);
    lmb_str_free(&s);
    lmb_plan_destroy(p);
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN(
    "core/cuda/kernels", if (there()) {
        add_loop(agrees_with_the_reference, cases());
        add(every_op_has_a_kernel);
        add_loop(convolutions_are_described_to_cudnn, 6);
        add_loop(products_are_described_with_what_follows, LMB_CUDA_PRECISIONS);
    })
