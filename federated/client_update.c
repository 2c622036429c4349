/* federated/client_update.c - from a trained change to the bytes that are sent: clipped, with what was left out before
 * (federated/residual.h), encoded.
 */
#include <stdlib.h>

#include "core/base/file.h"
#include "federated/client_parts.h"
#include "federated/clip.h"
#include "federated/residual.h"

/* What this client's work has left out so far; `stem` is caller storage. */
static lmb_status residual_of(const lmb_client *c, uint64_t round, char stem[LMB_RESIDUAL_PATH], lmb_residual *out,
                              lmb_error *err)
{
    lmb_hasher h;

    LMB_TRY(lmb_path_join(stem, LMB_RESIDUAL_PATH, c->path, "residual", err));
    lmb_hash_begin(&h);
    lmb_hash_add(&h, c->invite.server_public, LMB_NOISE_KEY);
    lmb_hash_add(&h, &c->work.layout, sizeof c->work.layout);
    lmb_hash_add_text(&h, c->spec.text);
    *out = (lmb_residual){ stem, round, c->work.n, lmb_hash_end(&h) };
    return LMB_OK;
}

void lmbi_update_unsent(const lmb_client *c, uint64_t round)
{
    char stem[LMB_RESIDUAL_PATH];
    lmb_residual r;

    if (c->spec.codec && c->spec.codec->has_memory && residual_of(c, round, stem, &r, NULL) == LMB_OK)
        lmb_residual_unsent(&r);
}

static lmb_status encode_remembering(lmb_client *c, lmb_error *err)
{
    char stem[LMB_RESIDUAL_PATH];
    lmb_residual r;

    LMB_TRY(residual_of(c, c->work.round, stem, &r, err));
    return lmb_residual_encode(&r, &c->spec, c->work.seed, c->result.delta, &c->payload, &c->payload_bytes, err);
}

/* A private federation learns the clipped change and nothing else. */
static void clip(lmb_client *c)
{
    c->within = lmbi_clip(c->result.delta, (size_t)c->work.n, c->work.clip);
    c->result.examples = 1;
    c->result.metrics.n = 0;
}

lmb_status lmbi_update_make(lmb_client *c, lmb_error *err)
{
    if (c->work.clip > 0)
        clip(c);
    if (c->spec.codec->has_memory)
        LMB_TRY(encode_remembering(c, err));
    else if (c->spec.codec->lossless && !c->spec.config.common.zstd) { /* the change as it lies there */
        c->payload = (uint8_t *)(void *)c->result.delta;
        c->payload_bytes = (size_t)c->work.n * sizeof(float);
        c->result.delta = NULL;
    } else
        LMB_TRY(lmb_codec_encode(&c->spec, c->work.seed, c->result.delta, (size_t)c->work.n, &c->payload,
                                 &c->payload_bytes, err));
    free(c->result.delta);
    c->result.delta = NULL;
    return LMB_OK;
}
