/* distill/quantize/deploy_gpu.c - a .lmb run over a data set on a GPU: the integers of core/edge, by its kernels
 * (core/cuda/int8.h). Threads read the samples of a batch, the GPU answers them all. */
#include "distill/quantize/deploy_gpu.h"

#include <stdlib.h>

#include "core/base/threads.h"
#include "core/cuda/device.h"
#include "core/cuda/int8.h"

enum { BATCH = 1024 };

typedef struct reader {
    const lmb_dataset *data;
    size_t sample; /* bytes */
    int64_t at, n; /* of the batch */
    int threads;
    uint8_t *x;    /* [batch][sample] */
    int64_t *label;
    lmb_error *err; /* [threads] */
} reader;

static void read_slice(void *ctx, int task, int worker)
{
    reader *r = ctx;
    lmb_error *err = &r->err[task];
    (void)worker;
    for (int64_t i = r->n * task / r->threads; i < r->n * (task + 1) / r->threads && err->status == LMB_OK; i++) {
        int32_t label = 0;
        err->status = r->data->read(r->data, r->at + i, r->x + (size_t)i * r->sample, &label, err);
        r->label[i] = label;
    }
}

static lmb_status read_batch(reader *r, lmb_pool *pool, lmb_error *err)
{
    lmb_pool_run(pool, r->threads, read_slice, r);
    for (int k = 0; k < r->threads; k++)
        if (r->err[k].status != LMB_OK)
            return LMB_FAIL(err, r->err[k].status, "%s", r->err[k].msg);
    return LMB_OK;
}

static lmb_status answer_all(lmb_int8 *gpu, reader *r, float *y, lmb_metrics *out, float *logits, lmb_error *err)
{
    lmb_pool *pool;
    lmb_status st = LMB_OK;
    int64_t batch = lmb_int8_batch(gpu);

    LMB_TRY(lmb_pool_create(r->threads, &pool, err));
    for (r->at = 0; r->at < r->data->n && st == LMB_OK; r->at += r->n) {
        r->n = r->data->n - r->at < batch ? r->data->n - r->at : batch;
        float *to = logits ? logits + r->at * out->classes : y;
        st = read_batch(r, pool, err);
        if (st == LMB_OK)
            st = lmb_int8_run(gpu, r->x, r->n, to, err);
        if (st == LMB_OK)
            lmb_metrics_add(out, to, r->label, r->n);
    }
    lmb_pool_destroy(pool);
    return st;
}

lmb_status lmbi_deploy_gpu(const lmb_edge_model *m, const lmb_dataset *data, int threads, lmb_metrics *out,
                           float *logits, lmb_error *err)
{
    reader r = { .data = data, .sample = lmb_shape_bytes(&data->shape, LMB_U8), .threads = threads < 1 ? 1 : threads };
    lmb_int8 *model = NULL;
    lmb_gpu *gpu = NULL;
    float *y = NULL;
    lmb_status st;

    LMB_TRY_GOTO(st, done, lmb_gpu_open(0, &gpu, err));
    LMB_TRY_GOTO(
        st, done,
        lmb_int8_create(lmb_gpu_api(gpu), lmb_gpu_device(gpu), m, BATCH < data->n ? BATCH : data->n, &model, err));
    size_t batch = (size_t)lmb_int8_batch(model);
    r.x = malloc(batch * r.sample + 1);
    r.label = malloc(batch * sizeof *r.label);
    r.err = malloc((size_t)r.threads * sizeof *r.err);
    y = malloc(batch * (size_t)out->classes * sizeof *y);
    if (!r.x || !r.label || !r.err || !y)
        LMB_TRY_GOTO(st, done, LMB_FAIL(err, LMB_E_NOMEM, "no memory to run a model"));
    for (int k = 0; k < r.threads; k++)
        r.err[k] = (lmb_error)LMB_ERROR_INIT;
    st = answer_all(model, &r, y, out, logits, err);
done:
    lmb_int8_destroy(model);
    lmb_gpu_close(gpu);
    free(r.x);
    free(r.label);
    free(r.err);
    free(y);
    return st;
}
