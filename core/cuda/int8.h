/* core/cuda/int8.h - a .lmb model on a GPU, many examples at once: the bytes that core/edge gives, one after the other.
 *
 * Idea: the file has decided everything already (core/edge/lmb.h): order, multipliers, places in memory. Here its
 * weights are packed for four bytes a time and sent once; places are those of the file times the batch, so what did
 * not overlap for one example does not for many. Each op is one kernel on the device's queue.
 *
 *     LMB_TRY(lmb_int8_create(lmb_gpu_api(gpu), lmb_gpu_device(gpu), &model, 256, &r, err));
 *     LMB_TRY(lmb_int8_run(r, images, n, scores, err));
 *
 *   threads  one at a time, as its device
 */
#ifndef LMB_CORE_CUDA_INT8_H
#define LMB_CORE_CUDA_INT8_H

#include "core/cuda/cuda.h"
#include "core/edge/lmb.h"
#include "core/plan/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_int8 lmb_int8;

/* `m` is open, prepared or not, and not needed afterwards. `batch`: examples at once, fewer where they would take
 * more than 1 GiB. A device without a queue is the host's memory, and its kernels run there: for checks.
 *   owns     api and device are borrowed and must outlive *out
 *   errors   E_UNSUPPORTED a model too large for a GPU's indices; E_DEVICE */
LMB_MUST_CHECK lmb_status lmb_int8_create(const lmb_cuda_api *api, lmb_device *device, const lmb_edge_model *m,
                                          int64_t batch, lmb_int8 **out, lmb_error *err);
void lmb_int8_destroy(lmb_int8 *r); /* NULL is a no-op */

int64_t lmb_int8_batch(const lmb_int8 *r); /* examples at once */

/* n examples, laid out one after the other as lmb_edge_run takes and gives one. */
LMB_MUST_CHECK lmb_status lmb_int8_run(lmb_int8 *r, const uint8_t *input, int64_t n, void *output, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
