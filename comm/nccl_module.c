/* comm/nccl_module.c - the table that liblimbeck_nccl.so exports; each function is one call of NCCL or of the CUDA
 * runtime.
 *
 *   source   NCCL 2.28 API: ncclCommInitRankConfig with blocking = 0, group calls, ncclMemAlloc
 */
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <string.h>

#include "comm/nccl_api.h"
#include "comm/nccl_narrow.h"

_Static_assert((int)ncclInProgress == LMB_NCCL_BUSY && sizeof(ncclUniqueId) == LMB_NCCL_ID,
               "codes and names are NCCL's own");

static int of_cuda(cudaError_t e)
{
    if (e == cudaSuccess)
        return LMB_NCCL_OK;
    (void)cudaGetLastError(); /* CUDA remembers it until asked; the next call must not report this one */
    return LMB_NCCL_CUDA + (int)e;
}

static const char *text(int code)
{
    return code >= LMB_NCCL_CUDA ? cudaGetErrorString((cudaError_t)(code - LMB_NCCL_CUDA))
                                 : ncclGetErrorString((ncclResult_t)code);
}

static int library(int *version) { return ncclGetVersion(version); }

static int device_select(int device)
{
    int n = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e == cudaSuccess && n == 0)
        e = cudaErrorNoDevice;
    return of_cuda(e == cudaSuccess ? cudaSetDevice(device % n) : e);
}

static int device_id(unsigned char id[LMB_NCCL_DEVICE_ID])
{
    struct cudaDeviceProp p;
    int device = 0;
    cudaError_t e = cudaGetDevice(&device);
    if (e == cudaSuccess)
        e = cudaGetDeviceProperties(&p, device);
    if (e == cudaSuccess)
        memcpy(id, p.uuid.bytes, LMB_NCCL_DEVICE_ID);
    return of_cuda(e);
}

static int mem_alloc(size_t bytes, void **device) { return ncclMemAlloc(device, bytes); }
static int mem_free(void *device) { return ncclMemFree(device); }

static int upload(void *device, const void *host, size_t bytes, void *stream)
{
    return of_cuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream));
}

static int download(void *host, const void *device, size_t bytes, void *stream)
{
    return of_cuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream));
}

/* Of the highest priority: what others wait for goes before what we compute. */
static int stream_create(void **stream)
{
    cudaStream_t s;
    int low, high;
    cudaError_t e = cudaDeviceGetStreamPriorityRange(&low, &high);
    if (e == cudaSuccess)
        e = cudaStreamCreateWithPriority(&s, cudaStreamNonBlocking, high);
    if (e == cudaSuccess)
        *stream = s;
    return of_cuda(e);
}

static int stream_destroy(void *stream) { return of_cuda(cudaStreamDestroy(stream)); }

static int busy_or(cudaError_t e)
{
    if (e == cudaErrorNotReady) {
        (void)cudaGetLastError();
        return LMB_NCCL_BUSY;
    }
    return of_cuda(e);
}

static int stream_state(void *stream) { return busy_or(cudaStreamQuery(stream)); }
static int event_state(void *event) { return busy_or(cudaEventQuery(event)); }

/* The event may be destroyed at once: CUDA keeps it until the stream has passed it. */
static int stream_after(void *stream, void *other)
{
    cudaEvent_t mark;
    cudaError_t e = cudaEventCreateWithFlags(&mark, cudaEventDisableTiming);
    if (e != cudaSuccess)
        return of_cuda(e);
    e = cudaEventRecord(mark, other);
    if (e == cudaSuccess)
        e = cudaStreamWaitEvent(stream, mark, 0);
    cudaEventDestroy(mark);
    return of_cuda(e);
}

/* With unified addresses, which 64-bit systems have, the host's pointer is the device's. */
static int count_create(volatile uint64_t **count)
{
    void *memory = NULL;
    cudaError_t e = cudaHostAlloc(&memory, sizeof **count, cudaHostAllocMapped);
    if (e == cudaSuccess)
        *(uint64_t *)memory = 0;
    *count = memory;
    return of_cuda(e);
}

static int count_destroy(volatile uint64_t *count) { return of_cuda(cudaFreeHost((void *)count)); }
static int count(volatile uint64_t *at, void *stream) { return of_cuda(lmbi_count((uint64_t *)at, stream)); }

static int unique_id(unsigned char id[LMB_NCCL_ID]) { return ncclGetUniqueId((ncclUniqueId *)id); }

static int init(void **comm, int size, const unsigned char id[LMB_NCCL_ID], int rank)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId name;
    ncclComm_t made = NULL;

    config.blocking = 0; /* else nobody could end a call that waits for the dead */
    memcpy(&name, id, sizeof name);
    ncclResult_t r = ncclCommInitRankConfig(&made, size, name, rank, &config);
    *comm = made;
    return r;
}

static int state(void *comm)
{
    ncclResult_t now = ncclSuccess, asked = ncclCommGetAsyncError(comm, &now);
    return asked != ncclSuccess ? asked : now;
}

static int finalize(void *comm) { return ncclCommFinalize(comm); }
static int destroy(void *comm) { return ncclCommDestroy(comm); }
static int abort_comm(void *comm) { return ncclCommAbort(comm); }

static ncclDataType_t type_of(lmb_nccl_type t)
{
    return t == LMB_NCCL_BF16 ? ncclBfloat16 : t == LMB_NCCL_F64 ? ncclFloat64 : ncclFloat32;
}

static ncclRedOp_t op_of(lmb_nccl_op op)
{
    return op == LMB_NCCL_LEAST ? ncclMin : op == LMB_NCCL_GREATEST ? ncclMax : ncclSum;
}

static int group_begin(void) { return ncclGroupStart(); }
static int group_end(void) { return ncclGroupEnd(); }

static int reduce(const void *from, void *to, size_t n, lmb_nccl_type t, lmb_nccl_op op, void *comm, void *stream)
{
    return ncclAllReduce(from, to, n, type_of(t), op_of(op), comm, stream);
}

static int reduce_to(void *at, size_t n, lmb_nccl_type t, lmb_nccl_op op, int root, void *comm, void *stream)
{
    return ncclReduce(at, at, n, type_of(t), op_of(op), root, comm, stream);
}

static int spread(void *at, size_t n, lmb_nccl_type t, int root, void *comm, void *stream)
{
    return ncclBroadcast(at, at, n, type_of(t), root, comm, stream);
}

static int sum_scatter(const void *from, void *to, size_t n_each, lmb_nccl_type t, void *comm, void *stream)
{
    return ncclReduceScatter(from, to, n_each, type_of(t), ncclSum, comm, stream);
}

static int gather(const void *from, void *to, size_t n_each, lmb_nccl_type t, void *comm, void *stream)
{
    return ncclAllGather(from, to, n_each, type_of(t), comm, stream);
}

static int exchange(const void *from, int peer_to, void *to, int peer_from, size_t n, lmb_nccl_type t, void *comm,
                    void *stream)
{
    ncclResult_t r = ncclGroupStart(), end;
    if (r == ncclSuccess && peer_to >= 0)
        r = ncclSend(from, n, type_of(t), peer_to, comm, stream);
    if ((r == ncclSuccess || r == ncclInProgress) && peer_from >= 0)
        r = ncclRecv(to, n, type_of(t), peer_from, comm, stream);
    end = ncclGroupEnd(); /* also after an error: groups nest */
    return r == ncclSuccess || r == ncclInProgress ? end : r;
}

static int narrow(const float *from, uint16_t *to, size_t n, void *stream)
{
    return of_cuda(lmbi_narrow(from, to, n, stream));
}
static int widen(const uint16_t *from, float *to, size_t n, void *stream)
{
    return of_cuda(lmbi_widen(from, to, n, stream));
}

extern const lmb_nccl_api lmb_nccl_module; /* LMB_NCCL_MODULE_TABLE */
__attribute__((visibility("default"))) const lmb_nccl_api lmb_nccl_module = {
    .version = LMB_NCCL_API,
    .size = sizeof(lmb_nccl_api),
    .text = text,
    .library = library,
    .device_select = device_select,
    .device_id = device_id,
    .alloc = mem_alloc,
    .free = mem_free,
    .upload = upload,
    .download = download,
    .stream_create = stream_create,
    .stream_destroy = stream_destroy,
    .stream_state = stream_state,
    .stream_after = stream_after,
    .event_state = event_state,
    .count_create = count_create,
    .count_destroy = count_destroy,
    .count = count,
    .unique_id = unique_id,
    .init = init,
    .state = state,
    .finalize = finalize,
    .destroy = destroy,
    .abort = abort_comm,
    .group_begin = group_begin,
    .group_end = group_end,
    .reduce = reduce,
    .reduce_to = reduce_to,
    .spread = spread,
    .sum_scatter = sum_scatter,
    .gather = gather,
    .exchange = exchange,
    .narrow = narrow,
    .widen = widen,
};
