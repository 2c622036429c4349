/* train/gpu.c - a trainer's steps on a GPU: the backend is the GPU's, the rest of the trainer does not know. */
#include "core/cuda/device.h"
#include "train/trainer_internal.h"

lmb_status lmbi_trainer_gpu(lmb_trainer *t, lmb_error *err)
{
    static const lmb_cuda_precision precision[] = { [LMB_TRAIN_F32] = LMB_CUDA_F32_EXACT, [LMB_TRAIN_BF16] = LMB_CUDA_BF16_MAPS,
                                                    [LMB_TRAIN_TF32] = LMB_CUDA_TF32_PRODUCTS };

    LMB_TRY(lmb_gpu_open(t->comm->rank, &t->gpu, err));
    t->backends[0] = lmb_gpu_backend(t->gpu, precision[t->c.precision]);
    t->backends[1] = NULL;
    return LMB_OK;
}

void lmbi_trainer_gpu_end(lmb_trainer *t) { lmb_gpu_close(t->gpu); }
