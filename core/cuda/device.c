/* core/cuda/device.c - see device.h. */
#include "core/cuda/device.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/bf16.h"
#include "core/base/str.h"
#include "core/cuda/results.h"

struct lmb_gpu {
    lmb_device device; /* first: plans hand it back to us */
    lmb_cuda *cuda;
    lmb_cuda_stream *stream, *aside;
    lmb_cuda_queue *queue;
    lmb_cuda_device about;
    int index;
    lmbi_results *results; /* of contests, or NULL */
    bool abandoned; /* it hangs: what would wait for it is left alone, memory included */
    lmb_backend backend[LMB_CUDA_PRECISIONS];
};

static lmb_gpu *of(lmb_device *d) { return (lmb_gpu *)d; }

/* Before each call that puts work on a queue or makes something: the calling thread may be another one than opened the
 * GPU, and kernels start on the device that their thread has selected alone. Plans begin with uploads, so that theirs
 * are covered. */
static lmb_status here(lmb_device *d, lmb_error *err) { return of(d)->cuda->api->device_select(of(d)->index, err); }

static lmb_status gpu_alloc(lmb_device *d, size_t bytes, void **memory, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return of(d)->cuda->api->alloc(bytes, memory, err);
}

static void gpu_free(lmb_device *d, void *memory)
{
    if (!of(d)->abandoned)
        of(d)->cuda->api->free(memory);
}

static lmb_status gpu_upload(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return bytes ? of(d)->cuda->api->upload(to, from, bytes, of(d)->stream, err) : LMB_OK;
}

static lmb_status gpu_download(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return bytes ? of(d)->cuda->api->download(to, from, bytes, of(d)->stream, err) : LMB_OK;
}

static lmb_status gpu_copy(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return bytes ? of(d)->cuda->api->copy(to, from, bytes, of(d)->stream, err) : LMB_OK;
}

static lmb_status gpu_convert(lmb_device *d, const lmb_tensor *from, lmb_layout before, const lmb_tensor *to,
                              lmb_layout after, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return of(d)->cuda->api->convert(from, before, to, after, of(d)->queue, err);
}

static void gpu_measure(lmb_device *d, bool on, const lmb_log *log)
{
    of(d)->cuda->api->queue_measure(of(d)->queue, on, log);
}

/* What a way is bound to: GPU, libraries, and what our names for ways mean. */
static lmb_status open_results(const lmb_gpu *g, const char *folder, const lmb_log *log, lmbi_results **out,
                               lmb_error *err)
{
    lmb_cuda_versions v = { 0 };
    lmb_str machine = LMB_STR_INIT;

    LMB_TRY(g->cuda->api->versions(&v, err));
    lmb_str_addf(&machine, "GPU %s, sm_%d%d, cuDNN %d, CUDA %d, contests 1", g->about.name, g->about.major,
                 g->about.minor, v.cudnn, v.runtime);
    lmb_status st = lmb_str_check(&machine, err);
    if (st == LMB_OK)
        st = lmbi_results_open(folder, machine.text, log, out, err);
    lmb_str_free(&machine);
    return st;
}

static lmb_status gpu_measure_within(lmb_device *d, double seconds, const char *folder, const lmb_log *log,
                                     lmb_error *err)
{
    lmb_gpu *g = of(d);
    lmbi_results *before = g->results;
    lmb_cuda_known known;

    g->results = NULL;
    lmb_status st = folder ? open_results(g, folder, log, &g->results, err) : LMB_OK;
    if (g->results)
        known = lmbi_results_known(g->results);
    g->cuda->api->queue_measure_within(g->queue, seconds, g->results ? &known : NULL);
    lmbi_results_close(before);
    return st;
}

static lmb_cuda_stream *stream_of(lmb_device *d, lmb_device_queue q)
{
    return q == LMB_QUEUE_MAIN ? of(d)->stream : of(d)->aside;
}

static lmb_status gpu_pin(lmb_device *d, size_t bytes, void **memory, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return of(d)->cuda->api->host_alloc(bytes, memory, err);
}

static void gpu_unpin(lmb_device *d, void *memory)
{
    if (!of(d)->abandoned)
        of(d)->cuda->api->host_free(memory);
}

static lmb_status gpu_send(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return bytes ? of(d)->cuda->api->upload(to, from, bytes, of(d)->aside, err) : LMB_OK;
}

static lmb_status gpu_mark_create(lmb_device *d, lmb_device_mark **m, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return of(d)->cuda->api->event_create((lmb_cuda_event **)m, err);
}

static void gpu_mark_destroy(lmb_device *d, lmb_device_mark *m)
{
    if (!of(d)->abandoned)
        of(d)->cuda->api->event_destroy((lmb_cuda_event *)m);
}

static lmb_status gpu_mark(lmb_device *d, lmb_device_mark *m, lmb_device_queue q, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return of(d)->cuda->api->event_record((lmb_cuda_event *)m, stream_of(d, q), err);
}

static lmb_status gpu_follow(lmb_device *d, lmb_device_mark *m, lmb_device_queue q, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return of(d)->cuda->api->event_wait((lmb_cuda_event *)m, stream_of(d, q), err);
}

static lmb_status gpu_reach(lmb_device *d, lmb_device_mark *m, lmb_error *err)
{
    return of(d)->cuda->api->event_sync((lmb_cuda_event *)m, err);
}

static lmb_status gpu_stamp(lmb_device *d, lmb_device_mark *m, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return of(d)->cuda->api->event_stamp((lmb_cuda_event *)m, of(d)->stream, err);
}

static lmb_status gpu_elapsed(lmb_device *d, lmb_device_mark *from, lmb_device_mark *to, double *seconds,
                              lmb_error *err)
{
    double ms = 0;

    LMB_TRY(of(d)->cuda->api->event_elapsed((lmb_cuda_event *)from, (lmb_cuda_event *)to, &ms, err));
    *seconds = 1e-3 * ms;
    return LMB_OK;
}

static lmb_status given_up(const lmb_device *d, lmb_error *err)
{
    return LMB_FAIL(err, LMB_E_DEVICE, "%s was given up, as it hangs", d->name);
}

static lmb_status gpu_reached(lmb_device *d, lmb_device_mark *m, bool *yes, lmb_error *err)
{
    if (of(d)->abandoned)
        return given_up(d, err);
    return of(d)->cuda->api->event_query((lmb_cuda_event *)m, yes, err);
}

static lmb_status gpu_record(lmb_device *d, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return of(d)->cuda->api->capture_begin(of(d)->stream, err);
}

static lmb_status gpu_recorded(lmb_device *d, lmb_device_record **out, lmb_error *err)
{
    return of(d)->cuda->api->capture_end(of(d)->stream, (lmb_cuda_graph **)out, err);
}

static lmb_status gpu_replay(lmb_device *d, lmb_device_record *r, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return of(d)->cuda->api->graph_launch((lmb_cuda_graph *)r, of(d)->stream, err);
}

static void gpu_record_destroy(lmb_device *d, lmb_device_record *r)
{
    if (!of(d)->abandoned)
        of(d)->cuda->api->graph_destroy((lmb_cuda_graph *)r);
}

static lmb_status gpu_work(lmb_device *d, const struct lmb_step_work *w, lmb_error *err)
{
    LMB_TRY(here(d, err));
    return of(d)->cuda->api->step_work(of(d)->queue, w, err);
}

static void gpu_abandon(lmb_device *d) { of(d)->abandoned = true; }

static lmb_status gpu_finish(lmb_device *d, lmb_error *err)
{
    if (of(d)->abandoned)
        return given_up(d, err);
    LMB_TRY(here(d, err));
    return of(d)->cuda->api->stream_sync(of(d)->stream, err);
}

static lmb_status open_on(lmb_gpu *g, int index, lmb_error *err)
{
    int n = 0;

    LMB_TRY(lmb_cuda_open(NULL, &g->cuda, err));
    LMB_TRY(g->cuda->api->device_count(&n, err));
    g->index = index % n;
    LMB_TRY(g->cuda->api->device_select(g->index, err));
    LMB_TRY(g->cuda->api->device_info(g->index, &g->about, err));
    LMB_TRY(g->cuda->api->stream_create(&g->stream, err));
    LMB_TRY(g->cuda->api->stream_create(&g->aside, err));
    return g->cuda->api->queue_create(g->stream, &g->queue, err);
}

/* bf16 has 8 bits of mantissa, TF32 has 11 with the hidden one. */
void lmb_cuda_backends(const lmb_cuda *cuda, lmb_backend out[LMB_CUDA_PRECISIONS])
{
    static const char *const names[] = { "cuda", "cuda-tf32", "cuda-bf16" };
    static const char *const summaries[] = { "kernels on an NVIDIA GPU", "kernels on an NVIDIA GPU, products in TF32",
                                             "kernels on an NVIDIA GPU, feature maps in bf16" };
    static const double rounding[] = { 0, 0x1p-11, LMB_BF16_ERROR };
    const lmb_kernel *const *kernels[] = { cuda->api->kernels, cuda->api->kernels_tf32, cuda->api->kernels_bf16 };

    for (int i = 0; i < LMB_CUDA_PRECISIONS; i++)
        out[i] =
            (lmb_backend){ .name = names[i], .summary = summaries[i], .kernels = kernels[i], .rounding = rounding[i] };
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
    lmb_cuda_backends(g->cuda, g->backend);
    for (int i = 0; i < LMB_CUDA_PRECISIONS; i++)
        g->backend[i].device = &g->device;
    g->device = (lmb_device){
        .name = g->about.name, .queue = g->queue, .alloc = gpu_alloc, .free = gpu_free, .upload = gpu_upload,
        .download = gpu_download, .copy = gpu_copy, .finish = gpu_finish, .convert = gpu_convert,
        .measure = gpu_measure, .measure_within = gpu_measure_within,
        .stream = g->stream, .pin = gpu_pin, .unpin = gpu_unpin, .send = gpu_send, .mark_create = gpu_mark_create,
        .mark_destroy = gpu_mark_destroy, .mark = gpu_mark, .follow = gpu_follow, .reach = gpu_reach,
        .reached = gpu_reached, .abandon = gpu_abandon, .stamp = gpu_stamp, .elapsed = gpu_elapsed,
        .record = gpu_record, .recorded = gpu_recorded, .replay = gpu_replay, .record_destroy = gpu_record_destroy,
        .work = gpu_work,
    };
    *out = g;
    return LMB_OK;
}

void lmb_gpu_close(lmb_gpu *g)
{
    if (!g)
        return;
    lmbi_results_close(g->results); /* its last words are the host's alone */
    if (g->cuda && !g->abandoned)
        g->cuda->api->queue_destroy(g->queue);
    if (g->stream && !g->abandoned)
        g->cuda->api->stream_destroy(g->stream);
    if (g->aside && !g->abandoned)
        g->cuda->api->stream_destroy(g->aside);
    lmb_cuda_close(g->cuda);
    free(g);
}

const lmb_backend *lmb_gpu_backend(const lmb_gpu *g, lmb_cuda_precision precision) { return &g->backend[precision]; }
const lmb_cuda_api *lmb_gpu_api(const lmb_gpu *g) { return g->cuda->api; }
lmb_device *lmb_gpu_device(lmb_gpu *g) { return &g->device; }
