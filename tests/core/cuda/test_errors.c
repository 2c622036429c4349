/* Mirrors core/cuda/ops: how exact our kernels are, on the host. */
#include "tests/core/cuda/every_op.h"
#include "tests/core/cuda/on_host.h"

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

LMB_TEST_MAIN(
    "core/cuda/errors", if (there()) {
        add_loop(errors_stay_within_bounds, LMB_CUDA_PRECISIONS * SHAPES);
        add_loop(every_op_stays_within_bounds, op_cases());
    })
