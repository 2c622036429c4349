/* federated/rules.c - which aggregator goes with which codec and with privacy: read from the flags of their rows. */
#include "core/base/config.h"
#include "federated/codec.h"
#include "federated/privacy/privacy.h"
#include "federated/server.h"

static lmb_status check_privacy(const lmb_server_config *c, const lmb_aggregator *a, const lmb_codec *codec, lmb_error *err)
{
    if (!a->exact)
        return LMB_FAIL(err, LMB_E_ARG, "privacy adds noise to one sum of all updates, and aggregator %s does not work on that; use fedavg, fedadagrad, "
                        "fedadam or fedyogi", a->name);
    if (codec->has_memory)
        return LMB_FAIL(err, LMB_E_ARG, "codec %s sends in a round what it left out before, so that privacy.clip bounds nothing; use another", codec->name);
    if (c->clip_norm > 0)
        return LMB_FAIL(err, LMB_E_ARG, "clip_norm (%g) and privacy.clip both bound an update's norm; set one of them", c->clip_norm);
    return LMB_OK;
}

lmb_status lmb_server_check(const lmb_server_config *c, lmb_error *err)
{
    const lmb_aggregator *a;
    const char *name = "fedavg";
    lmb_codec_spec codec, download;
    lmb_privacy privacy;

    if (c->minimum > c->target)
        return LMB_FAIL(err, LMB_E_ARG, "minimum (%lld) is greater than target (%lld): no round could ever succeed",
                        (long long)c->minimum, (long long)c->target);
    if (c->aggregator)
        LMB_TRY(lmb_tree_name(c->aggregator, &name, err));
    LMB_TRY(lmb_aggregator_find(name, &a, err));
    LMB_TRY(lmb_codec_open(c->codec, &codec, err));
    LMB_TRY(lmb_codec_open(c->download, &download, err));
    LMB_TRY(lmb_privacy_open(c->privacy, (uint64_t)c->target, &privacy, err));
    if (download.codec->seeded || download.codec->has_memory || download.codec->sparse)
        return LMB_FAIL(err, LMB_E_ARG, "the model itself can not be encoded by %s (download), which is for changes; use f32 or bf16", download.codec->name);
    if (a->needs_plain && codec.codec->sparse)
        return LMB_FAIL(err, LMB_E_ARG, "aggregator %s compares updates value by value, and codec %s leaves most values out; use another of them", a->name,
                        codec.codec->name);
    if (a->term && !codec.codec->alone)
        return LMB_FAIL(err, LMB_E_ARG, "aggregator %s has clients send numbers of another kind beside the model's, which codec %s would mix with them; use "
                        "f32 or bf16", a->name, codec.codec->name);
    return privacy.on ? check_privacy(c, a, codec.codec, err) : LMB_OK;
}

lmb_status lmb_refine_check(const lmb_server_job *job, const lmb_server_config *c, lmb_error *err)
{
    lmb_privacy privacy;

    if (!job->refine)
        return LMB_OK;
    LMB_TRY(lmb_privacy_open(c->privacy, (uint64_t)c->target, &privacy, err));
    return privacy.on ? LMB_FAIL(err, LMB_E_ARG, "federation.distill asks each client's model by itself, which privacy forbids; set one of them") : LMB_OK;
}
