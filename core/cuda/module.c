/* core/cuda/module.c - the table that liblimbeck_cuda.so exports: devices, streams, events, memory, copies.
 *
 * Idea: each function is one call of the CUDA runtime, whose error becomes a sentence in one place.
 *   source   CUDA Runtime API, chapters Device, Stream, Event and Memory Management
 */
#include <nccl.h>
#include <stdio.h>
#include <string.h>

#include "core/cuda/dnn.h"
#include "core/cuda/ops/table.h"

/* What a person can do about an error, for the errors that have an answer. */
static const char *advice(cudaError_t e)
{
    switch (e) {
    case cudaErrorNoDevice:
        return "see that nvidia-smi lists a GPU and that CUDA_VISIBLE_DEVICES does not hide it";
    case cudaErrorInsufficientDriver:
        return "install an NVIDIA driver, or a newer one; nvidia-smi shows which is there";
    case cudaErrorInvalidDevice:
        return "choose a device number below the number of devices";
    case cudaErrorMemoryAllocation:
        return "make the batch or the model smaller, or end other programs on this GPU";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
        return "build again with CMAKE_CUDA_ARCHITECTURES set to this GPU's compute capability, such as 90";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
        return "this process must end; run it again under compute-sanitizer to find the kernel";
    case cudaErrorECCUncorrectable:
    case cudaErrorHardwareStackError:
        return "the GPU needs a reset or a repair; nvidia-smi -q tells more";
    default:
        return "launch/gpu-check tells whether the installation works";
    }
}

lmb_status lmbi_cuda_check(cudaError_t e, const char *doing, lmb_error *err)
{
    if (e == cudaSuccess)
        return LMB_OK;
    /* CUDA remembers an error until asked; the next kernel's launch must not report this one. */
    (void)cudaGetLastError();
    if (e == cudaErrorNoDevice || e == cudaErrorInsufficientDriver)
        return LMB_FAIL(err, LMB_E_DEVICE, "no CUDA device: %s; %s", cudaGetErrorString(e), advice(e));
    return LMB_FAIL(err, e == cudaErrorMemoryAllocation ? LMB_E_NOMEM : LMB_E_DEVICE, "CUDA, %s: %s; %s", doing,
                    cudaGetErrorString(e), advice(e));
}

static lmb_status versions(lmb_cuda_versions *v, lmb_error *err)
{
    lmb_cuda_versions got = { 0 };

    LMB_TRY(lmbi_cuda_check(cudaDriverGetVersion(&got.driver), "asking for the driver's version", err));
    LMB_TRY(lmbi_cuda_check(cudaRuntimeGetVersion(&got.runtime), "asking for the runtime's version", err));
    got.cudnn = (int)cudnnGetVersion();
    ncclResult_t r = ncclGetVersion(&got.nccl);
    if (r != ncclSuccess)
        return LMB_FAIL(err, LMB_E_DEVICE, "NCCL, asking for its version: %s; install NCCL 2 again",
                        ncclGetErrorString(r));
    *v = got;
    return LMB_OK;
}

static lmb_status device_count(int *n, lmb_error *err)
{
    int count = 0;

    LMB_TRY(lmbi_cuda_check(cudaGetDeviceCount(&count), "counting devices", err));
    if (count == 0)
        return lmbi_cuda_check(cudaErrorNoDevice, "counting devices", err);
    *n = count;
    return LMB_OK;
}

static lmb_status device_info(int device, lmb_cuda_device *d, lmb_error *err)
{
    struct cudaDeviceProp p;

    LMB_TRY(lmbi_cuda_check(cudaGetDeviceProperties(&p, device), "asking for a device's properties", err));
    snprintf(d->name, sizeof d->name, "%s", p.name);
    d->memory = p.totalGlobalMem;
    d->major = p.major;
    d->minor = p.minor;
    d->processors = p.multiProcessorCount;
    memcpy(d->uuid, p.uuid.bytes, sizeof d->uuid);
    return LMB_OK;
}

/* Most often it is selected already; asking touches nothing, also while a stream is recorded. */
static lmb_status device_select(int device, lmb_error *err)
{
    int now = -1;

    if (cudaGetDevice(&now) == cudaSuccess && now == device)
        return LMB_OK;
    return lmbi_cuda_check(cudaSetDevice(device), "selecting a device", err);
}

static lmb_status device_state(lmb_cuda_state *s, lmb_error *err)
{
    size_t left, all;
    int device;

    LMB_TRY(lmbi_cuda_check(cudaMemGetInfo(&left, &all), "asking for free memory", err));
    s->free = left;
    LMB_TRY(lmbi_cuda_check(cudaGetDevice(&device), "asking for the device", err));
    LMB_TRY(lmbi_cuda_check(cudaDeviceGetPCIBusId(s->where, sizeof s->where, device), "asking for its address", err));
    return lmbi_cuda_code(&s->code, &s->ptx, err);
}

/* Non-blocking: no hidden order with the default stream, which other libraries may use. */
static lmb_status stream_create(lmb_cuda_stream **s, lmb_error *err)
{
    cudaStream_t made;

    LMB_TRY(lmbi_cuda_check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "creating a stream", err));
    *s = (lmb_cuda_stream *)made;
    return LMB_OK;
}

static lmb_status stream_sync(lmb_cuda_stream *s, lmb_error *err)
{
    return lmbi_cuda_check(cudaStreamSynchronize((cudaStream_t)s), "waiting for a stream", err);
}

static void stream_destroy(lmb_cuda_stream *s)
{
    if (s && cudaStreamDestroy((cudaStream_t)s) != cudaSuccess)
        (void)cudaGetLastError();
}

static lmb_status event_create(lmb_cuda_event **e, lmb_error *err)
{
    cudaEvent_t made;

    LMB_TRY(lmbi_cuda_check(cudaEventCreate(&made), "creating an event", err));
    *e = (lmb_cuda_event *)made;
    return LMB_OK;
}

static lmb_status event_record(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err)
{
    return lmbi_cuda_check(cudaEventRecord((cudaEvent_t)e, (cudaStream_t)s), "recording an event", err);
}

static lmb_status event_wait(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err)
{
    return lmbi_cuda_check(cudaStreamWaitEvent((cudaStream_t)s, (cudaEvent_t)e, 0), "waiting for an event", err);
}

static lmb_status event_elapsed(lmb_cuda_event *from, lmb_cuda_event *to, double *ms, lmb_error *err)
{
    float elapsed;

    LMB_TRY(lmbi_cuda_check(cudaEventSynchronize((cudaEvent_t)to), "waiting for an event", err));
    LMB_TRY(lmbi_cuda_check(cudaEventElapsedTime(&elapsed, (cudaEvent_t)from, (cudaEvent_t)to), "timing two events",
                            err));
    *ms = elapsed;
    return LMB_OK;
}

static void event_destroy(lmb_cuda_event *e)
{
    if (e && cudaEventDestroy((cudaEvent_t)e) != cudaSuccess)
        (void)cudaGetLastError();
}

static lmb_status device_alloc(size_t bytes, void **device, lmb_error *err)
{
    void *made = NULL;
    char doing[64];

    snprintf(doing, sizeof doing, "allocating %zu bytes", bytes);
    LMB_TRY(lmbi_cuda_check(cudaMalloc(&made, bytes), doing, err));
    *device = made;
    return LMB_OK;
}

static void device_free(void *device)
{
    if (device && cudaFree(device) != cudaSuccess)
        (void)cudaGetLastError();
}

static lmb_status memory_free(uint64_t *bytes, lmb_error *err)
{
    size_t nobodys = 0, all = 0;

    LMB_TRY(lmbi_cuda_check(cudaMemGetInfo(&nobodys, &all), "asking for free memory", err));
    *bytes = nobodys;
    return LMB_OK;
}

static lmb_status transfer(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, lmb_cuda_stream *s,
                           const char *doing, lmb_error *err)
{
    return lmbi_cuda_check(cudaMemcpyAsync(to, from, bytes, kind, (cudaStream_t)s), doing, err);
}

static lmb_status upload(void *device, const void *host, size_t bytes, lmb_cuda_stream *s, lmb_error *err)
{
    return transfer(device, host, bytes, cudaMemcpyHostToDevice, s, "copying to the device", err);
}

static lmb_status download(void *host, const void *device, size_t bytes, lmb_cuda_stream *s, lmb_error *err)
{
    return transfer(host, device, bytes, cudaMemcpyDeviceToHost, s, "copying from the device", err);
}

static lmb_status copy(void *to, const void *from, size_t bytes, lmb_cuda_stream *s, lmb_error *err)
{
    return transfer(to, from, bytes, cudaMemcpyDeviceToDevice, s, "copying on the device", err);
}

extern const lmb_cuda_api lmb_cuda_module; /* LMB_CUDA_MODULE_TABLE */
__attribute__((visibility("default"))) const lmb_cuda_api lmb_cuda_module = {
    .version = LMB_CUDA_API,
    .size = sizeof(lmb_cuda_api),
    .versions = versions,
    .device_count = device_count,
    .device_info = device_info,
    .device_select = device_select,
    .device_state = device_state,
    .code = LMB_CUDA_CODE,
    .stream_create = stream_create,
    .stream_sync = stream_sync,
    .stream_destroy = stream_destroy,
    .event_create = event_create,
    .event_record = event_record,
    .event_wait = event_wait,
    .event_elapsed = event_elapsed,
    .event_destroy = event_destroy,
    .alloc = device_alloc,
    .free = device_free,
    .upload = upload,
    .download = download,
    .copy = copy,
    .queue_create = lmbi_queue_create,
    .queue_destroy = lmbi_queue_destroy,
    .queue_measure = lmbi_queue_measure,
    .queue_measure_within = lmbi_queue_measure_within,
    .describe_conv = lmbi_cuda_describe_conv,
    .convert = lmbi_cuda_convert,
    .event_stamp = lmbi_cuda_event_stamp,
    .event_sync = lmbi_cuda_event_sync,
    .event_query = lmbi_cuda_event_query,
    .host_alloc = lmbi_cuda_host_alloc,
    .host_free = lmbi_cuda_host_free,
    .capture_begin = lmbi_cuda_capture_begin,
    .capture_end = lmbi_cuda_capture_end,
    .graph_launch = lmbi_cuda_graph_launch,
    .graph_destroy = lmbi_cuda_graph_destroy,
    .step_work = lmbi_cuda_step_work,
    .kernels = lmbi_cuda_kernels,
    .kernels_tf32 = lmbi_cuda_kernels_tf32,
    .kernels_bf16 = lmbi_cuda_kernels_bf16,
    .relu = lmbi_cuda_relu,
    .sgd_momentum = lmbi_cuda_sgd_momentum,
    .int8_step = lmbi_cuda_int8_step,
    .chacha_add = lmbi_cuda_chacha_add,
    .memory_free = memory_free,
};
