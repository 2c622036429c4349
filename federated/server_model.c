/* federated/server_model.c - the model as clients get it.
 *
 * It may be encoded (`download`), for fewer bytes. The server's own keeps every bit, so that small steps add up over the rounds;
 * a client's change is relative to what it was given, and is added to the server's own.
 */
#include <stdlib.h>
#include <string.h>

#include "federated/server_parts.h"

/* Nobody may be on the way to get the model before, as its bytes go. */
lmb_status lmbi_model_publish(lmb_server *s, lmb_error *err)
{
    blob *b = &s->blobs[BLOB_MODEL];
    uint8_t *encoded;
    size_t bytes;

    if (lmb_codec_plain(&s->download)) {
        *b = (blob){ { s->state.model, s->job.n * sizeof *s->model }, (const uint8_t *)s->model };
        return LMB_OK;
    }
    LMB_TRY(lmb_codec_encode(&s->download, 0, s->model, s->job.n, &encoded, &bytes, err));
    free(s->encoded);
    s->encoded = encoded;
    *b = (blob){ { lmb_hash_of(encoded, bytes), bytes }, encoded };
    return LMB_OK;
}

lmb_status lmbi_model_given(const lmb_server *s, float *out, lmb_error *err)
{
    if (lmb_codec_plain(&s->download)) {
        memcpy(out, s->model, s->job.n * sizeof *out);
        return LMB_OK;
    }
    return lmb_codec_decode_all(&s->download, 0, s->encoded, (size_t)s->blobs[BLOB_MODEL].id.bytes, out, s->job.n, err);
}
