/* federated/simulate_update.c - what a simulated client would send and a server make of it: clipped, encoded and
 * decoded, checked. The same steps as in client_update.c and upload.c, without files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "federated/clip.h"
#include "federated/residual.h"
#include "federated/simulate_parts.h"

/* What a server would refuse, with its sentence. */
static bool acceptable(const sim *s, int client, const lmb_train_result *r)
{
    const lmb_server_config *c = s->o->server;
    const lmb_log *log = s->o->job->log;

    if (!r->examples || r->examples > (uint64_t)c->max_examples) {
        lmb_log_at(log, LMB_LOG_WARN, "federated",
                   "round %" PRIu64 " goes on without client %d: %" PRIu64 " examples; 1 to %" PRId64
                   " are allowed (max_examples)",
                   s->report.round, client, r->examples, c->max_examples);
        return false;
    }
    for (size_t i = 0; i < s->n; i++)
        if (!(fabsf(r->delta[i]) <= (float)c->max_abs)) {
            lmb_log_at(log, LMB_LOG_WARN, "federated",
                       "round %" PRIu64 " goes on without client %d: value %zu of its update is %g; "
                       "values up to %g are allowed (max_abs)",
                       s->report.round, client, i, (double)r->delta[i], c->max_abs);
            return false;
        }
    return true;
}

static lmb_status residual_stem(const sim *s, int client, char stem[LMB_RESIDUAL_PATH], lmb_error *err)
{
    char name[40];
    snprintf(name, sizeof name, "residual-%d", client);
    return lmb_path_join(stem, LMB_RESIDUAL_PATH, s->o->server->state_dir, name, err);
}

lmb_status lmbi_sim_forget(const sim *s, lmb_error *err)
{
    char stem[LMB_RESIDUAL_PATH];

    for (int i = 0; s->codec.codec->has_memory && i < s->o->clients; i++) {
        LMB_TRY(residual_stem(s, i, stem, err));
        lmb_residual_forget(stem);
    }
    return LMB_OK;
}

/* What a client leaves out lies where the next rank that trains it finds it. */
static lmb_status encode(const sim *s, int client, uint64_t seed, float *delta, uint8_t **payload, size_t *size,
                         lmb_error *err)
{
    char stem[LMB_RESIDUAL_PATH];

    if (!s->codec.codec->has_memory)
        return lmb_codec_encode(&s->codec, seed, delta, s->n, payload, size, err);
    LMB_TRY(residual_stem(s, client, stem, err));
    lmb_residual r = { stem, s->report.round, s->n, s->o->job->layout };
    return lmb_residual_encode(&r, &s->codec, seed, delta, payload, size, err);
}

lmb_status lmbi_sim_give(sim *s, lmb_error *err)
{
    uint8_t *payload;
    size_t size;

    memcpy(s->before, s->model, s->n * sizeof *s->before);
    if (s->download.codec->lossless)
        return LMB_OK;
    LMB_TRY(lmb_codec_encode(&s->download, 0, s->model, s->n, &payload, &size, err));
    lmb_status st = lmb_codec_decode_all(&s->download, 0, payload, size, s->before, s->n, err);
    free(payload);
    return st;
}

/* There and back; *bytes of the payload. */
static lmb_status transport(sim *s, int client, float *delta, uint64_t *bytes, lmb_error *err)
{
    uint64_t seed = lmb_codec_seed((uint64_t)s->o->server->seed, s->report.round,
                                   client + 1); /* as if they had enrolled in order */
    uint8_t *payload;
    size_t size = s->n * sizeof *delta;

    *bytes = size;
    if (s->codec.codec->lossless && !s->codec.config.common.zstd)
        return LMB_OK;
    LMB_TRY(encode(s, client, seed, delta, &payload, &size, err));
    *bytes = size;
    lmb_status st = lmb_codec_decode_all(&s->codec, seed, payload, size, delta, s->n, err);
    free(payload);
    return st;
}

lmb_status lmbi_sim_update(sim *s, int client, lmb_train_result *r, outcome *left, bool *usable, lmb_error *err)
{
    double bound = s->privacy.on ? s->privacy.ledger.clip : s->o->server->clip_norm;

    *usable = false;
    if (!acceptable(s, client, r))
        return LMB_OK;
    if (s->privacy.on) {
        left->within = lmbi_clip(r->delta, s->n, bound);
        left->loss = NAN; /* not told */
        r->examples = 1;
    }
    LMB_TRY(transport(s, client, r->delta, &left->payload, err));
    if (bound > 0)
        lmbi_clip(r->delta, s->n, bound);
    *usable = acceptable(s, client, r);
    return LMB_OK;
}

/* Nobody can repeat a real client's noise; a simulation's follows from its key. */
static lmb_hash noise_key(const sim *s, int client)
{
    lmb_hasher h;
    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "limbeck simulated noise");
    lmb_hash_add(&h, s->key.b, sizeof s->key.b);
    lmb_hash_add(&h, &s->report.round, sizeof s->report.round);
    lmb_hash_add(&h, &client, sizeof client);
    return lmb_hash_end(&h);
}

lmb_status lmbi_sim_secure(sim *s, size_t place, lmb_train_result *r, outcome *left, lmb_error *err)
{
    int client = (int)s->client[s->chosen[place]].id;
    const lmb_secagg_coding *c = &s->secure.coding;
    lmb_task_message task = { .round = s->report.round,
                              .seed = lmb_codec_seed((uint64_t)s->o->server->seed, s->report.round, client + 1) };
    uint8_t seed[LMB_SECAGG_SEED];
    lmb_hash key = noise_key(s, client);
    lmb_error own = LMB_ERROR_INIT;
    lmb_status hidden = LMB_OK;
    lmb_ring_vector q;

    left->loss = NAN; /* not told */
    if (s->privacy.on) {
        lmbi_clip(r->delta, s->n, lmb_secagg_private_norm(c));
        r->examples = 1;
    }
    lmb_session_seed(&task, seed);
    LMB_TRY(lmb_ring_init(&q, c->ring_bits, c->length + 1, err));
    lmb_status st = lmb_secagg_encode(c, r->delta, r->examples, seed, &q, &own);
    if (st == LMB_OK) {
        lmb_secagg_add_noise(c, key.b, &q);
        if (s->masks)
            hidden = lmbi_masks_hide(s, place, &q, err);
        else
            lmb_secure_add(c, &q, s->aggregator->exact(s->sum));
        left->payload = lmb_pack_bytes(c->ring_bits, q.n);
        left->examples = r->examples < c->weight_max ? r->examples : c->weight_max;
    }
    lmb_ring_deinit(&q);
    LMB_TRY(hidden);
    if (st != LMB_OK) /* a client that fails, as in a real federation */
        lmb_log_at(s->o->job->log, LMB_LOG_WARN, "federated", "round %" PRIu64 " goes on without client %d: %s",
                   s->report.round, client, own.msg);
    return LMB_OK;
}
