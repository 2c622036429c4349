/* federated/rules.c - which aggregator goes with which codec and with privacy: read from the flags of their rows; which
 * numbers of clients can not be; and which sums could not be held. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "comm/keys.h"
#include "federated/board_http.h"
#include "federated/change.h"
#include "federated/client.h"
#include "federated/codec.h"
#include "federated/privacy/privacy.h"
#include "federated/secure.h"
#include "federated/select.h"
#include "federated/server_parts.h"

static lmb_status check_privacy(const lmb_server_config *c, const lmb_aggregator *a, const lmb_codec *codec,
                                lmb_error *err)
{
    if (!a->exact)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "privacy adds noise to one sum of all updates, and aggregator %s does not work on that; use fedavg, fedadagrad, "
            "fedadam or fedyogi",
            a->name);
    if (codec->has_memory)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "codec %s sends in a round what it left out before, so that privacy.clip bounds nothing; use another",
            codec->name);
    if (c->clip_norm > 0)
        return LMB_FAIL(err, LMB_E_ARG, "clip_norm (%g) and privacy.clip both bound an update's norm; set one of them",
                        c->clip_norm);
    return LMB_OK;
}

static lmb_status check_numbers(const lmb_server_config *c, lmb_error *err)
{
    if (c->minimum > c->target)
        return LMB_FAIL(err, LMB_E_ARG, "minimum (%lld) is greater than target (%lld): no round could ever succeed",
                        (long long)c->minimum, (long long)c->target);
    if (c->pool && c->pool < c->minimum)
        return LMB_FAIL(err, LMB_E_ARG, "pool (%lld) is less than minimum (%lld): no round could ever succeed",
                        (long long)c->pool, (long long)c->minimum);
    return LMB_OK;
}

static lmb_status check_async(const lmb_server_config *c, const lmb_aggregator *a, bool is_private, lmb_error *err)
{
    if (is_private)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "privacy counts rounds in which a client is once; mode async has none, and a client may be in a version several "
            "times: use mode sync");
    if (a->needs_all)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "aggregator %s compares the updates of one model, and those of mode async are of several; use fedavg, fedadagrad, "
            "fedadam or fedyogi",
            a->name);
    if (a->term)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "aggregator %s has clients send numbers beside the model's that mode async must not make smaller; use fedavg, "
            "fedadagrad, fedadam or fedyogi",
            a->name);
    if (c->over_select > 1)
        return LMB_FAIL(err, LMB_E_ARG,
                        "over_select (%g) belongs to rounds; mode async waits for nobody: set async.concurrency",
                        c->over_select);
    return LMB_OK;
}

/* The admin's key and the status page's address. */
static lmb_status check_people(const lmb_server_config *c, lmb_error *err)
{
    uint8_t key[LMB_SIGN_PUBLIC];
    lmb_board_config page;

    if (c->admin && *c->admin)
        LMB_TRY(lmb_public_parse(c->admin, key, err));
    return c->status ? lmb_board_config_of(c->status, &page, err) : LMB_OK;
}

static lmb_status check_selection(const lmb_server_config *c, bool is_private, lmb_error *err)
{
    const char *name = "uniform";
    const lmb_selector *selector;
    void *settings = NULL;
    lmb_status st = lmb_selector_open(c->selection, &selector, &settings, err);

    free(settings);
    if (st != LMB_OK)
        return st;

    if (c->selection)
        LMB_TRY(lmb_tree_name(c->selection, &name, err));
    if (is_private && strcmp(name, "uniform") != 0)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "selection %.40s goes by what clients tell, and a private federation must not show it; leave `selection` out",
            name);
    if (is_private && c->over_select > 1)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "over_select (%g) has the fastest clients in a round, and epsilon is that of clients drawn by chance; leave it out",
            c->over_select);
    return LMB_OK;
}

/* The server sees one sum of integers and nothing else. How many numbers there are is looked at when the model is
 * known. */
static lmb_status check_secure(const lmb_server_config *c, const lmb_aggregator *a, const lmb_privacy *privacy,
                               lmb_error *err)
{
    const char *selection = "uniform";
    lmb_secure secure;

    if (c->selection)
        LMB_TRY(lmb_tree_name(c->selection, &selection, err));
    if (strcmp(selection, "uniform") != 0 && strcmp(selection, "round_robin") != 0)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "selection %.40s goes by what clients tell, and under secure_aggregation they do not; use uniform or round_robin",
            selection);
    if (!a->linear || !a->exact)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "aggregator %s needs more than the sum of all updates, and that is all secure aggregation gives; use fedavg, "
            "fedadagrad, fedadam or fedyogi",
            a->name);
    if (c->codec)
        return LMB_FAIL(err, LMB_E_ARG,
                        "secure_aggregation has its own encoding (value_bits, ring_bits); leave `codec` out");
    if (c->clip_norm > 0)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "clip_norm (%g) looks at single updates, which secure_aggregation hides; leave it out, or use `privacy`",
            c->clip_norm);
    if (c->mode == LMB_MODE_ASYNC)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "secure_aggregation hides an update among those of the same round, and mode async has none: use mode sync");
    if (c->over_select > 1)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "over_select (%g) goes on without the slowest, and under secure_aggregation each of them costs the sum a neighbour; "
            "leave it out",
            c->over_select);
    LMB_TRY(
        lmb_secure_open(c->secure_aggregation, 1, (uint64_t)c->target, (uint64_t)c->minimum, privacy, &secure, err));
    if (secure.c.mode == LMB_SECURE_MALICIOUS && !(c->admin && *c->admin))
        return LMB_FAIL(
            err, LMB_E_ARG,
            "secure_aggregation.mode malicious takes a roster that somebody else has signed (server.admin): a server that "
            "vouches for its clients' keys itself can invent clients");
    return LMB_OK;
}

lmb_status lmb_server_check(const lmb_server_config *c, lmb_error *err)
{
    const lmb_aggregator *a;
    const char *name = "fedavg";
    lmb_codec_spec codec, download;
    lmb_privacy privacy;

    LMB_TRY(check_numbers(c, err));
    if (c->aggregator)
        LMB_TRY(lmb_tree_name(c->aggregator, &name, err));
    LMB_TRY(lmb_aggregator_find(name, &a, err));
    LMB_TRY(lmb_codec_open(c->codec, &codec, err));
    LMB_TRY(lmb_codec_open(c->download, &download, err));
    LMB_TRY(lmb_privacy_open(c->privacy, (uint64_t)c->target, &privacy, err));
    if (download.codec->seeded || download.codec->has_memory || download.codec->sparse)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the model itself can not be encoded by %s (download), which is for changes; use f32 or bf16",
                        download.codec->name);
    LMB_TRY(check_people(c, err));
    LMB_TRY(check_selection(c, privacy.on, err));
    if (c->mode == LMB_MODE_ASYNC)
        LMB_TRY(check_async(c, a, privacy.on, err));
    if (a->needs_plain && codec.codec->sparse)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "aggregator %s compares updates value by value, and codec %s leaves most values out; use another of them",
            a->name, codec.codec->name);
    if (a->term && !codec.codec->alone)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "aggregator %s has clients send numbers of another kind beside the model's, which codec %s would mix with them; use "
            "f32 or bf16",
            a->name, codec.codec->name);
    if (privacy.on)
        LMB_TRY(check_privacy(c, a, codec.codec, err));
    return c->secure_aggregation ? check_secure(c, a, &privacy, err) : LMB_OK;
}

lmb_status lmb_refine_check(bool refines, const lmb_server_config *c, lmb_error *err)
{
    lmb_privacy privacy;

    if (!refines)
        return LMB_OK;
    if (c->mode == LMB_MODE_ASYNC)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "federation.distill makes clients' models of a round's model and their changes, and those of mode async are of several; "
            "use mode sync");
    if (c->secure_aggregation)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "federation.distill asks each client's model by itself, which secure_aggregation hides; set one of them");
    LMB_TRY(lmb_privacy_open(c->privacy, (uint64_t)c->target, &privacy, err));
    return privacy.on
               ? LMB_FAIL(
                     err, LMB_E_ARG,
                     "federation.distill asks each client's model by itself, which privacy forbids; set one of them")
               : LMB_OK;
}

/* ---- with a model of n numbers ---- */

uint64_t lmbi_need(const lmb_server_config *c)
{
    return (uint64_t)(c->mode == LMB_MODE_ASYNC ? c->async.buffer : c->target);
}

uint64_t lmbi_secure_most(const lmb_server_config *c, const lmb_privacy *p)
{
    return (uint64_t)(p->on && p->c.sampling == LMB_SAMPLING_POISSON ? c->max_clients : c->target);
}

lmb_aggregator_limits lmbi_server_limits(const lmb_server_config *c, size_t n, const lmb_privacy *p)
{
    lmb_aggregator_limits l = { n, lmbi_need(c), c->mode == LMB_MODE_ASYNC ? lmbi_need(c) : (uint64_t)c->minimum,
                                (uint64_t)c->max_examples, c->max_abs };

    if (!p->on)
        return l;
    l.max_examples = 1;
    if (p->c.sampling == LMB_SAMPLING_POISSON)
        l.max_updates = (uint64_t)c->max_clients; /* target is what is expected */
    l.max_abs = lmb_privacy_room(p, l.max_abs, l.max_updates);
    return l;
}

lmb_status lmb_server_check_model(const lmb_server_config *c, size_t n, bool refines, lmb_error *err)
{
    double asked = c->mode == LMB_MODE_ASYNC && c->async.concurrency ? (double)c->async.concurrency
                                                                     : ceil((double)c->target * c->over_select);
    lmb_aggregator_limits limits;
    const lmb_aggregator *a = NULL;
    void *settings = NULL, *sum = NULL;
    lmb_privacy privacy;
    lmb_secure secure;

    LMB_TRY(lmb_server_check(c, err));
    LMB_TRY(lmb_refine_check(refines, c, err));
    if (asked > (double)c->max_clients || c->pool > c->max_clients)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "the %.0f clients that are asked at a time, and pool (%lld), can not be more than max_clients (%lld)",
            asked, (long long)c->pool, (long long)c->max_clients);
    LMB_TRY(lmb_privacy_open(c->privacy, (uint64_t)c->target, &privacy, err));
    LMB_TRY(lmb_secure_open(c->secure_aggregation, n, lmbi_secure_most(c, &privacy), (uint64_t)c->minimum, &privacy,
                            &secure, err));
    limits = lmbi_server_limits(c, n, &privacy);
    lmb_status st = lmb_change_open(c->aggregator, &limits, &a, &settings, &sum, err);
    if (sum)
        a->destroy(sum);
    free(settings);
    return st;
}

lmb_status lmb_server_check_client(const lmb_server_config *c, const lmb_client_config *client, size_t n,
                                   lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;
    lmb_privacy privacy;
    lmb_secure s;

    LMB_TRY(lmb_privacy_open(c->privacy, (uint64_t)c->target, &privacy, err));
    LMB_TRY(lmb_secure_open(c->secure_aggregation, n, lmbi_secure_most(c, &privacy), (uint64_t)c->minimum, &privacy, &s,
                            err));
    if (lmb_client_check_offer(client, s.on ? (lmb_secure_mode)s.c.mode : LMB_SECURE_OFF, &s.coding, &why) == LMB_OK)
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_ARG, "federation.client would refuse what federation.server asks for: %s", why.msg);
}
