/* How exact cuDNN, cuBLASLt and our kernels are on a GPU; see errors.h. Mirrors core/cuda/ops/{dnn_conv,blas}.cu. */
#include "tests/core/cuda/errors.h"

static lmb_gpu *gpu;

START_TEST(errors_stay_within_bounds)
{
    check_shape(lmb_gpu_backend(gpu, (lmb_cuda_precision)(_i / SHAPES)), _i % SHAPES, bounds[_i / SHAPES]);
}
END_TEST

/* No fork: a process that has touched CUDA cannot hand it to a child. */
int main(void)
{
    lmb_error err = LMB_ERROR_INIT;

    if (lmb_gpu_open(0, &gpu, &err) != LMB_OK) {
        printf("skipped: %s\n", err.msg);
        return 0;
    }
    Suite *s = suite_create("core/cuda/gpu_errors");
    TCase *tc = tcase_create("core/cuda/gpu_errors");
    tcase_set_timeout(tc, 900);
    tcase_add_loop_test(tc, errors_stay_within_bounds, 0, LMB_CUDA_PRECISIONS * SHAPES);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_ENV);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    lmb_gpu_close(gpu);
    return bad != 0;
}
