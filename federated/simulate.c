/* federated/simulate.c - rounds of a simulation. See simulate.h. */
#include "federated/simulate.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "core/base/threads.h"
#include "federated/simulate_parts.h"

const lmb_field lmb_simulate_fields[] = {
    LMB_REAL(lmb_simulate_config, dropout, 0, 0, 0.99, "", "share of the selected clients that never deliver"),
    LMB_INT(lmb_simulate_config, evaluate_every, 1, 1, 1000000, "rounds",
            "between evaluations; the last round always is"),
    LMB_INT(lmb_simulate_config, streams, 0, 0, LMB_LANES_MOST, "clients",
            "that train at a time on a GPU, each with a queue of its own; 0: as many as fit there, up to 8"),
    LMB_BOOL(lmb_simulate_config, masks, false,
             "secure aggregation: clients hide their updates, which come out of the sum again; the same bits, and what "
             "it costs"),
    LMB_REAL(lmb_simulate_config, checkpoint_s, 10, 0, 1e6, "s",
             "between checkpoints, from which the same command goes on"),
    LMB_FIELD_END
};

/* ---- a round's updates ---- */

/* Whether a selected client delivers: a property of the run, not of the rank that would train it. */
static bool drops(const sim *s, int64_t client, uint64_t round)
{
    lmb_rand r = lmb_rand_at((uint64_t)s->o->server->seed, LMB_RAND_SELECT, (uint32_t)round, (uint64_t)client);
    return s->o->c.dropout > 0 && lmb_rand_uniform(&r, 1) < (float)s->o->c.dropout;
}

lmb_status lmbi_sim_take(sim *s, size_t place, lmb_status st, const lmb_error *own, lmb_train_result *result,
                         lmb_error *err)
{
    int client = (int)s->client[s->chosen[place]].id;
    const lmb_server_job *j = s->o->job;

    if (st == LMB_E_NUMERIC) { /* its training diverged: a client that fails, as in a real federation */
        lmb_log_at(j->log, LMB_LOG_WARN, "federated", "round %" PRIu64 " goes on without client %d: %s",
                   s->report.round, client, own->msg);
        return LMB_OK;
    }
    if (st != LMB_OK)
        return LMB_FAIL(err, st, "%s", own->msg);
    bool usable;
    s->left[place].done = 1;
    s->left[place].loss = lmb_figures_find(&result->metrics, "loss");
    lmb_fares_of(&result->metrics, s->left[place].fare);
    if (s->secure.on)
        return lmbi_sim_secure(s, place, result, &s->left[place], err);
    LMB_TRY(lmbi_sim_update(s, client, result, &s->left[place], &usable, err));
    if (!usable)
        return LMB_OK;
    s->left[place].examples = result->examples;
    if (!s->aggregator->needs_all)
        s->aggregator->absorb(s->sum, 0, result->delta, s->n, result->examples, true);
    return s->aggregator->needs_all || j->refine ? lmbi_sim_keep(s, place, result->delta, err) : LMB_OK;
}

/* How the clients that delivered fare; nobody's is known in a private federation. */
static lmb_status spread(sim *s, lmb_error *err)
{
    double *v = malloc((s->report.selected + 1) * sizeof *v);

    if (!v)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for what %" PRIu64 " clients have told", s->report.selected);
    for (int f = 0; f < LMB_FARES && !s->privacy.on; f++) {
        size_t n = 0;
        for (size_t k = 0; k < s->report.selected; k++)
            if (s->left[k].examples && !isnan(s->left[k].fare[f]))
                v[n++] = s->left[k].fare[f];
        s->report.fare[f] = lmb_spread_of(v, n);
    }
    free(v);
    return LMB_OK;
}

/* Clients of the round are dealt to the ranks by their place in it. */
static lmb_status train_round(sim *s, lmb_error *err)
{
    size_t places = lmbi_sim_target(s), n = 0;

    LMB_TRY(lmbi_sim_give(s, err));
    memset(s->left, 0, places * sizeof *s->left);
    s->aggregator->begin(s->sum);
    LMB_TRY(lmbi_masks_begin(s, err));
    for (size_t k = (size_t)s->comm->rank; k < s->report.selected; k += (size_t)s->comm->size)
        if (!drops(s, s->client[s->chosen[k]].id, s->report.round))
            s->mine[n++] = k;
    LMB_TRY(lmbi_lanes_train(s, s->mine, n, err));
    LMB_TRY(lmbi_masks_show(s, err));
    LMB_TRY(s->comm->gather_all(s->comm, s->left, s->all, places * sizeof *s->left, err));
    for (size_t k = 0; k < s->report.selected; k++) {
        outcome *got = &s->left[k], *owner = &s->all[k % (size_t)s->comm->size * places + k];
        lmb_candidate *c = &s->client[s->chosen[k]];
        *got = *owner;
        if (got->done) {
            c->last = s->report.round;
            c->loss = got->loss;
        }
        s->report.updates += got->examples > 0;
        s->report.examples += got->examples;
        s->report.payload += got->examples ? got->payload : 0;
        s->report.plain += got->examples ? s->n * sizeof(float) : 0;
        s->within += got->examples && got->within;
    }
    return spread(s, err);
}

/* ---- sums over ranks ---- */

static void add_integers(void *ctx, float *into, const float *from, size_t at, size_t n)
{
    int64_t a, b;
    (void)ctx, (void)at;
    for (size_t i = 0; i + 1 < n; i += 2) { /* pairs of floats carry an integer each */
        memcpy(&a, into + i, sizeof a);
        memcpy(&b, from + i, sizeof b);
        a = (int64_t)((uint64_t)a + (uint64_t)b);
        memcpy(into + i, &a, sizeof a);
    }
}

static lmb_status merge_sums(sim *s, lmb_error *err)
{
    uint64_t *weight;
    int64_t *sum;
    size_t n;

    for (int k = 0; s->comm->size > 1 && (sum = s->aggregator->sums(s->sum, k, &n, &weight)); k++) {
        LMB_TRY(lmb_comm_reduce_all(s->comm, (void *)sum, s->scratch, 2 * n, add_integers, NULL, err));
        LMB_TRY(lmb_comm_reduce_all(s->comm, (void *)weight, s->scratch, 2, add_integers, NULL, err));
    }
    return LMB_OK;
}

void lmbi_sim_drop(sim *s)
{
    s->collected = false;
    for (size_t k = 0; s->kept && k < lmbi_sim_target(s); k++) {
        free(s->kept[k]);
        s->kept[k] = NULL;
    }
}

/* The model's step, the same on every rank. */
static lmb_status step(sim *s, lmb_error *err)
{
    const lmb_server_job *j = s->o->job;

    if (s->aggregator->needs_all) {
        LMB_TRY(lmbi_sim_all(s, err));
    } else {
        LMB_TRY(merge_sums(s, err));
        s->report.clip = s->privacy.ledger.clip;
        if (s->secure.coding.noise)
            lmb_privacy_account(&s->privacy, s->aggregator->exact(s->sum), s->share);
        else if (s->privacy.on)
            LMB_TRY(lmb_privacy_add_noise(&s->privacy, s->aggregator->exact(s->sum), s->report.round, s->share,
                                          s->report.updates, s->within, err));
        LMB_TRY(s->aggregator->finish(s->sum, s->delta, err));
    }
    LMB_TRY(lmb_change_apply(s->model, s->delta, s->n, j->segments, j->n_segments, s->o->server->server_lr, err));
    return j->refine ? lmbi_sim_refine(s, err) : LMB_OK;
}

/* The privacy budget does not allow another round. */
static bool spent(const sim *s)
{
    return s->privacy.on && !lmb_privacy_allows(&s->privacy, lmb_privacy_share(&s->privacy));
}

/* ---- evaluation ---- */

static lmb_status evaluate(sim *s, lmb_error *err)
{
    lmb_round_report *r = &s->report;
    const lmb_server_job *j = s->o->job;
    /* the last one always */
    bool due = r->round % (uint64_t)s->o->c.evaluate_every == 0 || r->round == r->rounds || spent(s);

    r->score = NAN;
    if (!j->evaluate || !due)
        return LMB_OK;
    if (s->comm->rank == 0)
        LMB_TRY(j->evaluate(j->ctx, r->round, s->model, s->n, &r->score, &r->metrics, err));
    LMB_TRY(s->comm->broadcast(s->comm, &r->score, sizeof r->score, 0, err));
    r->scored = isfinite(r->score);
    r->best = r->scored && (!isfinite(s->best_score) || r->score > s->best_score);
    if (r->best) {
        s->best_score = r->score;
        s->best_round = r->round;
        memcpy(s->best, s->model, s->n * sizeof *s->best);
    }
    return LMB_OK;
}

/* ---- life ---- */

/* Round 0, the model as it is, or where an earlier run stands. */
static lmb_status begin(sim *s, lmb_error *err)
{
    bool found = false;

    s->best_score = s->first_score = NAN;
    if (s->comm->rank == 0) {
        LMB_TRY(lmb_journal_open(s->o->server->state_dir, &s->journal, err));
        LMB_TRY(lmb_journal_load(s->journal, &s->state, &found, err));
        found = found && !s->o->fresh;
        LMB_TRY(found ? lmbi_sim_load(s, err) : lmbi_sim_forget(s, err));
        if (s->o->begin)
            LMB_TRY(s->o->begin(s->o->ctx, found ? s->report.round + 1 : 0, err));
    }
    LMB_TRY(s->comm->broadcast(s->comm, &found, sizeof found, 0, err));
    if (found)
        return lmbi_sim_share(s, err);
    s->state =
        (lmb_journal_state){ .layout = s->o->job->layout, .n = s->n, .first_score = NAN, .has_ledger = s->privacy.on };
    s->report = (lmb_round_report){ .rounds = (uint64_t)s->o->server->rounds, .committed = true };
    LMB_TRY(evaluate(s, err));
    s->first_score = s->report.scored ? s->report.score : NAN;
    if (s->comm->rank == 0 && s->o->job->on_round)
        s->o->job->on_round(s->o->job->ctx, &s->report);
    return lmbi_sim_save(s, true, err);
}

/* Who takes part: s->chosen, s->report.selected, s->share. */
static lmb_status choose(sim *s, lmb_error *err)
{
    size_t places = lmbi_sim_target(s);

    s->share = 1;
    s->within = 0;
    if (!s->privacy.on || s->privacy.c.sampling == LMB_SAMPLING_ALL)
        return lmb_select(s->selector, s->selector_config, s->client, (size_t)s->o->clients, places,
                          (uint64_t)s->o->server->seed, s->report.round, s->chosen, err);
    uint32_t *drawn = malloc(places * sizeof *drawn);
    if (!drawn)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to draw among %d clients", s->o->clients);
    s->report.selected =
        lmb_privacy_draw(&s->privacy, s->report.round, (size_t)s->o->clients, places, drawn, &s->share);
    for (size_t i = 0; i < s->report.selected; i++)
        s->chosen[i] = drawn[i];
    free(drawn);
    return LMB_OK;
}

static lmb_status one_round(sim *s, lmb_error *err)
{
    const lmb_server_config *c = s->o->server;
    size_t places = lmbi_sim_target(s);
    double from = lmb_seconds();

    s->report =
        (lmb_round_report){ .round = s->report.round + 1, .rounds = (uint64_t)c->rounds, .selected = places };
    LMB_TRY(choose(s, err));
    lmb_status st = train_round(s, err);
    s->report.committed = s->report.updates >= (uint64_t)c->minimum && s->report.updates >= s->secure.clients_min;
    if (st == LMB_OK && s->report.committed)
        st = step(s, err);
    lmbi_sim_drop(s);
    LMB_TRY(st);
    if (s->report.committed)
        LMB_TRY(evaluate(s, err));
    s->report.is_private = s->privacy.on;
    s->report.delta = s->privacy.c.delta;
    s->report.epsilon = s->privacy.on ? lmb_privacy_epsilon(&s->privacy) : 0;
    s->report.seconds = lmb_seconds() - from;
    if (s->comm->rank == 0 && s->o->job->on_round)
        s->o->job->on_round(s->o->job->ctx, &s->report);
    return LMB_OK;
}

static lmb_status run(sim *s, lmb_error *err)
{
    uint64_t rounds = (uint64_t)s->o->server->rounds;
    bool stop = false;

    LMB_TRY(lmbi_sim_open(s, err));
    LMB_TRY(begin(s, err));
    while (s->report.round < rounds && !stop && !spent(s)) {
        LMB_TRY(one_round(s, err));
        stop = s->comm->rank == 0 && s->o->stop && s->o->stop(s->o->ctx);
        LMB_TRY(s->comm->broadcast(s->comm, &stop, sizeof stop, 0, err));
        LMB_TRY(lmbi_sim_save(s, stop || s->report.round == rounds || spent(s), err));
    }
    if (s->comm->rank == 0 && s->report.round < rounds && spent(s))
        lmb_log_at(s->o->job->log, LMB_LOG_WARN, "federated",
                   "the privacy budget is spent: epsilon is %.4g after %" PRIu64 " rounds, one more would "
                   "make it %.4g of %g (privacy.epsilon_budget); the simulation ends here",
                   lmb_privacy_epsilon(&s->privacy), s->privacy.ledger.rounds,
                   lmb_privacy_after(&s->privacy, lmb_privacy_share(&s->privacy), 1), s->privacy.c.epsilon_budget);
    return s->report.round < rounds && !spent(s)
               ? LMB_FAIL(err, LMB_E_STOPPED, "stopped after round %" PRIu64 " of %" PRIu64, s->report.round, rounds)
               : LMB_OK;
}

lmb_status lmb_simulate(const lmb_simulation *o, lmb_comm *comm, float *model, uint64_t *round, double *score,
                        double *first_score, lmb_error *err)
{
    sim s = { .o = o, .comm = comm, .n = o->job->n };

    lmb_status st = run(&s, err);
    if (st == LMB_OK) {
        bool scored = isfinite(s.best_score);
        memcpy(model, scored ? s.best : s.model, s.n * sizeof *model);
        *round = scored ? s.best_round : s.report.round;
        *score = s.best_score;
        *first_score = s.first_score;
        if (o->privacy)
            *o->privacy = s.privacy, o->privacy->key = NULL;
    }
    lmbi_sim_close(&s);
    return st;
}
