/* tests/launch/fake_cuda.h - as much of a module's table (core/cuda/cuda.h) as `limbeck doctor` needs, on host memory,
 * going wrong as a test tells it. Work is done at once; the later a GPU would do it, the more tests/core/cuda/played.c
 * tells. */
#ifndef LMB_TESTS_LAUNCH_FAKE_CUDA_H
#define LMB_TESTS_LAUNCH_FAKE_CUDA_H

#include <stdlib.h>
#include <string.h>

#include "core/cuda/cuda.h"

static struct fake_cuda {
    lmb_cuda_state state;   /* of all devices */
    int wrong;              /* the device whose kernel is off by one in its last number; -1: none */
    const char *no_kernel;  /* what it says instead of starting; NULL: it starts */
    size_t most;            /* bytes: more is not to be had */
    int selected, streams, blocks; /* what is there now */
} fake_cuda;

static lmb_status fake_select(int device, lmb_error *err) { return (void)err, fake_cuda.selected = device, LMB_OK; }
static lmb_status fake_info(int device, lmb_cuda_device *d, lmb_error *err)
{
    *d = (lmb_cuda_device){ .name = "a fake", .memory = (uint64_t)80 << 30, .major = 9, .processors = 132 };
    return (void)device, (void)err, LMB_OK;
}
static lmb_status fake_state(lmb_cuda_state *s, lmb_error *err) { return (void)err, *s = fake_cuda.state, LMB_OK; }
static lmb_status fake_stream(lmb_cuda_stream **s, lmb_error *err)
{
    *s = (lmb_cuda_stream *)&fake_cuda;
    return (void)err, fake_cuda.streams++, LMB_OK;
}
static lmb_status fake_sync(lmb_cuda_stream *s, lmb_error *err) { return (void)s, (void)err, LMB_OK; }
static void fake_stream_end(lmb_cuda_stream *s) { fake_cuda.streams -= s != NULL; }
static lmb_status fake_get(size_t bytes, void **out, lmb_error *err)
{
    if (bytes > fake_cuda.most)
        return LMB_FAIL(err, LMB_E_DEVICE, "out of memory");
    *out = malloc(bytes);
    return fake_cuda.blocks++, LMB_OK;
}
static void fake_free(void *memory)
{
    fake_cuda.blocks -= memory != NULL;
    free(memory);
}
static lmb_status fake_move(void *to, const void *from, size_t bytes, lmb_cuda_stream *s, lmb_error *err)
{
    memcpy(to, from, bytes);
    return (void)s, (void)err, LMB_OK;
}
static lmb_status fake_relu(const float *x, float *y, size_t n, lmb_cuda_stream *s, lmb_error *err)
{
    (void)s;
    if (fake_cuda.no_kernel)
        return LMB_FAIL(err, LMB_E_DEVICE, "%s", fake_cuda.no_kernel);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] < 0 ? 0 : x[i];
    if (fake_cuda.selected == fake_cuda.wrong)
        y[n - 1] += 1;
    return LMB_OK;
}

static const lmb_cuda_api fake_cuda_api = {
    .code = "sm_80 sm_90 compute_90", .device_select = fake_select, .device_info = fake_info,
    .device_state = fake_state, .stream_create = fake_stream, .stream_sync = fake_sync,
    .stream_destroy = fake_stream_end, .alloc = fake_get, .free = fake_free, .host_alloc = fake_get,
    .host_free = fake_free, .upload = fake_move, .download = fake_move, .copy = fake_move, .relu = fake_relu,
};

static void fake_cuda_begin(void)
{
    fake_cuda = (struct fake_cuda){ .state = { (uint64_t)79 << 30, "0000:01:00.0", 90, 90 }, .wrong = -1,
                                    .most = (size_t)1 << 24, .selected = -1 };
}

#endif
