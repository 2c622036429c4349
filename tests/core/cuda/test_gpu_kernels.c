/* The kernels of the CUDA module on a GPU against the references: every case of every op. Mirrors core/cuda/ops,
 * device.c. */
#include <stdlib.h>

#include "core/check/check.h"
#include "core/cuda/device.h"
#include "tests/core/check/count_cases.h"
#include "tests/gpu_main.h"

static lmb_error err;

START_TEST(agrees_with_the_reference)
{
    int checked = 0;

    err = (lmb_error)LMB_ERROR_INIT;
    for (int p = 0; p < LMB_CUDA_PRECISIONS; p++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            const lmb_backend *const list[] = { lmb_gpu_backend(test_gpu, (lmb_cuda_precision)p), NULL };
            ck_ok(lmb_check_case(&lmb_op_cases[_i], list, seed, &checked, &err));
            ck_assert_int_gt(checked, 0);
        }
}
END_TEST

LMB_GPU_TEST_MAIN("core/cuda/gpu_kernels", add_loop(agrees_with_the_reference, count_cases());)
