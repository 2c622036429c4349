/* federated/secagg/server.c - see server.h. The sum itself is in unmask.c. */
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
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: a cohort of %u clients; it has from 2 to the session's %u", u->n,
                        u->session->coding.clients);
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

static void free_peer(lmbi_secagg_peer *p, uint32_t degree)
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
        free_peer(&s->peer[i], s->graph.degree);
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

static int64_t find(const lmb_secagg_server *s, uint32_t id)
{
    lmbi_secagg_peer want = { .keys = { .id = id } };
    const lmbi_secagg_peer *hit = bsearch(&want, s->peer, s->n, sizeof want, by_id);
    return hit ? hit - s->peer : -1;
}

static bool owes(const lmb_secagg_server *s, const lmbi_secagg_peer *p)
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
    int64_t i = find(s, id);
    return i >= 0 && owes(s, &s->peer[i]);
}

uint32_t lmb_secagg_server_owed(const lmb_secagg_server *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        n += owes(s, &s->peer[i]);
    return n;
}

lmb_secagg_stage lmb_secagg_server_stage(const lmb_secagg_server *s) { return s->stage; }
lmb_secagg_shape lmb_secagg_server_shape(const lmb_secagg_server *s) { return s->shape; }

static const uint32_t *neighbours(const lmb_secagg_server *s, uint32_t i)
{
    return s->graph.near + (size_t)i * s->graph.degree;
}

uint32_t lmbi_secagg_stayed(const lmb_secagg_server *s, uint32_t i)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->graph.degree; k++)
        n += lmbi_secagg_in_sum(&s->peer[neighbours(s, i)[k]]);
    return n;
}

/* ---- messages in ---- */

static lmb_status sender(const lmb_secagg_server *s, uint32_t from, uint32_t *index, lmb_error *err)
{
    int64_t i = find(s, from);
    if (i < 0)
        return LMB_FAIL(err, LMB_E_DENIED, "client %u takes no part in this secure sum", from);
    if (!owes(s, &s->peer[i]))
        return LMB_FAIL(err, LMB_E_DENIED, "client %u owes nothing at this stage: it answered already, or too late", from);
    *index = (uint32_t)i;
    return LMB_OK;
}

static lmb_status check_sid(const lmb_secagg_server *s, const lmb_hash *sid, uint32_t from, lmb_error *err)
{
    if (memcmp(sid->b, s->sid.b, sizeof sid->b) != 0)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "client %u speaks of another session: its round, model, roster or settings differ", from);
    return LMB_OK;
}

static lmb_status take_advertise(lmb_secagg_server *s, lmbi_secagg_peer *p, const uint8_t *bytes, size_t n, lmb_error *err)
{
    lmb_secagg_advertise m;
    LMB_TRY(lmb_secagg_read(LMB_SECAGG_ADVERTISE, bytes, n, &m, NULL, err));
    LMB_TRY(check_sid(s, &m.sid, p->keys.id, err));
    if (m.keys.id != p->keys.id)
        return LMB_FAIL(err, LMB_E_DENIED, "client %u advertises keys for client %u", p->keys.id, m.keys.id);
    LMB_TRY(lmbi_secagg_keys_check(&s->sid, &m.keys, s->roster, err));
    for (uint32_t i = 0; i < s->n; i++) { /* neighbours would refuse it, and the round would end for all of them */
        const lmbi_secagg_peer *q = &s->peer[i];
        if (q->did >= LMBI_ADVERTISED && (memcmp(q->keys.box, m.keys.box, LMB_SECAGG_KEY) == 0 ||
                                          memcmp(q->keys.mask, m.keys.mask, LMB_SECAGG_KEY) == 0 ||
                                          memcmp(q->keys.box, m.keys.mask, LMB_SECAGG_KEY) == 0 ||
                                          memcmp(q->keys.mask, m.keys.box, LMB_SECAGG_KEY) == 0))
            return LMB_FAIL(err, LMB_E_DENIED, "client %u advertises a key of client %u", p->keys.id, q->keys.id);
    }
    if (memcmp(m.keys.box, m.keys.mask, LMB_SECAGG_KEY) == 0)
        return LMB_FAIL(err, LMB_E_DENIED, "client %u advertises one key for two uses", p->keys.id);
    LMB_TRY(lmbi_secagg_public_check(m.keys.box, p->keys.id, err));
    LMB_TRY(lmbi_secagg_public_check(m.keys.mask, p->keys.id, err));
    p->keys = m.keys;
    return LMB_OK;
}

static lmb_status take_shares(lmb_secagg_server *s, uint32_t i, const uint8_t *bytes, size_t n, lmb_error *err)
{
    lmbi_secagg_peer *p = &s->peer[i];
    uint32_t degree = s->graph.degree;
    lmb_secagg_shares_head head;
    lmb_secagg_entries e;
    lmb_secagg_box box;

    LMB_TRY(lmb_secagg_read(LMB_SECAGG_SHARES, bytes, n, &head, &e, err));
    LMB_TRY(check_sid(s, &head.sid, p->keys.id, err));
    if (e.n != degree)
        return LMB_FAIL(err, LMB_E_FORMAT, "client %u sends %u boxes, it has %u neighbours", p->keys.id, e.n, degree);
    for (uint32_t k = 0; k < degree; k++) {
        lmb_secagg_entry(&e, k, &box);
        if (box.id != s->peer[neighbours(s, i)[k]].keys.id)
            return LMB_FAIL(err, LMB_E_FORMAT, "client %u seals box %u to client %u, not to its neighbour %u", p->keys.id, k,
                            box.id, s->peer[neighbours(s, i)[k]].keys.id);
    }
    p->boxes = malloc((size_t)degree * LMB_SECAGG_BOX);
    if (!p->boxes)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the %u boxes of client %u", degree, p->keys.id);
    for (uint32_t k = 0; k < degree; k++) {
        lmb_secagg_entry(&e, k, &box);
        memcpy(p->boxes + (size_t)k * LMB_SECAGG_BOX, box.box, LMB_SECAGG_BOX);
    }
    p->commitment = head.commitment;
    return LMB_OK;
}

static lmb_status take_consistent(const lmb_secagg_server *s, lmbi_secagg_peer *p, const uint8_t *bytes, size_t n,
                                  lmb_error *err)
{
    lmb_secagg_consistent m;
    LMB_TRY(lmb_secagg_read(LMB_SECAGG_CONSISTENT, bytes, n, &m, NULL, err));
    LMB_TRY(check_sid(s, &m.sid, p->keys.id, err));
    LMB_TRY(lmbi_secagg_consent_check(&s->sid, &s->dropped, p->keys.id, m.signature, s->roster, err));
    memcpy(p->signature, m.signature, sizeof p->signature);
    return LMB_OK;
}

static lmb_status check_reveal(const lmb_secagg_server *s, uint32_t i, const lmb_secagg_entries *e, lmb_error *err)
{
    uint32_t id = s->peer[i].keys.id, before = 0;
    for (uint32_t k = 0; k < e->n; k++) {
        lmb_secagg_reveal one;
        int64_t whose;
        lmb_secagg_entry(e, k, &one);
        whose = find(s, one.id);
        if (whose < 0 || lmb_secagg_graph_slot(&s->graph, i, (uint32_t)whose) < 0 ||
            !lmbi_secagg_in_masks(&s->peer[whose]))
            return LMB_FAIL(err, LMB_E_FORMAT, "client %u reveals a share of client %u, of which it was sent none", id,
                            one.id);
        if (k > 0 && one.id <= before)
            return LMB_FAIL(err, LMB_E_FORMAT, "client %u reveals a share of client %u after one of client %u", id, one.id,
                            before);
        LMB_TRY(lmb_shamir_share_check(one.share, err));
        before = one.id;
    }
    return LMB_OK;
}

static lmb_status take_reveal(lmb_secagg_server *s, uint32_t i, const uint8_t *bytes, size_t n, lmb_error *err)
{
    lmbi_secagg_peer *p = &s->peer[i];
    lmb_secagg_head head;
    lmb_secagg_entries e;

    LMB_TRY(lmb_secagg_read(LMB_SECAGG_REVEAL, bytes, n, &head, &e, err));
    LMB_TRY(check_sid(s, &head.sid, p->keys.id, err));
    LMB_TRY(check_reveal(s, i, &e, err));
    p->shares = malloc((size_t)s->graph.degree * LMB_SHAMIR_SHARE);
    p->given = calloc(s->graph.degree, 1);
    if (!p->shares || !p->given) {
        free_peer(p, 0);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the shares that client %u reveals", p->keys.id);
    }
    for (uint32_t k = 0; k < e.n; k++) {
        lmb_secagg_reveal one;
        size_t slot;
        lmb_secagg_entry(&e, k, &one);
        slot = (size_t)lmb_secagg_graph_slot(&s->graph, i, (uint32_t)find(s, one.id));
        memcpy(p->shares + slot * LMB_SHAMIR_SHARE, one.share, LMB_SHAMIR_SHARE);
        p->given[slot] = 1;
    }
    return LMB_OK;
}

lmb_status lmb_secagg_server_take(lmb_secagg_server *s, uint32_t from, const uint8_t *bytes, size_t n, lmb_error *err)
{
    uint32_t i;
    LMB_TRY(sender(s, from, &i, err));
    switch (s->stage) {
    case LMB_SECAGG_STAGE_ADVERTISE: LMB_TRY(take_advertise(s, &s->peer[i], bytes, n, err)); break;
    case LMB_SECAGG_STAGE_SHARE: LMB_TRY(take_shares(s, i, bytes, n, err)); break;
    case LMB_SECAGG_STAGE_CONSENT: LMB_TRY(take_consistent(s, &s->peer[i], bytes, n, err)); break;
    case LMB_SECAGG_STAGE_REVEAL: LMB_TRY(take_reveal(s, i, bytes, n, err)); break;
    default:
        return LMB_FAIL(err, LMB_E_DENIED, "client %u sends %s while its vector is expected", from,
                        lmb_secagg_type_name(n ? bytes[0] : 0));
    }
    s->peer[i].did = stages[s->stage].after;
    return LMB_OK;
}

/* ---- vectors in ---- */

lmb_status lmb_secagg_server_vector(lmb_secagg_server *s, uint32_t from, const uint8_t *bytes, size_t n, lmb_error *err)
{
    lmb_secagg_masked m;
    uint32_t i;
    if (s->stage != LMB_SECAGG_STAGE_MASK)
        return LMB_FAIL(err, LMB_E_DENIED, "the vector of client %u does not come while vectors are taken; it is discarded",
                        from);
    LMB_TRY(sender(s, from, &i, err));
    if (s->open >= 0)
        return LMB_FAIL(err, LMB_E_ARG, "the vector of client %u is not complete yet", s->peer[s->open].keys.id);
    LMB_TRY(lmb_secagg_read(LMB_SECAGG_MASKED, bytes, n, &m, NULL, err));
    LMB_TRY(check_sid(s, &m.sid, from, err));
    if (m.bytes != lmb_pack_bytes(s->sum.bits, s->sum.n))
        return LMB_FAIL(err, LMB_E_FORMAT, "client %u announces a vector of %llu bytes, %zu numbers of %u bits take %zu", from,
                        (unsigned long long)m.bytes, s->sum.n, s->sum.bits, lmb_pack_bytes(s->sum.bits, s->sum.n));
    s->open = i;
    s->open_at = 0;
    return LMB_OK;
}

lmb_status lmb_secagg_server_block(lmb_secagg_server *s, const uint8_t *packed, size_t numbers, lmb_error *err)
{
    if (s->open < 0)
        return LMB_FAIL(err, LMB_E_ARG, "a block of a vector that has not begun");
    if (numbers > s->sum.n - s->open_at || (numbers % LMB_PACK_GROUP && s->open_at + numbers != s->sum.n))
        return LMB_FAIL(err, LMB_E_ARG, "a block of %zu numbers at %llu of %zu; only the last need not be a multiple of %d",
                        numbers, (unsigned long long)s->open_at, s->sum.n, LMB_PACK_GROUP);
    lmb_unpack_add(&s->sum, s->open_at, numbers, packed);
    s->open_at += numbers;
    return LMB_OK;
}

lmb_status lmb_secagg_server_vector_end(lmb_secagg_server *s, lmb_error *err)
{
    if (s->open < 0 || s->open_at != s->sum.n)
        return LMB_FAIL(err, LMB_E_ARG, "a vector ends after %llu of %zu numbers", (unsigned long long)s->open_at, s->sum.n);
    s->peer[s->open].did = LMBI_MASKED;
    s->open = -1;
    return LMB_OK;
}

/* ---- messages out ---- */

static lmb_status put_keys(const lmb_secagg_server *s, uint32_t to, lmb_str *out, lmb_error *err)
{
    lmb_secagg_keys_head head = { s->sid, s->n, s->shape.threshold };
    bool own = false;
    LMB_TRY(lmb_secagg_write(LMB_SECAGG_KEYS, &head, s->graph.degree + 1, out, err));
    for (uint32_t k = 0; k < s->graph.degree; k++) {
        uint32_t j = neighbours(s, to)[k];
        if (!own && j > to)
            LMB_TRY(lmb_secagg_write_entry(LMB_SECAGG_KEYS, &s->peer[to].keys, out, err));
        own |= j > to;
        LMB_TRY(lmb_secagg_write_entry(LMB_SECAGG_KEYS, &s->peer[j].keys, out, err));
    }
    if (!own)
        LMB_TRY(lmb_secagg_write_entry(LMB_SECAGG_KEYS, &s->peer[to].keys, out, err));
    return lmb_str_check(out, err);
}

static lmb_status put_boxes(const lmb_secagg_server *s, uint32_t to, lmb_str *out, lmb_error *err)
{
    lmb_secagg_head head = { s->sid };
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->graph.degree; k++)
        n += lmbi_secagg_in_masks(&s->peer[neighbours(s, to)[k]]);
    LMB_TRY(lmb_secagg_write(LMB_SECAGG_BOXES, &head, n, out, err));
    for (uint32_t k = 0; k < s->graph.degree; k++) {
        const lmbi_secagg_peer *q = &s->peer[neighbours(s, to)[k]];
        lmb_secagg_box box = { q->keys.id, { 0 } };
        if (!lmbi_secagg_in_masks(q))
            continue;
        memcpy(box.box, q->boxes + (size_t)lmb_secagg_graph_slot(&s->graph, neighbours(s, to)[k], to) * LMB_SECAGG_BOX,
               LMB_SECAGG_BOX);
        LMB_TRY(lmb_secagg_write_entry(LMB_SECAGG_BOXES, &box, out, err));
    }
    return lmb_str_check(out, err);
}

/* Curious mode: its neighbours alone. Malicious mode: all of them, so that every client signs the same list. */
static lmb_status put_dropped(const lmb_secagg_server *s, uint32_t to, lmb_str *out, lmb_error *err)
{
    bool all = s->trust.mode == LMB_SECAGG_MALICIOUS;
    uint32_t count = all ? s->n : s->graph.degree, n = 0;
    lmb_secagg_head head = { s->sid };
    for (uint32_t k = 0; k < count; k++) {
        const lmbi_secagg_peer *q = &s->peer[all ? k : neighbours(s, to)[k]];
        n += lmbi_secagg_in_masks(q) && !lmbi_secagg_in_sum(q);
    }
    LMB_TRY(lmb_secagg_write(LMB_SECAGG_DROPPED, &head, n, out, err));
    for (uint32_t k = 0; k < count; k++) {
        const lmbi_secagg_peer *q = &s->peer[all ? k : neighbours(s, to)[k]];
        lmb_secagg_id one = { q->keys.id };
        if (lmbi_secagg_in_masks(q) && !lmbi_secagg_in_sum(q))
            LMB_TRY(lmb_secagg_write_entry(LMB_SECAGG_DROPPED, &one, out, err));
    }
    return lmb_str_check(out, err);
}

static lmb_status put_consents(const lmb_secagg_server *s, uint32_t to, lmb_str *out, lmb_error *err)
{
    lmb_secagg_head head = { s->sid };
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->graph.degree; k++)
        n += s->peer[neighbours(s, to)[k]].did >= LMBI_CONSENTED;
    LMB_TRY(lmb_secagg_write(LMB_SECAGG_CONSENTS, &head, n, out, err));
    for (uint32_t k = 0; k < s->graph.degree; k++) {
        const lmbi_secagg_peer *q = &s->peer[neighbours(s, to)[k]];
        lmb_secagg_consent one = { q->keys.id, { 0 } };
        if (q->did < LMBI_CONSENTED)
            continue;
        memcpy(one.signature, q->signature, sizeof one.signature);
        LMB_TRY(lmb_secagg_write_entry(LMB_SECAGG_CONSENTS, &one, out, err));
    }
    return lmb_str_check(out, err);
}

lmb_status lmb_secagg_server_message(const lmb_secagg_server *s, uint32_t to, lmb_str *out, lmb_error *err)
{
    int64_t i = find(s, to);
    if (i < 0 || !owes(s, &s->peer[i]) || s->stage == LMB_SECAGG_STAGE_ADVERTISE)
        return LMB_FAIL(err, LMB_E_ARG, "there is no message for client %u at this stage", to);
    switch (s->stage) {
    case LMB_SECAGG_STAGE_SHARE: return put_keys(s, (uint32_t)i, out, err);
    case LMB_SECAGG_STAGE_MASK: return put_boxes(s, (uint32_t)i, out, err);
    case LMB_SECAGG_STAGE_CONSENT: return put_dropped(s, (uint32_t)i, out, err);
    default:
        return s->trust.mode == LMB_SECAGG_MALICIOUS ? put_consents(s, (uint32_t)i, out, err)
                                                     : put_dropped(s, (uint32_t)i, out, err);
    }
}

/* ---- stages ---- */

/* The graph is drawn on those who advertised: who never came does not count as a drop-out. */
static lmb_status close_advertise(lmb_secagg_server *s, lmb_error *err)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->peer[i].did >= LMBI_ADVERTISED)
            s->peer[n++] = s->peer[i];
    s->n = n;
    if (n < s->clients_min || n < 2)
        return LMB_FAIL(err, LMB_E_PEER, "%u clients advertised keys, a secure sum takes %u", n,
                        s->clients_min < 2 ? 2 : s->clients_min);
    if (s->shape.degree == 0) {
        LMB_TRY(lmb_secagg_shape_plan(n, &s->trust, &s->shape, err));
    } else if (s->shape.degree > n - 1) {
        s->shape.degree = n - 1;
    }
    if (s->shape.threshold < 2 || s->shape.threshold > s->shape.degree)
        return LMB_FAIL(err, LMB_E_PEER, "with %u clients each has %u neighbours, the threshold is %u", n, s->shape.degree,
                        s->shape.threshold);
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
                kept += lmbi_secagg_in_masks(&s->peer[neighbours(s, i)[k]]);
            if (kept < s->shape.threshold)
                s->peer[i].excluded = changed = true;
            else
                left++;
        }
    }
    if (left < s->clients_min || left < s->shape.threshold + 1)
        return LMB_FAIL(err, LMB_E_PEER, "%u clients shared their secrets with %u others or more; it takes %u clients", left,
                        s->shape.threshold,
                        s->clients_min > s->shape.threshold + 1 ? s->clients_min : s->shape.threshold + 1);
    return LMB_OK;
}

/* Every client is sent the same list; its hash is what they sign. */
static lmb_status hash_dropped(lmb_secagg_server *s, lmb_error *err)
{
    lmb_str list = LMB_STR_INIT;
    lmb_secagg_head head;
    lmb_secagg_entries e;
    lmb_status st = put_dropped(s, 0, &list, err);
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
            return LMB_FAIL(err, LMB_E_PEER, "%u neighbours of client %u sent a vector, its mask takes %u to recover", stayed,
                            p->keys.id, s->shape.threshold);
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
