/* federated/secagg/server.c - see server.h: life and stages. What clients say is in server_in.c, what they are told in
 * server_out.c, the sum in unmask.c. */
#include "federated/secagg/server_parts.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    lmbi_did before, after; /* who owes, and what it then has done */
    const char *name;
} stages[] = {
    [LMB_SECAGG_STAGE_ADVERTISE] = { LMBI_INVITED, LMBI_ADVERTISED, "advertised keys" },
    [LMB_SECAGG_STAGE_SHARE] = { LMBI_ADVERTISED, LMBI_SHARED, "shared their secrets" },
    [LMB_SECAGG_STAGE_MASK] = { LMBI_SHARED, LMBI_MASKED, "sent a vector" },
    [LMB_SECAGG_STAGE_CONSENT] = { LMBI_MASKED, LMBI_CONSENTED, "signed the list of survivors" },
    [LMB_SECAGG_STAGE_REVEAL] = { LMBI_MASKED, LMBI_REVEALED, "revealed shares" },
};

/* ---- life ---- */

static lmb_status check_setup(const lmb_secagg_server_setup *u, lmb_error *err)
{
    LMB_TRY(lmb_secagg_coding_check(&u->session->coding, err));
    if (u->trust.mode != u->session->mode)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: the trust's mode is not the session's");
    if (u->n < 2 || u->n > u->session->coding.clients)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: a cohort of %u clients; it has from 2 to the session's %u",
                        u->n, u->session->coding.clients);
    for (uint32_t i = 0; i < u->n; i++) {
        if (!lmb_roster_key(u->roster, u->cohort[i]))
            return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: client %u of the cohort is not in the roster",
                            u->cohort[i]);
        if (i > 0 && u->cohort[i] <= u->cohort[i - 1])
            return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: the cohort's numbers must ascend");
    }
    return LMB_OK;
}

lmb_status lmb_secagg_server_create(const lmb_secagg_server_setup *u, lmb_secagg_server **out, lmb_error *err)
{
    lmb_secagg_server *s;
    lmb_status st;

    LMB_TRY(check_setup(u, err));
    s = calloc(1, sizeof *s);
    if (!s || !(s->peer = calloc(u->n, sizeof *s->peer))) {
        free(s);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a secure sum of %u clients", u->n);
    }
    st = lmb_ring_init(&s->sum, u->session->coding.ring_bits, u->session->coding.length + 1, err);
    if (st != LMB_OK) {
        lmb_secagg_server_destroy(s);
        return st;
    }
    s->session = *u->session;
    s->sid = lmb_secagg_sid(u->session, u->roster);
    s->roster = u->roster;
    s->trust = u->trust;
    s->shape = u->shape;
    s->clients_min = u->clients_min ? u->clients_min : 3;
    s->n = u->n;
    s->open = -1;
    for (uint32_t i = 0; i < u->n; i++)
        s->peer[i].keys.id = u->cohort[i];
    if (u->seed)
        memcpy(s->seed, u->seed, sizeof s->seed);
    else
        randombytes_buf(s->seed, sizeof s->seed);
    *out = s;
    return LMB_OK;
}

void lmbi_secagg_free_peer(lmbi_secagg_peer *p, uint32_t degree)
{
    if (p->shares)
        sodium_memzero(p->shares, (size_t)degree * LMB_SHAMIR_SHARE);
    free(p->boxes);
    free(p->shares);
    free(p->given);
    p->boxes = p->shares = p->given = NULL;
}

/* The sum so far is masked, but what was revealed is not: both go. */
static void end_session(lmb_secagg_server *s)
{
    for (uint32_t i = 0; i < s->n && s->peer; i++)
        lmbi_secagg_free_peer(&s->peer[i], s->graph.degree);
    lmb_ring_deinit(&s->sum);
    s->stage = LMB_SECAGG_STAGE_OVER;
}

void lmb_secagg_server_destroy(lmb_secagg_server *s)
{
    if (!s)
        return;
    end_session(s);
    lmb_secagg_graph_deinit(&s->graph);
    free(s->peer);
    sodium_memzero(s, sizeof *s);
    free(s);
}

/* ---- who ---- */

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const lmbi_secagg_peer *)a)->keys.id, y = ((const lmbi_secagg_peer *)b)->keys.id;
    return (x > y) - (x < y);
}

int64_t lmbi_secagg_find(const lmb_secagg_server *s, uint32_t id)
{
    lmbi_secagg_peer want = { .keys = { .id = id } };
    const lmbi_secagg_peer *hit = bsearch(&want, s->peer, s->n, sizeof want, by_id);
    return hit ? hit - s->peer : -1;
}

bool lmbi_secagg_owes(const lmb_secagg_server *s, const lmbi_secagg_peer *p)
{
    lmbi_did before;
    if (s->stage >= LMB_SECAGG_STAGE_UNMASK || p->excluded)
        return false;
    before = stages[s->stage].before;
    if (s->stage == LMB_SECAGG_STAGE_REVEAL && s->trust.mode == LMB_SECAGG_MALICIOUS)
        before = LMBI_CONSENTED;
    return p->did == before;
}

bool lmb_secagg_server_owes(const lmb_secagg_server *s, uint32_t id)
{
    int64_t i = lmbi_secagg_find(s, id);
    return i >= 0 && lmbi_secagg_owes(s, &s->peer[i]);
}

uint32_t lmb_secagg_server_owed(const lmb_secagg_server *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        n += lmbi_secagg_owes(s, &s->peer[i]);
    return n;
}

lmb_secagg_stage lmb_secagg_server_stage(const lmb_secagg_server *s) { return s->stage; }
lmb_secagg_shape lmb_secagg_server_shape(const lmb_secagg_server *s) { return s->shape; }

uint32_t lmbi_secagg_stayed(const lmb_secagg_server *s, uint32_t i)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->graph.degree; k++)
        n += lmbi_secagg_in_sum(&s->peer[lmbi_secagg_near(s, i)[k]]);
    return n;
}

/* ---- stages ---- */

/* The graph is drawn on those who advertised: who never came does not count as a drop-out. */
static lmb_status close_advertise(lmb_secagg_server *s, lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->peer[i].did >= LMBI_ADVERTISED)
            s->peer[n++] = s->peer[i];
    s->n = n;
    if (n < s->clients_min || n < 2)
        return LMB_FAIL(err, LMB_E_PEER, "%u clients advertised keys, a secure sum takes %u", n,
                        s->clients_min < 2 ? 2 : s->clients_min);
    if (s->shape.degree == 0) {
        if (lmb_secagg_shape_plan(n, &s->trust, &s->shape, &why) != LMB_OK)
            return LMB_FAIL(err, LMB_E_PEER, "%s", why.msg);
    } else if (s->shape.degree > n - 1) {
        s->shape.degree = n - 1;
    }
    if (s->shape.threshold < 2 || s->shape.threshold > s->shape.degree)
        return LMB_FAIL(err, LMB_E_PEER, "with %u clients each has %u neighbours, the threshold is %u", n,
                        s->shape.degree, s->shape.threshold);
    return lmb_secagg_graph_init(&s->graph, n, s->shape.degree, s->seed, err);
}

/* A client with too few neighbours left would end its part; taking it out may leave others with too few. */
static lmb_status close_share(lmb_secagg_server *s, lmb_error *err)
{
    uint32_t left = 0;
    for (bool changed = true; changed;) {
        changed = false;
        left = 0;
        for (uint32_t i = 0; i < s->n; i++) {
            uint32_t kept = 0;
            if (!lmbi_secagg_in_masks(&s->peer[i]))
                continue;
            for (uint32_t k = 0; k < s->graph.degree; k++)
                kept += lmbi_secagg_in_masks(&s->peer[lmbi_secagg_near(s, i)[k]]);
            if (kept < s->shape.threshold)
                s->peer[i].excluded = changed = true;
            else
                left++;
        }
    }
    if (left < s->clients_min || left < s->shape.threshold + 1)
        return LMB_FAIL(err, LMB_E_PEER, "%u clients shared their secrets with %u others or more; it takes %u clients",
                        left, s->shape.threshold,
                        s->clients_min > s->shape.threshold + 1 ? s->clients_min : s->shape.threshold + 1);
    return LMB_OK;
}

/* Every client is sent the same list; its hash is what they sign. */
static lmb_status hash_dropped(lmb_secagg_server *s, lmb_error *err)
{
    lmb_str list = LMB_STR_INIT;
    lmb_secagg_head head;
    lmb_secagg_entries e;
    lmb_status st = lmbi_secagg_put_dropped(s, 0, &list, err);
    if (st == LMB_OK)
        st = lmb_secagg_read(LMB_SECAGG_DROPPED, (const uint8_t *)list.text, list.n, &head, &e, err);
    if (st == LMB_OK)
        s->dropped = lmbi_secagg_dropped_hash(&s->sid, &e);
    lmb_str_free(&list);
    return st;
}

/* Everyone whose mask is in the sum must have enough neighbours there to recover it. */
static lmb_status close_mask(lmb_secagg_server *s, lmb_error *err)
{
    uint32_t left = 0;
    if (s->open >= 0)
        return LMB_FAIL(err, LMB_E_PEER, "the vector of client %u broke off after %llu of %zu numbers",
                        s->peer[s->open].keys.id, (unsigned long long)s->open_at, s->sum.n);
    for (uint32_t i = 0; i < s->n; i++) {
        const lmbi_secagg_peer *p = &s->peer[i];
        uint32_t stayed;
        left += lmbi_secagg_in_sum(p);
        if (!lmbi_secagg_in_masks(p))
            continue;
        stayed = lmbi_secagg_stayed(s, i);
        if (stayed < s->shape.threshold && (stayed > 0 || lmbi_secagg_in_sum(p)))
            return LMB_FAIL(err, LMB_E_PEER, "%u neighbours of client %u sent a vector, its mask takes %u to recover",
                            stayed, p->keys.id, s->shape.threshold);
    }
    if (left < s->clients_min)
        return LMB_FAIL(err, LMB_E_PEER, "%u clients sent a vector, a secure sum takes %u", left, s->clients_min);
    for (uint32_t i = 0; i < s->n; i++) { /* they are with their readers */
        free(s->peer[i].boxes);
        s->peer[i].boxes = NULL;
    }
    return s->trust.mode == LMB_SECAGG_MALICIOUS ? hash_dropped(s, err) : LMB_OK;
}

static lmb_status close_stage(lmb_secagg_server *s, lmb_error *err)
{
    uint32_t did = 0;
    switch (s->stage) {
    case LMB_SECAGG_STAGE_ADVERTISE: return close_advertise(s, err);
    case LMB_SECAGG_STAGE_SHARE: return close_share(s, err);
    case LMB_SECAGG_STAGE_MASK: return close_mask(s, err);
    default: break;
    }
    for (uint32_t i = 0; i < s->n; i++)
        did += s->peer[i].did >= stages[s->stage].after;
    if (did < s->shape.threshold)
        return LMB_FAIL(err, LMB_E_PEER, "%u clients %s, it takes %u at least", did, stages[s->stage].name,
                        s->shape.threshold);
    return LMB_OK;
}

lmb_status lmb_secagg_server_advance(lmb_secagg_server *s, lmb_error *err)
{
    lmb_status st;
    if (s->stage >= LMB_SECAGG_STAGE_UNMASK)
        return LMB_FAIL(err, LMB_E_ARG, "this secure sum has no further stage");
    st = close_stage(s, err);
    if (st != LMB_OK) {
        end_session(s);
        return st;
    }
    s->stage++;
    if (s->stage == LMB_SECAGG_STAGE_CONSENT && s->trust.mode == LMB_SECAGG_CURIOUS)
        s->stage++;
    return LMB_OK;
}

lmb_status lmb_secagg_server_finish(lmb_secagg_server *s, lmb_pool *pool, lmb_ring_vector *sum, uint32_t *clients,
                                    lmb_error *err)
{
    uint32_t n = 0;
    lmb_status st;
    if (s->stage != LMB_SECAGG_STAGE_UNMASK)
        return LMB_FAIL(err, LMB_E_ARG, "this secure sum is not at its end");
    st = lmbi_secagg_unmask(s, pool, err);
    if (st == LMB_OK) {
        for (uint32_t i = 0; i < s->n; i++)
            n += lmbi_secagg_in_sum(&s->peer[i]);
        *sum = s->sum;
        *clients = n;
        memset(&s->sum, 0, sizeof s->sum);
    }
    end_session(s);
    return st;
}

void lmb_secagg_server_masker(lmb_secagg_server *s, const lmb_masker *masker)
{
    s->masker = *masker;
}
