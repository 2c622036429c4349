/* The kernels of the CUDA module against the references, on the host: the same sources without a device. Mirrors core/cuda/ops. */
#include <stdlib.h>
#include <string.h>

#include "core/check/check.h"
#include "core/cuda/cuda.h"
#include "tests/check_main.h"

static lmb_error err;
static lmb_cuda *cuda;
static lmb_backend backend = { .name = "cuda", .summary = "kernels of the CUDA module on the host" };

static int cases(void)
{
    int n = 0;
    while (lmb_op_cases[n].op)
        n++;
    return n;
}

START_TEST(agrees_with_the_reference)
{
    const lmb_backend *const list[] = { &backend, NULL };
    int checked = 0;

    err = (lmb_error)LMB_ERROR_INIT;
    for (uint64_t seed = 1; seed <= 3; seed++)
        ck_ok(lmb_check_case(&lmb_op_cases[_i], list, seed, &checked, &err));
    ck_assert_int_gt(checked, 0);
}
END_TEST

/* A plan on a device has no other kernels to fall back to without a trip to the host. */
START_TEST(every_op_has_a_kernel)
{
    for (int i = 0; lmb_ops[i]; i++) {
        bool found = false;
        for (int k = 0; backend.kernels[k] && !found; k++)
            found = strcmp(backend.kernels[k]->op, lmb_ops[i]->name) == 0 && strcmp(backend.kernels[k]->domain, lmb_ops[i]->domain) == 0;
        ck_assert_msg(found, "no kernel for %s", lmb_ops[i]->name);
    }
}
END_TEST

static bool there(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    if (lmb_cuda_open(LMB_BINARY_DIR "/launch", &cuda, &err) != LMB_OK) {
        printf("skipped: %s\n", err.msg);
        return false;
    }
    backend.kernels = cuda->api->kernels;
    return true;
}

LMB_TEST_MAIN("core/cuda/kernels", if (there()) { add_loop(agrees_with_the_reference, cases()); add(every_op_has_a_kernel); })
