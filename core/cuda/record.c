/* core/cuda/record.c - work recorded once and started as one: CUDA graphs; and memory of the host that copies reach
 * directly.
 *
 * Idea: capturing is limited to the calling thread and to streams that the captured one meets through events. What
 * can not be recorded ends the capture with an error, after which the stream works as before.
 *   source   CUDA Runtime API, chapters Stream Management (cudaStreamBeginCapture) and Graph Management
 */
#include "core/cuda/internal.h"

lmb_status lmbi_cuda_host_alloc(size_t bytes, void **memory, lmb_error *err)
{
    void *made = NULL;

    LMB_TRY(lmbi_cuda_check(cudaHostAlloc(&made, bytes ? bytes : 1, cudaHostAllocDefault),
                            "allocating memory of the host for copies", err));
    *memory = made;
    return LMB_OK;
}

void lmbi_cuda_host_free(void *memory)
{
    if (memory && cudaFreeHost(memory) != cudaSuccess)
        (void)cudaGetLastError();
}

lmb_status lmbi_cuda_event_sync(lmb_cuda_event *e, lmb_error *err)
{
    return lmbi_cuda_check(cudaEventSynchronize((cudaEvent_t)e), "waiting for an event", err);
}

/* While a stream is recorded an event means the order of two streams; that it is one of the graph's own pieces, which
 * takes the time in each launch, is to be said. */
lmb_status lmbi_cuda_event_stamp(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err)
{
    enum cudaStreamCaptureStatus now = cudaStreamCaptureStatusNone;

    LMB_TRY(lmbi_cuda_check(cudaStreamIsCapturing((cudaStream_t)s, &now), "looking at a stream", err));
    return lmbi_cuda_check(cudaEventRecordWithFlags((cudaEvent_t)e, (cudaStream_t)s,
                                                    now == cudaStreamCaptureStatusNone ? cudaEventRecordDefault
                                                                                       : cudaEventRecordExternal),
                           "recording the time", err);
}

lmb_status lmbi_cuda_event_query(lmb_cuda_event *e, bool *done, lmb_error *err)
{
    cudaError_t code = cudaEventQuery((cudaEvent_t)e);

    *done = code == cudaSuccess;
    return code == cudaErrorNotReady ? LMB_OK : lmbi_cuda_check(code, "looking at an event", err);
}

lmb_status lmbi_cuda_capture_begin(lmb_cuda_stream *s, lmb_error *err)
{
    return lmbi_cuda_check(cudaStreamBeginCapture((cudaStream_t)s, cudaStreamCaptureModeThreadLocal),
                           "beginning to record", err);
}

lmb_status lmbi_cuda_capture_end(lmb_cuda_stream *s, lmb_cuda_graph **out, lmb_error *err)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t made = NULL;

    LMB_TRY(lmbi_cuda_check(cudaStreamEndCapture((cudaStream_t)s, &graph), "ending to record", err));
    cudaError_t e = cudaGraphInstantiate(&made, graph, 0);
    if (cudaGraphDestroy(graph) != cudaSuccess)
        (void)cudaGetLastError();
    LMB_TRY(lmbi_cuda_check(e, "making a graph of what was recorded", err));
    *out = (lmb_cuda_graph *)made;
    return LMB_OK;
}

lmb_status lmbi_cuda_graph_launch(lmb_cuda_graph *g, lmb_cuda_stream *s, lmb_error *err)
{
    return lmbi_cuda_check(cudaGraphLaunch((cudaGraphExec_t)g, (cudaStream_t)s), "starting a graph", err);
}

void lmbi_cuda_graph_destroy(lmb_cuda_graph *g)
{
    if (g && cudaGraphExecDestroy((cudaGraphExec_t)g) != cudaSuccess)
        (void)cudaGetLastError();
}
