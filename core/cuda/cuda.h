/* core/cuda/cuda.h - the seam to NVIDIA GPUs.
 *
 * Idea: everything that needs the CUDA toolkit lives in one shared module, liblimbeck_cuda.so, that exports
 * one table of functions. Programs link none of CUDA; they open the module at run time. So one program runs
 * with and without a GPU, and what is missing is one sentence.
 *
 *     lmb_cuda *cuda;
 *     LMB_TRY(lmb_cuda_open(NULL, &cuda, err));
 *     LMB_TRY(cuda->api->device_count(&n, err));
 *
 * The table speaks C alone: streams and events are opaque, device memory is a void pointer that the host must
 * not follow. Streams, events and memory belong to the device that was selected when they were created, and
 * may be used while that device is selected.
 *
 *   errors   E_DEVICE: what CUDA said and what to do; E_NOMEM: the same of memory that a device does not have. Work on
 *            a stream fails late: a failed kernel shows in the next call that waits for it.
 *   threads  the selected device is a property of the thread; the functions may run side by side.
 */
#ifndef LMB_CORE_CUDA_CUDA_H
#define LMB_CORE_CUDA_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/log.h"
#include "core/cuda/steps.h"
#include "core/plan/backend.h"
#include "core/plan/device_step.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Changes with any change to lmb_cuda_api, to the structs it speaks of, or to lmb_error. */
enum { LMB_CUDA_API = 6, LMB_CUDA_UUID = 16 };

#define LMB_CUDA_MODULE_FILE "liblimbeck_cuda.so"
#define LMB_CUDA_MODULE_TABLE "lmb_cuda_module" /* the exported symbol: one const lmb_cuda_api */

typedef struct lmb_cuda_stream lmb_cuda_stream;
typedef struct lmb_cuda_event lmb_cuda_event;
typedef struct lmb_cuda_graph lmb_cuda_graph; /* recorded work */
typedef struct lmb_cuda_queue lmb_cuda_queue; /* a stream with the handles of cuDNN and cuBLASLt that work on it */

/* How numbers are kept and multiplied: f32 as it is; f32, multiplied with 10 bits of mantissa (TF32) where a GPU is
 * faster so; feature maps and what is multiplied in bf16. Sums are f32 or longer in all three. */
typedef enum { LMB_CUDA_F32_EXACT, LMB_CUDA_TF32_PRODUCTS, LMB_CUDA_BF16_MAPS, LMB_CUDA_PRECISIONS } lmb_cuda_precision;

/* Ways that were found to be the best before (core/cuda/contest.h), kept by the caller as lines of text. */
typedef struct lmb_cuda_known {
    void *ctx;
    const char *(*find)(void *ctx, const char *shape);            /* NULL: not known; good until the next call */
    void (*found)(void *ctx, const char *shape, const char *way); /* keep it */
} lmb_cuda_known;

typedef struct lmb_cuda_versions { /* as each library counts: CUDA 1000 a major and 10 a minor version, */
    int driver;                    /* cuDNN 10000 and 100, NCCL 10000 and 100. driver: 0 without a driver */
    int runtime, cudnn, nccl;
} lmb_cuda_versions;

typedef struct lmb_cuda_device {
    char name[256];
    uint64_t memory;  /* bytes, in use or not */
    int major, minor; /* compute capability   */
    int processors;   /* streaming multiprocessors */
    unsigned char uuid[LMB_CUDA_UUID]; /* the same wherever a process counts it, and no other GPU's */
} lmb_cuda_device;

/* What a device is like now, for people. */
typedef struct lmb_cuda_state {
    uint64_t free;   /* bytes */
    char where[20];  /* its PCI address, "0000:3b:00.0" */
    int code, ptx;   /* of our code that it runs, as capability 10 major + minor: machine code, and what that was made
                      * from; code above ptx: by the driver, when it was loaded */
} lmb_cuda_state;

/* What the module exports. The head is the same in all versions. */
typedef struct lmb_cuda_api {
    uint32_t version; /* LMB_CUDA_API of the module */
    uint32_t size;    /* sizeof(lmb_cuda_api) there */

    lmb_status (*versions)(lmb_cuda_versions *v, lmb_error *err); /* needs no device */

    lmb_status (*device_count)(int *n, lmb_error *err); /* at least 1; E_DEVICE "no CUDA device: ..." */
    lmb_status (*device_info)(int device, lmb_cuda_device *d, lmb_error *err);
    lmb_status (*device_select)(int device, lmb_error *err); /* for the calling thread */
    lmb_status (*device_state)(lmb_cuda_state *s, lmb_error *err); /* of the selected one */
    const char *code; /* what the module was compiled for: "sm_80 sm_90 compute_90"; compute_N: PTX */

    lmb_status (*stream_create)(lmb_cuda_stream **s, lmb_error *err);
    lmb_status (*stream_sync)(lmb_cuda_stream *s, lmb_error *err); /* until all work so far is done */
    void (*stream_destroy)(lmb_cuda_stream *s);                    /* NULL is fine; queued work still runs */

    lmb_status (*event_create)(lmb_cuda_event **e, lmb_error *err);
    lmb_status (*event_record)(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err);
    /* Work put on s from now on waits for e. */
    lmb_status (*event_wait)(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err);
    /* Milliseconds between two recorded events; waits for `to`. */
    lmb_status (*event_elapsed)(lmb_cuda_event *from, lmb_cuda_event *to, double *ms, lmb_error *err);
    void (*event_destroy)(lmb_cuda_event *e); /* NULL is fine */

    /* Device memory, aligned to 256 bytes, not cleared. alloc of 0 bytes gives NULL; free of NULL is fine and
     * waits for work that may still use the memory. */
    lmb_status (*alloc)(size_t bytes, void **device, lmb_error *err);
    void (*free)(void *device);

    /* Copies in stream order; `copy` is from device to device. The host's bytes must stay as they are until the
     * stream was synchronised. */
    lmb_status (*upload)(void *device, const void *host, size_t bytes, lmb_cuda_stream *s, lmb_error *err);
    lmb_status (*download)(void *host, const void *device, size_t bytes, lmb_cuda_stream *s, lmb_error *err);
    lmb_status (*copy)(void *to, const void *from, size_t bytes, lmb_cuda_stream *s, lmb_error *err);

    lmb_status (*queue_create)(lmb_cuda_stream *s, lmb_cuda_queue **q, lmb_error *err); /* s must outlive it */
    void (*queue_destroy)(lmb_cuda_queue *q);                                           /* NULL is fine */

    /* Whether convolutions and products that run for the first time find out by their times which of cuDNN's engines,
     * of cuBLASLt's algorithms, or our kernel, is best for the shape (core/cuda/contest.h); log hears of it, one line a
     * shape, and outlives q. Off at first: the first one that the libraries' heuristics name, which is the same in
     * every run. */
    void (*queue_measure)(lmb_cuda_queue *q, bool on, const lmb_log *log);

    /* While it measures: what `known` has (copied; NULL: nothing) is taken unmeasured, and all measuring of q together
     * ends after `seconds` (below 0, and at first: never), which log is told once; then the first way is taken. */
    void (*queue_measure_within)(lmb_cuda_queue *q, double seconds, const lmb_cuda_known *known);

    /* Describe a convolution, or a gradient of one, to cuDNN, alone and with what follows it; needs no device. *links:
     * as how many graphs. E_UNSUPPORTED: it does not take one of them, and why. */
    lmb_status (*describe_conv)(const lmb_call *c, lmb_cuda_precision precision, int *links, lmb_error *err);

    /* The same numbers, f32 or bf16, in another layout or type, in device memory; q NULL: on the host. E_UNSUPPORTED:
     * others. */
    lmb_status (*convert)(const lmb_tensor *from, lmb_layout before, const lmb_tensor *to, lmb_layout after,
                          lmb_cuda_queue *q, lmb_error *err);

    /* Kernels for the ops of graphs (core/plan/backend.h), NULL-terminated. With a queue in lmb_run they run there, on
     * operands in device memory; without, on the host, for checks: our own by the same sources, slowly. */
    const lmb_kernel *const *kernels, *const *kernels_tf32, *const *kernels_bf16;

    /* As event_record, for event_elapsed alone: also in what is being recorded, where each launch records it anew. */
    lmb_status (*event_stamp)(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err);
    lmb_status (*event_sync)(lmb_cuda_event *e, lmb_error *err); /* the host waits */
    lmb_status (*event_query)(lmb_cuda_event *e, bool *done, lmb_error *err); /* it only looks */
    /* Memory of the host that copies reach without a detour; free of NULL is fine. */
    lmb_status (*host_alloc)(size_t bytes, void **memory, lmb_error *err);
    void (*host_free)(void *memory);
    /* In between, what the calling thread puts on the stream, and on those that wait for events of it, is recorded, not
     * done. What can not be recorded (waiting, allocating) fails there and then, and so does the end. */
    lmb_status (*capture_begin)(lmb_cuda_stream *s, lmb_error *err);
    lmb_status (*capture_end)(lmb_cuda_stream *s, lmb_cuda_graph **out, lmb_error *err);
    lmb_status (*graph_launch)(lmb_cuda_graph *g, lmb_cuda_stream *s, lmb_error *err);
    void (*graph_destroy)(lmb_cuda_graph *g); /* NULL is fine; not while it runs */
    /* A piece of a resident step (core/plan/device_step.h). queue: as lmb_run.queue, NULL: the host. */
    lmb_status (*step_work)(void *queue, const lmb_step_work *w, lmb_error *err);

    /* Kernels, on f32 [n] in device memory, with the bits of the CPU's kernels. */
    lmb_status (*relu)(const float *x, float *y, size_t n, lmb_cuda_stream *s, lmb_error *err); /* y may be x */
    /* The step of train/optimizers/sgd.c without its L1 penalty. weight_decay: already times lmb_opt_range.decay. */
    lmb_status (*sgd_momentum)(float *w, const float *g, float *v, size_t n, float lr, float momentum,
                               float weight_decay, bool nesterov, lmb_cuda_stream *s, lmb_error *err);

    /* One step of an integer network over n examples (core/cuda/int8.h), and keystreams on a vector
     * (core/cuda/chacha.h). Operands in device memory; q NULL: in the host's, and there it runs. */
    lmb_status (*int8_step)(const lmb_int8_step *s, int64_t n, lmb_cuda_queue *q, lmb_error *err);
    lmb_status (*chacha_add)(const lmb_chacha_job *j, lmb_cuda_queue *q, lmb_error *err);

    /* Bytes of the selected device's memory that nobody has, of this process or another. */
    lmb_status (*memory_free)(uint64_t *bytes, lmb_error *err);
} lmb_cuda_api;

typedef struct lmb_cuda {
    const lmb_cuda_api *api; /* all functions set */
    const char *path;        /* the module's file, for people */
} lmb_cuda;

/* Open the module: the file in folder `dir`; or, when dir is NULL, the file that LMB_CUDA_MODULE in the
 * environment names; or, when that is not set, the file beside the program.
 *   owns     *out: lmb_cuda_close. The module itself stays loaded until the process ends.
 *   errors   E_UNSUPPORTED no such file, or one of another interface version; E_FORMAT not a module of ours;
 *            E_DEVICE the module cannot be loaded (a CUDA library is missing) */
LMB_MUST_CHECK lmb_status lmb_cuda_open(const char *dir, lmb_cuda **out, lmb_error *err);
void lmb_cuda_close(lmb_cuda *cuda); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
