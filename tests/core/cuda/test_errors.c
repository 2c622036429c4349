/* Mirrors core/cuda/ops: how exact our kernels are, on the host. */
#include "tests/core/cuda/every_op.h"

static lmb_backend backends[LMB_CUDA_PRECISIONS];

START_TEST(errors_stay_within_bounds)
{
    check_shape(&backends[_i / SHAPES], _i % SHAPES, bounds[_i / SHAPES]);
}
END_TEST

START_TEST(every_op_stays_within_bounds)
{
    for (int p = 0; p < LMB_CUDA_PRECISIONS; p++)
        check_op(&backends[p], &lmb_op_cases[_i], bounds[p], p == LMB_CUDA_BF16_MAPS);
}
END_TEST

static bool there(void)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_cuda *cuda; /* stays open as long as its kernels are used */
    if (lmb_cuda_open(LMB_BINARY_DIR "/launch", &cuda, &err) != LMB_OK) {
        printf("skipped: %s\n", err.msg);
        return false;
    }
    lmb_cuda_backends(cuda, backends);
    lmb_cuda_close(cuda);
    return true;
}

LMB_TEST_MAIN(
    "core/cuda/errors", if (there()) {
        add_loop(errors_stay_within_bounds, LMB_CUDA_PRECISIONS * SHAPES);
        add_loop(every_op_stays_within_bounds, op_cases());
    })
