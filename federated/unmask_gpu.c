/* federated/unmask_gpu.c - see unmask_gpu.h. */
#include "federated/unmask_gpu.h"

#include <stdlib.h>

#include "comm/bytes.h"
#include "comm/vault.h"
#include "core/cuda/chacha.h"
#include "core/cuda/device.h"

struct lmb_unmask_gpu {
    const char *doing;
    const lmb_log *log;
    lmb_gpu *gpu; /* NULL: there is none, or it has failed */
};

lmb_unmask_gpu *lmb_unmask_gpu_open(const char *doing, const lmb_log *log)
{
    lmb_unmask_gpu *u = calloc(1, sizeof *u);
    lmb_error err = LMB_ERROR_INIT;

    if (!u)
        return NULL;
    u->doing = doing;
    u->log = log;
    if (lmb_gpu_open(0, &u->gpu, &err) == LMB_OK)
        lmb_log_at(log, LMB_LOG_INFO, "federated", "%s on %s", doing, lmb_gpu_device(u->gpu)->name);
    else
        lmb_log_at(log, LMB_LOG_WARN, "federated", "%s on the processor: %s", doing, err.msg);
    return u;
}

void lmb_unmask_gpu_close(lmb_unmask_gpu *u)
{
    if (!u)
        return;
    lmb_gpu_close(u->gpu);
    free(u);
}

static lmb_status on_gpu(lmb_unmask_gpu *u, lmb_ring_vector *v, const lmb_mask *masks, size_t n, lmb_error *err)
{
    uint32_t *words = n <= INT32_MAX ? lmb_secret_new(lmb_chacha_words(n) * sizeof *words) : NULL;

    if (!words)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu masks", n);
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < LMB_CHACHA_KEY_WORDS; i++)
            words[k * LMB_CHACHA_KEY_WORDS + i] = lmb_get_u32(masks[k].key + 4 * i);
        words[n * LMB_CHACHA_KEY_WORDS + k] = masks[k].subtract ? UINT32_MAX : 0;
    }
    lmb_status st =
        lmb_chacha_add(lmb_gpu_api(u->gpu), lmb_gpu_device(u->gpu), v->u32 ? (void *)v->u32 : (void *)v->u64, v->n,
                       v->u32 ? 32 : 64, words, (uint32_t)n, err);
    lmb_secret_free(words);
    return st;
}

lmb_status lmb_unmask_gpu_apply(void *ctx, lmb_ring_vector *v, const lmb_mask *masks, size_t n_masks, lmb_pool *pool,
                                lmb_error *err)
{
    lmb_unmask_gpu *u = ctx;
    lmb_error why = LMB_ERROR_INIT;

    if (!n_masks)
        return LMB_OK;
    if (u->gpu && on_gpu(u, v, masks, n_masks, &why) == LMB_OK)
        return LMB_OK;
    if (u->gpu) { /* a device that failed once is not asked again */
        lmb_log_at(u->log, LMB_LOG_WARN, "federated", "from now on %s on the processor: %s", u->doing, why.msg);
        lmb_gpu_close(u->gpu);
        u->gpu = NULL;
    }
    return lmb_mask_apply(v, masks, n_masks, pool, err);
}
