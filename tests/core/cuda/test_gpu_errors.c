/* How exact cuDNN, cuBLASLt and our kernels are on a GPU; see errors.h. Mirrors core/cuda/ops/{dnn_conv,blas}.cu. */
#include "tests/core/cuda/errors.h"
#include "tests/gpu_main.h"

START_TEST(errors_stay_within_bounds)
{
    check_shape(lmb_gpu_backend(test_gpu, (lmb_cuda_precision)(_i / SHAPES)), _i % SHAPES, bounds[_i / SHAPES]);
}
END_TEST

LMB_GPU_TEST_MAIN("core/cuda/gpu_errors", add_loop(errors_stay_within_bounds, LMB_CUDA_PRECISIONS * SHAPES);)
