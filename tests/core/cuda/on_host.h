/* tests/core/cuda/on_host.h - the CUDA module's kernels without a device, for tests of them on the host. */
#ifndef LMB_TESTS_CORE_CUDA_ON_HOST_H
#define LMB_TESTS_CORE_CUDA_ON_HOST_H

#include <stdio.h>

#include "core/cuda/device.h"

static lmb_cuda *cuda; /* open as long as the test runs */
static lmb_backend backends[LMB_CUDA_PRECISIONS];

/* false, and said: there is no module. */
static bool there(void)
{
    lmb_error why = LMB_ERROR_INIT;

    if (lmb_cuda_open(LMB_BINARY_DIR "/launch", &cuda, &why) != LMB_OK) {
        printf("skipped: %s\n", why.msg);
        return false;
    }
    lmb_cuda_backends(cuda, backends);
    return true;
}
#endif
