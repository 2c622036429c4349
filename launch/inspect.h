/* launch/inspect.h - what `limbeck inspect` knows to look into: one row a kind of file, told apart by its first
 * bytes. */
#ifndef LMB_LAUNCH_INSPECT_H
#define LMB_LAUNCH_INSPECT_H

#include "core/cuda/device.h"
#include "core/graph/graph.h"
#include "launch/cmd.h"
#include "launch/job.h"

typedef struct lmb_inspector {
    const char *name;
    bool (*is)(const char *path, const unsigned char *head, size_t n); /* n: up to 16 bytes of the file's beginning */
    lmb_status (*print)(const char *path, const lmb_args *a, lmb_error *err);
} lmb_inspector;

extern const lmb_inspector lmbi_inspect_lmb, lmbi_inspect_store, lmbi_inspect_onnx;

/* A graph's layers, parameters, MACs, memory; with --plan and --time its steps. precision: of train/trainer.h, for a
 * GPU. */
LMB_MUST_CHECK lmb_status lmbi_inspect_graph(const lmb_graph *g, const char *backend, int64_t precision,
                                             const lmb_args *a, lmb_error *err);

/* inspect_images.c: a sheet of training images as they will be changed, a PNG. Data is open. */
LMB_MUST_CHECK lmb_status lmbi_inspect_augmented(const lmb_job *j, const char *path, lmb_error *err);

/* inspect_gpu.c: not in builds for clients. Without a GPU a sentence is printed, and plans run on the host. */
typedef struct lmbi_gpu_kernels {
    lmb_gpu *gpu;   /* or NULL */
    lmb_cuda *cuda; /* then, or NULL */
    lmb_backend described[LMB_CUDA_PRECISIONS];
    const lmb_backend *list[2];
} lmbi_gpu_kernels;
LMB_MUST_CHECK lmb_status lmbi_gpu_kernels_open(lmbi_gpu_kernels *k, lmb_cuda_precision precision, lmb_error *err);
void lmbi_gpu_kernels_close(lmbi_gpu_kernels *k); /* also after a failure */

#endif
