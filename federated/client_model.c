/* federated/client_model.c - the model of a round, as it came from the server: announced within limits, decoded. */
#include <inttypes.h>
#include <stdlib.h>

#include "federated/client_parts.h"

lmb_status lmbi_model_check(const lmb_task_message *t, uint64_t limit, lmb_error *err)
{
    lmb_codec_spec spec;
    bool exact;

    if (t->n == 0 || t->n > limit / sizeof(float))
        return LMB_FAIL(err, LMB_E_ARG,
                        "the server announces a model of %" PRIu64 " values; the limit is %" PRIu64
                        " MiB (max_model_mib)",
                        t->n, limit >> 20);
    LMB_TRY(lmb_codec_parse(t->download, &spec, err));
    uint64_t most = lmb_codec_limit(&spec, t->n, &exact);
    if (spec.codec->has_memory || spec.codec->sparse)
        return LMB_FAIL(err, LMB_E_ARG, "the server encodes the model by %s, which leaves values out",
                        spec.codec->name);
    if (t->model.bytes > most || (exact && t->model.bytes != most))
        return LMB_FAIL(err, LMB_E_ARG,
                        "the server announces a model of %" PRIu64 " values in %" PRIu64
                        " bytes; as %s they take %" PRIu64,
                        t->n, t->model.bytes, t->download, most);
    return LMB_OK;
}

lmb_status lmbi_model_open(lmb_client *c, const float **out, lmb_error *err)
{
    const download *d = &c->in[DOWNLOAD_MODEL];
    lmb_codec_spec spec;

    LMB_TRY(lmb_codec_parse(c->work.download, &spec, err));
    *out = (const float *)(const void *)d->data;
    if (lmb_codec_plain(&spec))
        return LMB_OK;
    free(c->model);
    c->model = malloc((size_t)c->work.n * sizeof *c->model);
    *out = c->model;
    if (!c->model)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model of %" PRIu64 " values", c->work.n);
    return lmb_codec_decode_all(&spec, 0, d->data, (size_t)d->id.bytes, c->model, (size_t)c->work.n, err);
}
