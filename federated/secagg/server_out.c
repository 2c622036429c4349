/* federated/secagg/server_out.c - what clients are told: a function of the server's state, so it may be asked for again
 * when a connection was lost. */
#include <string.h>

#include "federated/secagg/server_parts.h"

static lmb_status put_keys(const lmb_secagg_server *s, uint32_t to, lmb_str *out, lmb_error *err)
{
    lmb_secagg_keys_head head = { s->sid, s->n, s->shape.threshold };
    bool own = false;
    LMB_TRY(lmb_secagg_write(LMB_SECAGG_KEYS, &head, s->graph.degree + 1, out, err));
    for (uint32_t k = 0; k < s->graph.degree; k++) {
        uint32_t j = lmbi_secagg_near(s, to)[k];
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
        n += lmbi_secagg_in_masks(&s->peer[lmbi_secagg_near(s, to)[k]]);
    LMB_TRY(lmb_secagg_write(LMB_SECAGG_BOXES, &head, n, out, err));
    for (uint32_t k = 0; k < s->graph.degree; k++) {
        const lmbi_secagg_peer *q = &s->peer[lmbi_secagg_near(s, to)[k]];
        lmb_secagg_box box = { q->keys.id, { 0 } };
        if (!lmbi_secagg_in_masks(q))
            continue;
        memcpy(box.box,
               q->boxes + (size_t)lmb_secagg_graph_slot(&s->graph, lmbi_secagg_near(s, to)[k], to) * LMB_SECAGG_BOX,
               LMB_SECAGG_BOX);
        LMB_TRY(lmb_secagg_write_entry(LMB_SECAGG_BOXES, &box, out, err));
    }
    return lmb_str_check(out, err);
}

/* Curious mode: its neighbours alone. Malicious mode: all of them, so that every client signs the same list. */
lmb_status lmbi_secagg_put_dropped(const lmb_secagg_server *s, uint32_t to, lmb_str *out, lmb_error *err)
{
    bool all = s->trust.mode == LMB_SECAGG_MALICIOUS;
    uint32_t count = all ? s->n : s->graph.degree, n = 0;
    lmb_secagg_head head = { s->sid };
    for (uint32_t k = 0; k < count; k++) {
        const lmbi_secagg_peer *q = &s->peer[all ? k : lmbi_secagg_near(s, to)[k]];
        n += lmbi_secagg_in_masks(q) && !lmbi_secagg_in_sum(q);
    }
    LMB_TRY(lmb_secagg_write(LMB_SECAGG_DROPPED, &head, n, out, err));
    for (uint32_t k = 0; k < count; k++) {
        const lmbi_secagg_peer *q = &s->peer[all ? k : lmbi_secagg_near(s, to)[k]];
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
        n += s->peer[lmbi_secagg_near(s, to)[k]].did >= LMBI_CONSENTED;
    LMB_TRY(lmb_secagg_write(LMB_SECAGG_CONSENTS, &head, n, out, err));
    for (uint32_t k = 0; k < s->graph.degree; k++) {
        const lmbi_secagg_peer *q = &s->peer[lmbi_secagg_near(s, to)[k]];
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
    int64_t i = lmbi_secagg_find(s, to);
    if (i < 0 || !lmbi_secagg_owes(s, &s->peer[i]) || s->stage == LMB_SECAGG_STAGE_ADVERTISE)
        return LMB_FAIL(err, LMB_E_ARG, "there is no message for client %u at this stage", to);
    switch (s->stage) {
    case LMB_SECAGG_STAGE_SHARE: return put_keys(s, (uint32_t)i, out, err);
    case LMB_SECAGG_STAGE_MASK: return put_boxes(s, (uint32_t)i, out, err);
    case LMB_SECAGG_STAGE_CONSENT: return lmbi_secagg_put_dropped(s, (uint32_t)i, out, err);
    default:
        return s->trust.mode == LMB_SECAGG_MALICIOUS ? put_consents(s, (uint32_t)i, out, err)
                                                     : lmbi_secagg_put_dropped(s, (uint32_t)i, out, err);
    }
}
