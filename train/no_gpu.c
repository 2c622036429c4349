/* train/no_gpu.c - builds for clients train on the processor alone. */
#include "train/trainer_internal.h"

lmb_status lmbi_trainer_gpu(lmb_trainer *t, lmb_error *err)
{
    (void)t;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "this build is for clients and has no CUDA; set train.backend=cpu");
}

void lmbi_trainer_gpu_end(lmb_trainer *t) { (void)t; }

lmb_status lmbi_gpu_create(lmb_trainer *t, lmb_error *err)
{
    (void)t, (void)err;
    return LMB_OK;
}

lmb_status lmbi_gpu_again(lmb_trainer *t, lmb_error *err)
{
    (void)t, (void)err;
    return LMB_OK;
}

void lmbi_gpu_destroy(lmb_trainer *t) { (void)t; }
size_t lmbi_gpu_slots(const lmb_trainer *t, size_t host) { return (void)t, host; }
void lmbi_gpu_watch(lmb_trainer *t) { (void)t; }

lmb_nccl *lmbi_gpu_nccl(const lmb_trainer *t)
{
    (void)t;
    return NULL;
}

lmb_status lmbi_gpu_anew(lmb_trainer *t, lmb_error *err)
{
    (void)t, (void)err;
    return LMB_OK;
}

static lmb_status none(lmb_error *err) { return LMB_FAIL(err, LMB_E_UNSUPPORTED, "this build has no GPU"); }

lmb_status lmbi_gpu_send(lmb_trainer *t, lmb_error *err)
{
    (void)t;
    return none(err);
}

lmb_status lmbi_gpu_fetch(lmb_trainer *t, lmb_error *err)
{
    (void)t;
    return none(err);
}

lmb_status lmbi_gpu_look(lmb_trainer *t, lmb_error *err)
{
    (void)t;
    return none(err);
}

lmb_status lmb_evaluate_gpu(const lmb_graph *model, const lmb_dataset *data, lmb_metrics *out, lmb_error *err)
{
    (void)model, (void)data, (void)out;
    return none(err);
}

lmb_status lmbi_gpu_validate(lmb_trainer *t, lmb_metrics *out, bool *done, lmb_error *err)
{
    (void)t, (void)out, (void)err;
    *done = false;
    return LMB_OK;
}

lmb_status lmbi_gpu_batch(lmb_trainer *t, const lmb_batch *b, int filled, lmb_error *err)
{
    (void)t, (void)b, (void)filled;
    return none(err);
}
