/* federated/server_model.c - the model as clients get it.
 *
 * It may be encoded (`download`), for fewer bytes. The server's own keeps every bit, so that small steps add up over
 * the rounds; a client's change is relative to what it was given, and is added to the server's own.
 */
#include <stdlib.h>
#include <string.h>

#include "federated/server_parts.h"

lmb_status lmbi_model_encode(lmb_server *s, const float *model, lmb_error *err)
{
    free(s->next.encoded);
    s->next.encoded = NULL;
    if (lmb_codec_plain(&s->download))
        return LMB_OK;
    return lmb_codec_encode(&s->download, 0, model, s->job.n, &s->next.encoded, &s->next.encoded_bytes, err);
}

/* Nobody may be on the way to get the model before, as its bytes go. */
lmb_status lmbi_model_publish(lmb_server *s, lmb_error *err)
{
    blob *b = &s->blobs[BLOB_MODEL];

    if (lmb_codec_plain(&s->download)) {
        *b = (blob){ { s->state.model, s->job.n * sizeof *s->model }, (const uint8_t *)s->model };
        return LMB_OK;
    }
    if (!s->next.encoded) /* before the first round there is none of it */
        LMB_TRY(lmbi_model_encode(s, s->model, err));
    free(s->encoded);
    s->encoded = s->next.encoded;
    s->next.encoded = NULL;
    *b = (blob){ { lmb_hash_of(s->encoded, s->next.encoded_bytes), s->next.encoded_bytes }, s->encoded };
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
