/* federated/secagg/server_in.c - what clients send: a message is checked whole, and then changes the server's state. */
#include <stdlib.h>
#include <string.h>

#include "federated/secagg/server_parts.h"

static lmb_status sender(const lmb_secagg_server *s, uint32_t from, uint32_t *index, lmb_error *err)
{
    int64_t i = lmbi_secagg_find(s, from);
    if (i < 0)
        return LMB_FAIL(err, LMB_E_DENIED, "client %u takes no part in this secure sum", from);
    if (!lmbi_secagg_owes(s, &s->peer[i]))
        return LMB_FAIL(err, LMB_E_DENIED, "client %u owes nothing at this stage: it answered already, or too late",
                        from);
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

static lmb_status take_advertise(const lmb_secagg_server *s, lmbi_secagg_peer *p, const uint8_t *bytes, size_t n,
                                 lmb_error *err)
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
    p->did = LMBI_ADVERTISED;
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
        if (box.id != s->peer[lmbi_secagg_near(s, i)[k]].keys.id)
            return LMB_FAIL(err, LMB_E_FORMAT, "client %u seals box %u to client %u, not to its neighbour %u",
                            p->keys.id, k, box.id, s->peer[lmbi_secagg_near(s, i)[k]].keys.id);
    }
    p->boxes = malloc((size_t)degree * LMB_SECAGG_BOX);
    if (!p->boxes)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the %u boxes of client %u", degree, p->keys.id);
    for (uint32_t k = 0; k < degree; k++) {
        lmb_secagg_entry(&e, k, &box);
        memcpy(p->boxes + (size_t)k * LMB_SECAGG_BOX, box.box, LMB_SECAGG_BOX);
    }
    p->commitment = head.commitment;
    p->did = LMBI_SHARED;
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
    p->did = LMBI_CONSENTED;
    return LMB_OK;
}

static lmb_status check_reveal(const lmb_secagg_server *s, uint32_t i, const lmb_secagg_entries *e, lmb_error *err)
{
    uint32_t id = s->peer[i].keys.id, before = 0;
    for (uint32_t k = 0; k < e->n; k++) {
        lmb_secagg_reveal one;
        int64_t whose;
        lmb_secagg_entry(e, k, &one);
        whose = lmbi_secagg_find(s, one.id);
        if (whose < 0 || lmb_secagg_graph_slot(&s->graph, i, (uint32_t)whose) < 0 ||
            !lmbi_secagg_in_masks(&s->peer[whose]))
            return LMB_FAIL(err, LMB_E_FORMAT, "client %u reveals a share of client %u, of which it was sent none", id,
                            one.id);
        if (k > 0 && one.id <= before)
            return LMB_FAIL(err, LMB_E_FORMAT, "client %u reveals a share of client %u after one of client %u", id,
                            one.id, before);
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
        lmbi_secagg_free_peer(p, 0);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the shares that client %u reveals", p->keys.id);
    }
    for (uint32_t k = 0; k < e.n; k++) {
        lmb_secagg_reveal one;
        size_t slot;
        lmb_secagg_entry(&e, k, &one);
        slot = (size_t)lmb_secagg_graph_slot(&s->graph, i, (uint32_t)lmbi_secagg_find(s, one.id));
        memcpy(p->shares + slot * LMB_SHAMIR_SHARE, one.share, LMB_SHAMIR_SHARE);
        p->given[slot] = 1;
    }
    p->did = LMBI_REVEALED;
    return LMB_OK;
}

lmb_status lmb_secagg_server_take(lmb_secagg_server *s, uint32_t from, const uint8_t *bytes, size_t n, lmb_error *err)
{
    uint32_t i = 0;
    LMB_TRY(sender(s, from, &i, err));
    switch (s->stage) {
    case LMB_SECAGG_STAGE_ADVERTISE: return take_advertise(s, &s->peer[i], bytes, n, err);
    case LMB_SECAGG_STAGE_SHARE: return take_shares(s, i, bytes, n, err);
    case LMB_SECAGG_STAGE_CONSENT: return take_consistent(s, &s->peer[i], bytes, n, err);
    case LMB_SECAGG_STAGE_REVEAL: return take_reveal(s, i, bytes, n, err);
    default:
        return LMB_FAIL(err, LMB_E_DENIED, "client %u sends %s while its vector is expected", from,
                        lmb_secagg_type_name(n ? bytes[0] : 0));
    }
}

/* ---- vectors in ---- */

lmb_status lmb_secagg_server_vector(lmb_secagg_server *s, uint32_t from, const uint8_t *bytes, size_t n, lmb_error *err)
{
    lmb_secagg_masked m;
    uint32_t i = 0;
    if (s->stage != LMB_SECAGG_STAGE_MASK)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the vector of client %u does not come while vectors are taken; it is discarded", from);
    LMB_TRY(sender(s, from, &i, err));
    if (s->open >= 0)
        return LMB_FAIL(err, LMB_E_ARG, "the vector of client %u is not complete yet", s->peer[s->open].keys.id);
    LMB_TRY(lmb_secagg_read(LMB_SECAGG_MASKED, bytes, n, &m, NULL, err));
    LMB_TRY(check_sid(s, &m.sid, from, err));
    if (m.bytes != lmb_pack_bytes(s->sum.bits, s->sum.n))
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "client %u announces a vector of %llu bytes, %zu numbers of %u bits take %zu", from,
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
        return LMB_FAIL(err, LMB_E_ARG,
                        "a block of %zu numbers at %llu of %zu; only the last need not be a multiple of %d", numbers,
                        (unsigned long long)s->open_at, s->sum.n, LMB_PACK_GROUP);
    lmb_unpack_add(&s->sum, s->open_at, numbers, packed);
    s->open_at += numbers;
    return LMB_OK;
}

lmb_status lmb_secagg_server_vector_end(lmb_secagg_server *s, lmb_error *err)
{
    if (s->open < 0 || s->open_at != s->sum.n)
        return LMB_FAIL(err, LMB_E_ARG, "a vector ends after %llu of %zu numbers", (unsigned long long)s->open_at,
                        s->sum.n);
    s->peer[s->open].did = LMBI_MASKED;
    s->open = -1;
    return LMB_OK;
}
