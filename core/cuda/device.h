/* core/cuda/device.h - one NVIDIA GPU as a device for plans (core/plan/device.h), and the kernels it runs.
 *
 *     lmb_gpu *gpu;
 *     LMB_TRY(lmb_gpu_open(0, &gpu, err));
 *     const lmb_backend *list[] = { lmb_gpu_backend(gpu, LMB_CUDA_F32_EXACT), NULL };
 */
#ifndef LMB_CORE_CUDA_DEVICE_H
#define LMB_CORE_CUDA_DEVICE_H

#include "core/cuda/cuda.h"
#include "core/plan/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_gpu lmb_gpu;

/* Open the module and GPU number `index` modulo those there are.
 *   owns     *out: lmb_gpu_close, after the plans on it
 *   errors   E_UNSUPPORTED built without CUDA; E_DEVICE no GPU, or it is not to be had, and what to do */
LMB_MUST_CHECK lmb_status lmb_gpu_open(int index, lmb_gpu **out, lmb_error *err);
void lmb_gpu_close(lmb_gpu *g); /* NULL is a no-op */
const lmb_backend *lmb_gpu_backend(const lmb_gpu *g, lmb_cuda_precision precision); /* lives as long as g */

/* The module's kernels as backends without a device: they run on the host, for checks, and plans show what would be
 * tried. */
void lmb_cuda_backends(const lmb_cuda *cuda, lmb_backend out[LMB_CUDA_PRECISIONS]);

/* What runs on the device beside plans (core/cuda/int8.h, chacha.h) takes these two. */
const lmb_cuda_api *lmb_gpu_api(const lmb_gpu *g);
lmb_device *lmb_gpu_device(lmb_gpu *g);

#ifdef __cplusplus
}
#endif
#endif
