/* federated/simulate_open.c - what a simulation needs before its first round: rules that its configuration decides,
 * memory, and the end of both. See simulate.h.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "federated/simulate_parts.h"

size_t lmbi_sim_target(const sim *s)
{
    bool poisson = s->privacy.on && s->privacy.c.sampling == LMB_SAMPLING_POISSON;
    return poisson || (int64_t)s->o->clients < s->o->server->target ? (size_t)s->o->clients
                                                                    : (size_t)s->o->server->target;
}

void lmbi_sim_close(sim *s)
{
    lmbi_sim_drop(s);
    lmbi_lanes_close(s);
    lmbi_masks_close(s);
    if (s->aggregator)
        s->aggregator->destroy(s->sum);
    lmb_journal_close(s->journal);
    free(s->aggregator_config);
    free(s->selector_config);
    free(s->model);
    free(s->best);
    free(s->before);
    free(s->delta);
    free(s->scratch);
    free(s->client);
    free(s->chosen);
    free(s->mine);
    free(s->left);
    free(s->all);
    free(s->kept);
}

/* A simulation has nobody to hide: its noise follows from the seed, and is the same on every rank. */
static lmb_status open_privacy(sim *s, lmb_error *err)
{
    const lmb_server_config *c = s->o->server;
    uint64_t seed = (uint64_t)c->seed;

    LMB_TRY(lmb_privacy_open(c->privacy, (uint64_t)c->target, &s->privacy, err));
    s->key = lmb_hash_of(&seed, sizeof seed);
    s->privacy.key = s->key.b;
    s->privacy.repeatable = true;
    if (s->privacy.on && s->privacy.c.sampling != LMB_SAMPLING_ALL && s->privacy.c.population != s->o->clients)
        return LMB_FAIL(err, LMB_E_ARG,
                        "privacy.population is %lld, the simulation has %d clients; epsilon would be that of another "
                        "federation",
                        (long long)s->privacy.c.population, s->o->clients);
    return LMB_OK;
}

/* What the configuration alone decides. */
static lmb_status open_rules(sim *s, bool refines, lmb_error *err)
{
    const lmb_server_config *c = s->o->server;

    LMB_TRY(lmb_server_check(c, err));
    if (c->mode == LMB_MODE_ASYNC)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "no client of a simulation is slower than another, so that mode async has no meaning; use "
                        "`limbeck serve`");
    LMB_TRY(lmb_codec_open(c->codec, &s->codec, err));
    LMB_TRY(lmb_codec_open(c->download, &s->download, err));
    LMB_TRY(open_privacy(s, err));
    LMB_TRY(lmb_refine_check(refines, c, err));
    size_t places = lmbi_sim_target(s);
    lmb_aggregator_limits limits = { s->n, places, (uint64_t)c->minimum, s->privacy.on ? 1 : (uint64_t)c->max_examples,
                                     c->max_abs };
    if (s->privacy.on)
        limits.max_abs = lmb_privacy_room(&s->privacy, limits.max_abs, limits.max_updates);
    if (c->minimum > (int64_t)places)
        return LMB_FAIL(err, LMB_E_ARG,
                        "minimum (%lld) is more than the %zu clients of a round: no round could ever succeed",
                        (long long)c->minimum, places);
    LMB_TRY(lmb_secure_open(c->secure_aggregation, s->n, places, (uint64_t)c->minimum, &s->privacy, &s->secure, err));
    LMB_TRY(lmb_change_open(c->aggregator, &limits, &s->aggregator, &s->aggregator_config, &s->sum, err));
    return lmb_selector_open(c->selection, &s->selector, &s->selector_config, err);
}

lmb_status lmbi_sim_open(sim *s, lmb_error *err)
{
    LMB_TRY(open_rules(s, s->o->job->refine != NULL, err));
    size_t places = lmbi_sim_target(s), ranks = (size_t)s->comm->size;
    if (!s->aggregator->needs_all && !s->aggregator->sums && ranks > 1)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "the sums of aggregator %s can not be added over ranks; simulate on one", s->aggregator->name);
    s->model = malloc(s->n * sizeof *s->model);
    s->before = malloc(s->n * sizeof *s->before);
    s->best = malloc(s->n * sizeof *s->best);
    s->delta = malloc(s->n * sizeof *s->delta);
    s->scratch = malloc(2 * s->n * sizeof *s->scratch + 16);
    s->client = calloc((size_t)s->o->clients, sizeof *s->client);
    s->chosen = calloc(places, sizeof *s->chosen);
    s->mine = calloc(places, sizeof *s->mine);
    s->left = calloc(places, sizeof *s->left);
    s->all = calloc(places * ranks, sizeof *s->all);
    s->kept = calloc(places, sizeof *s->kept);
    if (!s->model || !s->before || !s->best || !s->delta || !s->scratch || !s->client || !s->chosen || !s->mine ||
        !s->left || !s->all || !s->kept)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to simulate %d clients of a model of %zu values", s->o->clients,
                        s->n);
    memcpy(s->model, s->o->job->initial, s->n * sizeof *s->model);
    memcpy(s->best, s->model, s->n * sizeof *s->best);
    for (int i = 0; i < s->o->clients; i++)
        s->client[i] = (lmb_candidate){ .id = i, .examples = s->o->examples[i], .loss = NAN };
    LMB_TRY(lmbi_masks_open(s, err));
    return lmbi_lanes_open(s, (places + ranks - 1) / ranks, err);
}

lmb_status lmb_simulate_check(const lmb_server_config *c, int clients, size_t n, bool refines, lmb_error *err)
{
    lmb_simulation o = { .server = c, .clients = clients };
    sim s = { .o = &o, .n = n };
    lmb_status st = open_rules(&s, refines, err);
    lmbi_sim_close(&s);
    return st;
}
