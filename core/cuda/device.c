/* core/cuda/device.c - see device.h. */
#include "core/cuda/device.h"

#include <stdlib.h>
#include <string.h>

#include "core/cuda/cuda.h"

struct lmb_gpu {
    lmb_device device; /* first: plans hand it back to us */
    lmb_cuda *cuda;
    lmb_cuda_stream *stream;
    lmb_cuda_queue *queue;
    lmb_cuda_device about;
    int index;
    lmb_backend backend;
};

static lmb_gpu *of(lmb_device *d) { return (lmb_gpu *)d; }

/* The device is selected for each call: the calling thread may be another one. */
static lmb_status gpu_alloc(lmb_device *d, size_t bytes, void **memory, lmb_error *err)
{
    LMB_TRY(of(d)->cuda->api->device_select(of(d)->index, err));
    return of(d)->cuda->api->alloc(bytes, memory, err);
}

static void gpu_free(lmb_device *d, void *memory) { of(d)->cuda->api->free(memory); }

static lmb_status gpu_upload(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *err)
{
    return bytes ? of(d)->cuda->api->upload(to, from, bytes, of(d)->stream, err) : LMB_OK;
}

static lmb_status gpu_download(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *err)
{
    return bytes ? of(d)->cuda->api->download(to, from, bytes, of(d)->stream, err) : LMB_OK;
}

static lmb_status gpu_copy(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *err)
{
    return bytes ? of(d)->cuda->api->copy(to, from, bytes, of(d)->stream, err) : LMB_OK;
}

static lmb_status gpu_finish(lmb_device *d, lmb_error *err) { return of(d)->cuda->api->stream_sync(of(d)->stream, err); }

static lmb_status open_on(lmb_gpu *g, int index, lmb_error *err)
{
    int n = 0;

    LMB_TRY(lmb_cuda_open(NULL, &g->cuda, err));
    LMB_TRY(g->cuda->api->device_count(&n, err));
    g->index = index % n;
    LMB_TRY(g->cuda->api->device_select(g->index, err));
    LMB_TRY(g->cuda->api->device_info(g->index, &g->about, err));
    LMB_TRY(g->cuda->api->stream_create(&g->stream, err));
    return g->cuda->api->queue_create(g->stream, &g->queue, err);
}

lmb_status lmb_gpu_open(int index, lmb_gpu **out, lmb_error *err)
{
    lmb_gpu *g = calloc(1, sizeof *g);

    if (!g)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a GPU");
    lmb_status st = open_on(g, index < 0 ? 0 : index, err);
    if (st != LMB_OK) {
        lmb_gpu_close(g);
        return st;
    }
    g->backend = (lmb_backend){ .name = "cuda", .summary = "kernels on an NVIDIA GPU", .kernels = g->cuda->api->kernels,
                                .device = &g->device };
    g->device = (lmb_device){ g->about.name, g->queue, gpu_alloc, gpu_free, gpu_upload, gpu_download, gpu_copy, gpu_finish };
    *out = g;
    return LMB_OK;
}

void lmb_gpu_close(lmb_gpu *g)
{
    if (!g)
        return;
    if (g->cuda)
        g->cuda->api->queue_destroy(g->queue);
    if (g->stream)
        g->cuda->api->stream_destroy(g->stream);
    lmb_cuda_close(g->cuda);
    free(g);
}

const lmb_backend *lmb_gpu_backend(const lmb_gpu *g) { return &g->backend; }
const lmb_cuda_api *lmb_gpu_api(const lmb_gpu *g) { return g->cuda->api; }
lmb_device *lmb_gpu_device(lmb_gpu *g) { return &g->device; }
