/* federated/secagg/unmask.c - from the shares that were revealed to the masks that come off the sum.
 *
 * Idea: of every client in the sum its own mask comes off; of every client that left after sharing, the masks it has
 * with those who stayed. So for each one secret is recovered from its neighbours' shares and compared with what the
 * client announced. Clients are independent tasks; each writes its masks to places of its own, and then all masks
 * come off the vector block by block.
 */
#include "federated/secagg/server_parts.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "comm/vault.h"

/* Weights of the last set of holders: with a complete graph most clients have the same one. */
typedef struct scratch {
    uint32_t cached; /* holders in `at`, 0: none */
    uint64_t *at, *x, *weights;
    const uint8_t **share;
} scratch;

typedef struct job {
    lmb_secagg_server *s;
    size_t *first; /* [n] place of each client's masks */
    lmb_mask *masks;
    scratch *of; /* [workers] */
    lmb_status *st; /* [n] */
} job;

/* ---- one client's secret ---- */

/* The neighbours that revealed a share of client i: places and shares, at most degree of them. */
static uint32_t collect(const lmb_secagg_server *s, uint32_t i, scratch *w)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->graph.degree; k++) {
        uint32_t j = lmbi_secagg_near(s, i)[k];
        const lmbi_secagg_peer *q = &s->peer[j];
        size_t slot;
        if (q->did < LMBI_REVEALED)
            continue;
        slot = (size_t)lmb_secagg_graph_slot(&s->graph, j, i);
        if (!q->given[slot])
            continue;
        w->x[n] = (uint64_t)q->keys.id + 1;
        w->share[n++] = q->shares + slot * LMB_SHAMIR_SHARE;
    }
    return n;
}

/* Is it what the client announced? */
static bool fits(const lmb_secagg_server *s, const lmbi_secagg_peer *p, const uint8_t secret[LMB_SHAMIR_SECRET])
{
    uint8_t public_key[LMB_SECAGG_KEY];
    lmb_hash c;
    if (lmbi_secagg_in_sum(p)) {
        c = lmbi_secagg_commit(secret, &s->sid, p->keys.id);
        return sodium_memcmp(c.b, p->commitment.b, sizeof c.b) == 0;
    }
    crypto_scalarmult_base(public_key, secret);
    return sodium_memcmp(public_key, p->keys.mask, sizeof public_key) == 0;
}

static bool join(const lmb_secagg_server *s, const lmbi_secagg_peer *p, scratch *w, uint8_t secret[LMB_SHAMIR_SECRET])
{
    uint32_t t = s->shape.threshold;
    if (w->cached != t || memcmp(w->at, w->x, t * sizeof *w->x) != 0) {
        w->cached = 0;
        if (lmb_shamir_weights(w->x, t, w->weights, NULL) != LMB_OK)
            return false;
        memcpy(w->at, w->x, t * sizeof *w->x);
        w->cached = t;
    }
    return lmb_shamir_join(w->weights, w->share, t, secret, NULL) == LMB_OK && fits(s, p, secret);
}

static void swap(scratch *w, uint32_t a, uint32_t b)
{
    uint64_t x = w->x[a];
    const uint8_t *share = w->share[a];
    w->x[a] = w->x[b];
    w->share[a] = w->share[b];
    w->x[b] = x;
    w->share[b] = share;
}

/* The first t holders; when one of them gave a wrong share, the next takes the place of each in turn. */
static lmb_status recover(const lmb_secagg_server *s, uint32_t i, scratch *w, uint8_t secret[LMB_SHAMIR_SECRET],
                          lmb_error *err)
{
    const lmbi_secagg_peer *p = &s->peer[i];
    uint32_t t = s->shape.threshold, n = collect(s, i, w);
    if (n < t)
        return LMB_FAIL(err, LMB_E_PEER, "%u neighbours revealed a share of client %u, its mask takes %u to recover", n,
                        p->keys.id, t);
    if (join(s, p, w, secret))
        return LMB_OK;
    for (uint32_t k = 0; n > t && k < t; k++) {
        bool found;
        swap(w, k, t);
        found = join(s, p, w, secret);
        swap(w, k, t);
        if (found)
            return LMB_OK;
    }
    return LMB_FAIL(
        err, LMB_E_PEER,
        "the %u shares of client %u do not give back what it announced: it, or more than one neighbour, did not "
        "keep to the protocol",
        n, p->keys.id);
}

/* ---- its masks ---- */

/* Does client i contribute masks that must come off? */
static size_t masks_of(const lmb_secagg_server *s, uint32_t i)
{
    if (!lmbi_secagg_in_masks(&s->peer[i]))
        return 0;
    return lmbi_secagg_in_sum(&s->peer[i]) ? 1 : lmbi_secagg_stayed(s, i);
}

static lmb_status write_masks(const lmb_secagg_server *s, uint32_t i, const uint8_t secret[LMB_SHAMIR_SECRET],
                              lmb_mask *out, lmb_error *err)
{
    const lmbi_secagg_peer *p = &s->peer[i];
    if (lmbi_secagg_in_sum(p)) {
        lmbi_secagg_own_mask(secret, &s->sid, p->keys.id, out);
        out->subtract = true;
        return LMB_OK;
    }
    /* What the neighbour added is the opposite of what client i would have added: that is what comes off by adding. */
    for (uint32_t k = 0; k < s->graph.degree; k++) {
        const lmbi_secagg_peer *q = &s->peer[lmbi_secagg_near(s, i)[k]];
        if (lmbi_secagg_in_sum(q))
            LMB_TRY(lmbi_secagg_pair_mask(secret, q->keys.mask, &s->sid, p->keys.id, q->keys.id, out++, err));
    }
    return LMB_OK;
}

static lmb_status one_client(const job *j, uint32_t i, scratch *w, lmb_error *err)
{
    uint8_t secret[LMB_SHAMIR_SECRET];
    lmb_status st;
    if (masks_of(j->s, i) == 0)
        return LMB_OK;
    st = recover(j->s, i, w, secret, err);
    if (st == LMB_OK)
        st = write_masks(j->s, i, secret, j->masks + j->first[i], err);
    sodium_memzero(secret, sizeof secret);
    return st;
}

static void task(void *ctx, int i, int worker)
{
    const job *j = ctx;
    j->st[i] = one_client(j, (uint32_t)i, &j->of[worker], NULL);
}

/* ---- all of them ---- */

static void free_job(job *j, int workers)
{
    for (int k = 0; j->of && k < workers; k++) {
        free(j->of[k].at);
        free(j->of[k].x);
        free(j->of[k].weights);
        free(j->of[k].share);
    }
    lmb_secret_free(j->masks);
    free(j->of);
    free(j->first);
    free(j->st);
}

static bool alloc_job(job *j, int workers, size_t n_masks)
{
    size_t d = j->s->graph.degree;
    j->masks = lmb_secret_new(n_masks * sizeof *j->masks);
    j->of = calloc((size_t)workers, sizeof *j->of);
    if (!j->masks || !j->of)
        return false;
    for (int k = 0; k < workers; k++) {
        scratch *w = &j->of[k];
        w->at = malloc(d * sizeof *w->at);
        w->x = malloc(d * sizeof *w->x);
        w->weights = malloc(d * sizeof *w->weights);
        w->share = malloc(d * sizeof *w->share);
        if (!w->at || !w->x || !w->weights || !w->share)
            return false;
    }
    return true;
}

lmb_status lmbi_secagg_unmask(lmb_secagg_server *s, lmb_pool *pool, lmb_error *err)
{
    int workers = lmb_pool_size(pool);
    size_t n_masks = 0;
    job j = { .s = s };
    lmb_status st = LMB_OK;

    j.first = malloc(s->n * sizeof *j.first);
    j.st = malloc(s->n * sizeof *j.st);
    for (uint32_t i = 0; j.first && i < s->n; i++) {
        j.first[i] = n_masks;
        n_masks += masks_of(s, i);
    }
    if (!j.first || !j.st || !alloc_job(&j, workers, n_masks)) {
        free_job(&j, workers);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu masks", n_masks);
    }
    lmb_pool_run(pool, (int)s->n, task, &j);
    for (uint32_t i = 0; i < s->n && st == LMB_OK; i++)
        if (j.st[i] != LMB_OK)
            st = one_client(&j, i, &j.of[0], err); /* once more, for its sentence */
    if (st == LMB_OK)
        st = s->masker.apply ? s->masker.apply(s->masker.ctx, &s->sum, j.masks, n_masks, pool, err)
                             : lmb_mask_apply(&s->sum, j.masks, n_masks, pool, err);
    free_job(&j, workers);
    return st;
}
