/* train/gpu_evaluate.c - evaluation on a GPU: a training's validation, where its weights are there anyway, and that of
 * a model by itself. See device_evaluate.h. */
#include <stdio.h>
#include <string.h>

#include "core/base/threads.h"
#include "core/cuda/device.h"
#include "train/device_evaluate.h"
#include "train/resident.h"
#include "train/trainer_internal.h"

enum { READERS = 4 }; /* threads that read samples, at most */

static int readers(int ranks)
{
    int mine = lmb_cpu_count() / ranks;
    return mine < 1 ? 1 : mine > READERS ? READERS : mine;
}

/* Maps stay f32 also where a training keeps them in bf16: what TF32 rounds is far less. */
static lmb_status make(lmb_trainer *t, lmb_error *err)
{
    const lmb_cuda_precision precision = t->c.precision == LMB_TRAIN_F32 ? LMB_CUDA_F32_EXACT : LMB_CUDA_TF32_PRODUCTS;
    const lmb_backend *const backends[] = { lmb_gpu_backend(t->gpu, precision), NULL };
    lmbi_evaluator_options o = { .backends = backends, .model = t->model, .layout = t->layout,
                                 .limit_s = t->c.stall_s };

    if (t->pipeline)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "a GPU has its own stages of the model alone");
    (void)lmbi_resident_weights(t->resident, false, &o.at);
    return lmbi_evaluator_create(&o, t->valid, &t->evaluator, err);
}

lmb_status lmbi_gpu_validate(lmb_trainer *t, lmb_metrics *out, bool *done, lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;
    const size_t *at;
    lmb_status st = LMB_OK;

    *done = false;
    if (t->no_evaluator)
        return LMB_OK;
    if (!t->evaluator)
        st = make(t, &why);
    bool made = st == LMB_OK; /* if not, for want of memory there, say */
    if (made)
        st = lmbi_evaluator_run(t->evaluator, lmbi_resident_weights(t->resident, t->s.ema != NULL, &at), t->valid,
                                readers(t->comm->size), out, &why);
    *done = st == LMB_OK;
    if (st == LMB_OK)
        return LMB_OK;
    if (made && st != LMB_E_UNSUPPORTED)
        return LMB_FAIL(err, st, "%s", why.msg);
    size_t said = strlen(t->besides);
    snprintf(t->besides + said, sizeof t->besides - said, "%svalidation runs on the processor, as %s",
             said ? "; " : "", why.msg);
    t->no_evaluator = true;
    lmbi_gpu_remark(t);
    lmb_metrics_reset(out);
    return LMB_OK;
}

lmb_status lmb_evaluate_gpu(const lmb_graph *model, const lmb_dataset *data, lmb_metrics *out, lmb_error *err)
{
    const lmb_backend *backends[] = { NULL, NULL };
    lmbi_evaluator_options o = { .backends = backends, .model = model, .fixed = true };
    lmbi_evaluator *e = NULL;
    lmb_gpu *gpu = NULL;

    LMB_TRY(lmb_evaluate_check(model, data, out, err));
    LMB_TRY(lmb_gpu_open(0, &gpu, err));
    backends[0] = lmb_gpu_backend(gpu, LMB_CUDA_F32_EXACT);
    lmb_status st = lmbi_evaluator_create(&o, data, &e, err);
    if (st == LMB_OK)
        st = lmbi_evaluator_run(e, NULL, data, readers(1), out, err);
    lmbi_evaluator_destroy(e);
    lmb_gpu_close(gpu);
    return st;
}
