/* train/no_gpu.c - builds for clients train on the processor alone. */
#include "train/trainer_internal.h"

lmb_status lmbi_trainer_gpu(lmb_trainer *t, lmb_error *err)
{
    (void)t;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "this build is for clients and has no CUDA; set train.backend=cpu");
}

void lmbi_trainer_gpu_end(lmb_trainer *t) { (void)t; }
