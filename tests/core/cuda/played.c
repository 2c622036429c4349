/* The CUDA module, played on the host: the kernels of the real one, which run there when there is no queue, on memory that is
 * the host's with contents undefined. With LMB_CUDA_MODULE naming it, programs and tests go all the way that they would go on
 * a GPU. What needs a device itself, such as streams that run by themselves, is not there to be tested. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "core/cuda/cuda.h"

extern lmb_cuda_api lmb_cuda_module;
__attribute__((visibility("default"))) lmb_cuda_api lmb_cuda_module; /* version 0, which is refused, where the real one does not load */

static lmb_status count(int *n, lmb_error *err)
{
    (void)err;
    *n = 1;
    return LMB_OK;
}

static lmb_status info(int device, lmb_cuda_device *d, lmb_error *err)
{
    (void)device, (void)err;
    *d = (lmb_cuda_device){ .name = "played", .memory = (uint64_t)1 << 30, .major = 9, .processors = 1 };
    return LMB_OK;
}

static lmb_status chosen(int device, lmb_error *err)
{
    (void)device, (void)err;
    return LMB_OK;
}

static lmb_status stream(lmb_cuda_stream **s, lmb_error *err)
{
    static int any;
    (void)err;
    *s = (lmb_cuda_stream *)(void *)&any;
    return LMB_OK;
}

static lmb_status synced(lmb_cuda_stream *s, lmb_error *err)
{
    (void)s, (void)err;
    return LMB_OK;
}

static void stream_end(lmb_cuda_stream *s) { (void)s; }

static lmb_status take(size_t bytes, void **device, lmb_error *err)
{
    *device = bytes ? aligned_alloc(256, (bytes + 255) / 256 * 256) : NULL;
    if (!*device && bytes)
        return LMB_FAIL(err, LMB_E_DEVICE, "no memory on the played device");
    if (bytes)
        memset(*device, 0xA5, bytes);
    return LMB_OK;
}

static lmb_status move(void *to, const void *from, size_t bytes, lmb_cuda_stream *s, lmb_error *err)
{
    (void)s, (void)err;
    memcpy(to, from, bytes);
    return LMB_OK;
}

static lmb_status queue(lmb_cuda_stream *s, lmb_cuda_queue **q, lmb_error *err)
{
    (void)s, (void)err;
    *q = NULL; /* the host */
    return LMB_OK;
}

static void queue_end(lmb_cuda_queue *q) { (void)q; }

__attribute__((constructor)) static void play(void)
{
    void *real = dlopen(PLAYED_MODULE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const lmb_cuda_api *api = real ? dlsym(real, LMB_CUDA_MODULE_TABLE) : NULL;
    if (!api)
        return;
    lmb_cuda_module = *api;
    lmb_cuda_module.device_count = count;
    lmb_cuda_module.device_info = info;
    lmb_cuda_module.device_select = chosen;
    lmb_cuda_module.stream_create = stream;
    lmb_cuda_module.stream_sync = synced;
    lmb_cuda_module.stream_destroy = stream_end;
    lmb_cuda_module.alloc = take;
    lmb_cuda_module.free = free;
    lmb_cuda_module.upload = lmb_cuda_module.download = move;
    lmb_cuda_module.copy = move;
    lmb_cuda_module.queue_create = queue;
    lmb_cuda_module.queue_destroy = queue_end;
}
