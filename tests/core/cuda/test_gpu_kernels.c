/* The kernels of the CUDA module on a GPU against the references: every case of every op. Mirrors core/cuda/ops, device.c. */
#include <stdlib.h>

#include "core/check/check.h"
#include "core/cuda/device.h"
#include "tests/check_main.h"

static lmb_error err;
static lmb_gpu *gpu;

START_TEST(agrees_with_the_reference)
{
    int checked = 0;

    err = (lmb_error)LMB_ERROR_INIT;
    for (int p = 0; p < LMB_CUDA_PRECISIONS; p++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            const lmb_backend *const list[] = { lmb_gpu_backend(gpu, (lmb_cuda_precision)p), NULL };
            ck_ok(lmb_check_case(&lmb_op_cases[_i], list, seed, &checked, &err));
            ck_assert_int_gt(checked, 0);
        }
}
END_TEST

/* No fork: a process that has touched CUDA cannot hand it to a child. */
int main(void)
{
    int n = 0;

    err = (lmb_error)LMB_ERROR_INIT;
    if (lmb_gpu_open(0, &gpu, &err) != LMB_OK) {
        printf("skipped: %s\n", err.msg);
        return 0;
    }
    while (lmb_op_cases[n].op)
        n++;
    Suite *s = suite_create("core/cuda/gpu_kernels");
    TCase *tc = tcase_create("core/cuda/gpu_kernels");
    tcase_add_loop_test(tc, agrees_with_the_reference, 0, n);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_ENV);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    lmb_gpu_close(gpu);
    return bad != 0;
}
