/* core/cpu/cpu.h - the CPU backends.
 *
 *   portable   our own C kernels over NHWC activations; always there
 *   onednn     convolutions and matrix products by oneDNN, then the portable kernels; NULL in builds without it
 *   own        convolutions and matrix products of our own, then the portable kernels; always there
 *   cpu        the best of both: convolutions of our own where they win (Winograd), oneDNN's, the portable kernels
 *
 * Kernels run on the calling thread only: parallelism is several plans side by side (train/trainer.h).
 */
#ifndef LMB_CORE_CPU_CPU_H
#define LMB_CORE_CPU_CPU_H

#include "core/plan/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const lmb_backend lmb_backend_portable, lmb_backend_own;
const lmb_backend *lmb_backend_onednn(void); /* NULL when built without oneDNN */

/* The list for a plan: "cpu" (the best there is; "cuda" as well, for what a training on a GPU leaves to the host),
 * "onednn", "own", "portable", "reference" (no backend: plain kernels). list: caller storage of 3. E_ARG names the
 * choices. */
LMB_MUST_CHECK lmb_status lmb_cpu_backends(const char *name, const lmb_backend *list[3], lmb_error *err);

/* The list for a training step that keeps its feature maps in bf16: products of bf16 numbers summed in f32, all else
 * (weights, statistics, loss, gradients of weights, everything from the global pooling on) in f32. "cpu" or "onednn",
 * which again has no Winograd. list: caller storage of LMB_CPU_BACKENDS. E_UNSUPPORTED names what processor or build
 * lack. */
enum { LMB_CPU_BACKENDS = 6 };
LMB_MUST_CHECK lmb_status lmb_cpu_backends_bf16(const char *name, const lmb_backend *list[LMB_CPU_BACKENDS],
                                                lmb_error *err);

struct lmb_str;
/* Append what kernels' speeds depend on, on one line of printable characters: the processor's name, its instructions,
 * and the versions of this program and of oneDNN. */
void lmb_cpu_machine(struct lmb_str *out);

/* Multiply-adds in registers on the calling thread for about 20 ms: operations a second, a multiply-add counting 2.
 * What a kernel can at most reach on this processor at its present clock with products of f32 numbers, or of bf16 (f32
 * where the processor has no such products). */
double lmb_cpu_peak(lmb_dtype products);
/* Copies inside `bytes` of memory on the calling thread for about 30 ms: bytes read and written a second, which depends
 * on whether they stay in a cache. 0 without memory for it. */
double lmb_cpu_bandwidth(size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
