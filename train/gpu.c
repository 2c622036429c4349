/* train/gpu.c - a trainer's steps on a GPU: the backend is the GPU's, the rest of the trainer does not know. */
#include "core/cuda/device.h"
#include "train/trainer_internal.h"

lmb_status lmbi_trainer_gpu(lmb_trainer *t, lmb_error *err)
{
    if (t->c.precision == LMB_TRAIN_BF16)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "train.precision=bf16 has no kernels on the GPU yet; set train.precision=f32");
    LMB_TRY(lmb_gpu_open(t->comm->rank, &t->gpu, err));
    t->backends[0] = lmb_gpu_backend(t->gpu);
    t->backends[1] = NULL;
    return LMB_OK;
}

void lmbi_trainer_gpu_end(lmb_trainer *t) { lmb_gpu_close(t->gpu); }
