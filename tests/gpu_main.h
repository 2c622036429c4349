/* tests/gpu_main.h - the main() of Check programs that need a GPU, a real one or a played one (LMB_CUDA_MODULE): it is
 * open as `test_gpu` while they run. Without one they say so and are skipped. No fork: a process that has touched CUDA
 * cannot hand it to a child.
 *
 *   LMB_GPU_TEST_MAIN("train/gpu", add_loop(as_on_the_host, 3);)
 */
#ifndef LMB_TESTS_GPU_MAIN_H
#define LMB_TESTS_GPU_MAIN_H

#include "core/cuda/device.h"
#include "tests/check_main.h"

static lmb_gpu *test_gpu;

#define LMB_GPU_TEST_MAIN(name, adds)                                \
    int main(void)                                                   \
    {                                                                \
        lmb_error why_ = LMB_ERROR_INIT;                             \
        if (lmb_gpu_open(0, &test_gpu, &why_) != LMB_OK) {           \
            printf("skipped: %s\n", why_.msg);                       \
            return 0;                                                \
        }                                                            \
        Suite *s_ = suite_create(name);                              \
        TCase *tc_ = tcase_create(name);                             \
        tcase_set_timeout(tc_, 900);                                 \
        adds suite_add_tcase(s_, tc_);                               \
        SRunner *r_ = srunner_create(s_);                            \
        srunner_set_fork_status(r_, CK_NOFORK);                      \
        srunner_run_all(r_, CK_ENV);                                 \
        int bad_ = srunner_ntests_failed(r_);                        \
        srunner_free(r_);                                            \
        lmb_gpu_close(test_gpu);                                     \
        return bad_ != 0;                                            \
    }

#endif
