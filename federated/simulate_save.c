/* federated/simulate_save.c - checkpoints of a simulation, see simulate.h: the journal's state blob holds the
 * aggregator's state, what is known of the clients, and the best model. */
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "federated/simulate_parts.h"

typedef struct blob_head {
    double best_score, first_score;
    uint64_t best_round;
    lmb_hash settings;
} blob_head;

/* Of all that decides what a round gives: rounds of two configurations are no run of either. How long it is to be, how
 * often it is evaluated and where it lies may change. */
static lmb_status settings_of(const sim *s, lmb_hash *out, lmb_error *err)
{
    const lmb_server_config *c = s->o->server;
    const lmb_tree *const trees[] = { c->aggregator, c->selection,          c->codec,
                                      c->download,   c->secure_aggregation, c->privacy };
    lmb_str text = LMB_STR_INIT;
    lmb_hasher h;

    lmb_str_addf(&text, "%lld %lld %lld %a %lld %a %a %a %d\n", (long long)c->seed, (long long)c->target,
                 (long long)c->minimum, c->server_lr, (long long)c->max_examples, c->max_abs, c->clip_norm,
                 s->o->c.dropout, s->o->job->refine != NULL);
    lmb_status st = LMB_OK;
    for (size_t i = 0; st == LMB_OK && i < sizeof trees / sizeof *trees; i++) {
        lmb_str_addf(&text, "-- %zu\n", i);
        if (trees[i])
            st = lmb_tree_dump(trees[i], 0, &text);
    }
    lmb_str_addf(&text, "--\n%s", s->o->job->settings ? s->o->job->settings : "");
    if (st == LMB_OK)
        st = lmb_str_check(&text, err);
    lmb_hash_begin(&h);
    lmb_hash_add(&h, text.text, text.n);
    lmb_hash_add(&h, s->o->examples, (size_t)s->o->clients * sizeof *s->o->examples);
    *out = lmb_hash_end(&h);
    lmb_str_free(&text);
    return st;
}

static size_t blob_bytes(const sim *s, size_t *aggregator)
{
    *aggregator = 0;
    if (s->aggregator->save)
        s->aggregator->save(s->sum, aggregator);
    return sizeof(blob_head) + *aggregator + (size_t)s->o->clients * sizeof *s->client + s->n * sizeof *s->best;
}

lmb_status lmbi_sim_save(sim *s, bool now, lmb_error *err)
{
    size_t aggregator, bytes = blob_bytes(s, &aggregator);
    blob_head head = { .best_score = s->best_score, .first_score = s->first_score, .best_round = s->best_round };

    bool all = s->codec.codec->has_memory; /* what clients have left out goes back one round, no more */

    if (s->comm->rank || (!now && !all && lmb_seconds() - s->saved < s->o->c.checkpoint_s))
        return LMB_OK;
    LMB_TRY(settings_of(s, &head.settings, err));
    char *blob = malloc(bytes), *at = blob;
    if (!blob)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a checkpoint of %zu bytes", bytes);
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    if (aggregator)
        memcpy(at, s->aggregator->save(s->sum, &aggregator), aggregator);
    at += aggregator;
    memcpy(at, s->client, (size_t)s->o->clients * sizeof *s->client);
    at += (size_t)s->o->clients * sizeof *s->client;
    memcpy(at, s->best, s->n * sizeof *s->best);
    s->state.round = s->state.model_round = s->report.round;
    s->state.state_bytes = bytes;
    s->state.ledger = s->privacy.ledger;
    lmb_status st = lmb_journal_commit(s->journal, &s->state, s->model, blob, NULL, err);
    free(blob);
    s->saved = lmb_seconds();
    return st;
}

lmb_status lmbi_sim_load(sim *s, lmb_error *err)
{
    size_t aggregator, bytes = blob_bytes(s, &aggregator);
    const char *at;
    blob_head head;
    lmb_hash settings;

    if (s->state.n != s->n || memcmp(&s->state.layout, &s->o->job->layout, sizeof s->state.layout) ||
        s->state.state_bytes != bytes)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "%s holds a simulation of another model, aggregator or number of clients; start over with --fresh, or give "
            "another run",
            s->o->server->state_dir);
    if (s->state.has_ledger != s->privacy.on)
        return LMB_FAIL(err, LMB_E_ARG,
                        "%s holds a simulation %s privacy; configure it as before, or start over with --fresh",
                        s->o->server->state_dir, s->state.has_ledger ? "with" : "without");
    if (s->privacy.on)
        LMB_TRY(lmb_privacy_resume(&s->privacy, &s->state.ledger, err));
    LMB_TRY(settings_of(s, &settings, err));
    char *blob = malloc(bytes);
    lmb_status st = blob ? lmb_journal_model(s->journal, &s->state, s->model, blob, err)
                         : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a checkpoint of %zu bytes", bytes);
    if (st == LMB_OK) {
        memcpy(&head, blob, sizeof head);
        if (memcmp(&head.settings, &settings, sizeof settings) != 0)
            st = LMB_FAIL(err, LMB_E_ARG,
                          "%s holds a simulation with other settings than these (seed, aggregator, codec, local training, "
                          "...); configure it as before, or start over with --fresh",
                          s->o->server->state_dir);
    }
    if (st == LMB_OK) {
        at = blob + sizeof head;
        s->best_score = head.best_score;
        s->first_score = head.first_score;
        s->best_round = head.best_round;
        if (aggregator)
            st = s->aggregator->load(s->sum, at, aggregator, err);
        at += aggregator;
        memcpy(s->client, at, (size_t)s->o->clients * sizeof *s->client);
        at += (size_t)s->o->clients * sizeof *s->client;
        memcpy(s->best, at, s->n * sizeof *s->best);
        s->report.round = s->state.round;
    }
    free(blob);
    return st;
}

lmb_status lmbi_sim_share(sim *s, lmb_error *err)
{
    size_t aggregator = 0;
    void *kept = NULL;
    lmb_comm *c = s->comm;
    lmb_status st;

    if (s->aggregator->save)
        s->aggregator->save(s->sum, &aggregator);
    if (aggregator && !(kept = malloc(aggregator)))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the aggregator's state");
    if (kept && c->rank == 0)
        memcpy(kept, s->aggregator->save(s->sum, &aggregator), aggregator);
    LMB_TRY_GOTO(st, done, c->broadcast(c, &s->report.round, sizeof s->report.round, 0, err));
    LMB_TRY_GOTO(st, done, c->broadcast(c, &s->privacy.ledger, sizeof s->privacy.ledger, 0, err));
    LMB_TRY_GOTO(st, done, c->broadcast(c, s->model, s->n * sizeof *s->model, 0, err));
    LMB_TRY_GOTO(st, done, c->broadcast(c, s->best, s->n * sizeof *s->best, 0, err));
    LMB_TRY_GOTO(st, done, c->broadcast(c, &s->best_score, sizeof s->best_score, 0, err));
    LMB_TRY_GOTO(st, done, c->broadcast(c, &s->best_round, sizeof s->best_round, 0, err));
    LMB_TRY_GOTO(st, done, c->broadcast(c, s->client, (size_t)s->o->clients * sizeof *s->client, 0, err));
    if (kept)
        LMB_TRY_GOTO(st, done, c->broadcast(c, kept, aggregator, 0, err));
    if (kept && c->rank)
        st = s->aggregator->load(s->sum, kept, aggregator, err);
done:
    free(kept);
    return st;
}
