/* launch/inspect_gpu.c - the kernels of the CUDA module for `limbeck inspect`: on a GPU where there is one, and else
 * as far as they can be described without. */
#include <stdio.h>

#include "launch/inspect.h"

lmb_status lmbi_gpu_kernels_open(lmbi_gpu_kernels *k, lmb_cuda_precision precision, lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;

    *k = (lmbi_gpu_kernels){ 0 };
    if (lmb_gpu_open(0, &k->gpu, &why) == LMB_OK) {
        k->list[0] = lmb_gpu_backend(k->gpu, precision);
        return LMB_OK;
    }
    LMB_TRY(lmb_cuda_open(NULL, &k->cuda, err));
    lmb_cuda_backends(k->cuda, k->described);
    k->list[0] = &k->described[precision];
    printf("%s: steps for cuDNN and cuBLASLt are described, which of them would run is decided on a GPU\n", why.msg);
    return LMB_OK;
}

void lmbi_gpu_kernels_close(lmbi_gpu_kernels *k)
{
    lmb_gpu_close(k->gpu);
    lmb_cuda_close(k->cuda);
}
