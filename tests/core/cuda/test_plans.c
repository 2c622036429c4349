/* Mirrors core/cuda/ops/{dnn_conv,blas,maps}.*: what a plan of a training step decides in each precision, without a
 * device. Every convolution of the networks that are measured is described to cuDNN, alone and with what follows
 * it. */
#include <string.h>

#include "core/base/str.h"
#include "core/passes/fold.h"
#include "tests/check_main.h"
#include "tests/core/cuda/networks.h"
#include "tests/core/cuda/on_host.h"
#include "train/program.h"

static lmb_error err;

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* In bf16 each weight of a convolution or a product is made shorter once, the pictures once, and nothing goes back and
 * forth. */
static void check_bf16(const lmb_plan *p)
{
    int weights = 0, conversions = 0;
    for (int i = 0; i < lmb_plan_steps(p); i++) {
        lmb_plan_step s = lmb_plan_step_at(p, i);
        conversions += !s.op && strcmp(s.kernel, "copy") != 0;
        if (!s.op || s.shape.n != 4)
            continue;
        bool weight = strcmp(s.op, "ConvGradWeights") == 0,
             pooled = s.shape.d[2] == 1 && strcmp(s.op, "GlobalAveragePool") == 0;
        weights += weight;
        ck_assert_msg(begins(s.kernel, "cuda-bf16:") || begins(s.kernel, "cudnn-bf16:") || strcmp(s.op, "Sub") == 0 ||
                          strcmp(s.op, "Mul") == 0,
                      "%s (%s) runs on %s", s.node, s.op, s.kernel);
        if (begins(s.kernel, "cuda-bf16:") || begins(s.kernel, "cudnn-bf16:"))
            ck_assert_int_eq(s.dtype, weight || pooled ? LMB_F32 : LMB_BF16);
    }
    ck_assert_int_gt(weights, 0);
    /* weights, pictures; and of the head: weight, features, and the gradient of the logits */
    ck_assert_int_eq(conversions, weights + 4);
}

static void check_tf32(const lmb_plan *p)
{
    int convolutions = 0;
    for (int i = 0; i < lmb_plan_steps(p); i++) {
        lmb_plan_step s = lmb_plan_step_at(p, i);
        ck_assert_int_ne(s.dtype, LMB_BF16);
        if (!s.op || !begins(s.op, "Conv"))
            continue;
        convolutions++;
        ck_assert_msg(begins(s.kernel, "cudnn-tf32:"), "%s (%s) runs on %s", s.node, s.op, s.kernel);
    }
    ck_assert_int_gt(convolutions, 0);
}

static void check_training(const lmb_graph *g, lmb_cuda_precision p)
{
    const lmb_backend *const list[] = { &backends[p], NULL };
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing, NULL };
    lmb_program *program = NULL;
    const lmb_plan *plan = NULL;

    ck_ok(lmb_program_create(g, &loss, list, &program, &err));
    ck_ok(lmb_program_plan(program, 2, false, &plan, &err));
    (p == LMB_CUDA_BF16_MAPS ? check_bf16 : check_tf32)(plan);
    lmb_program_destroy(program);
}

/* All convolutions have their chains described; in the folded form they have a graph with what follows them. */
static void check_answering(const lmb_graph *folded, lmb_cuda_precision p)
{
    const lmb_backend *const list[] = { &backends[p], NULL };
    lmb_plan_options o = { .backends = list };
    lmb_plan *plan = NULL;
    lmb_str s = LMB_STR_INIT;
    int fused = 0;

    ck_ok(lmb_plan_compile(folded, &o, &plan, &err));
    lmb_plan_print(plan, &s);
    for (char *line = strtok(s.text, "\n"); line; line = strtok(NULL, "\n")) {
        if (!strstr(line, ":conv"))
            continue;
        ck_assert_msg(strstr(line, "plain: described") && !strstr(line, "cuDNN, "), "%s", line);
        fused += strstr(line, "fused: described") != NULL;
    }
    ck_assert_int_gt(fused, 4);
    lmb_str_free(&s);
    lmb_plan_destroy(plan);
}

START_TEST(plans_stay_in_their_form_and_tell_the_chain)
{
    lmb_graph *folded = NULL;

    err = (lmb_error)LMB_ERROR_INIT;
    lmb_graph *g = network(_i);
    ck_ok(lmb_pass_deploy(g, NULL, 2, &folded, &err));
    check_training(g, LMB_CUDA_TF32_PRODUCTS);
    check_training(g, LMB_CUDA_BF16_MAPS);
    for (int p = 0; p < LMB_CUDA_PRECISIONS; p++)
        check_answering(folded, (lmb_cuda_precision)p);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("core/cuda/plans", if (there()) add_loop(plans_stay_in_their_form_and_tell_the_chain, NETWORKS);)
