/* federated/secagg/client.c - see client.h. A client's life, what all messages are checked for, and whose turn it
 * is. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "comm/vault.h"
#include "federated/secagg/client_parts.h"

/* ---- life ---- */

static void drop_peers(lmb_secagg_client *c)
{
    lmb_secret_free(c->peers);
    c->peers = NULL;
    c->n_peers = 0;
}

void lmbi_secagg_client_finish(lmb_secagg_client *c, stage at)
{
    drop_peers(c);
    sodium_memzero(c->sign_secret, sizeof c->sign_secret);
    sodium_memzero(c->seed, sizeof c->seed);
    sodium_memzero(c->box_secret, sizeof c->box_secret);
    sodium_memzero(c->mask_secret, sizeof c->mask_secret);
    sodium_memzero(c->own, sizeof c->own);
    c->at = at;
}

static lmb_status check_setup(const lmb_secagg_client_setup *s, lmb_error *err)
{
    const uint8_t *listed = lmb_roster_key(s->roster, s->id);
    LMB_TRY(lmb_secagg_coding_check(&s->session->coding, err));
    if (s->trust.mode != s->session->mode)
        return LMB_FAIL(err, LMB_E_ARG,
                        "secure aggregation: the session's mode is not the one this client is set up for");
    if (!listed)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: this client, %u, is not in the roster", s->id);
    if (sodium_memcmp(listed, s->sign_secret + LMB_SIGN_SECRET - LMB_SIGN_PUBLIC, LMB_SIGN_PUBLIC) != 0)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: the roster has another key for client %u", s->id);
    return LMB_OK;
}

lmb_status lmb_secagg_client_create(const lmb_secagg_client_setup *s, lmb_secagg_client **out, lmb_str *reply,
                                    lmb_error *err)
{
    lmb_secagg_client *c;
    lmb_secagg_advertise m;
    lmb_status st;

    LMB_TRY(check_setup(s, err));
    c = lmb_secret_new(sizeof *c);
    if (!c)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a client of secure aggregation");
    c->id = s->id;
    c->clients_min = s->clients_min ? s->clients_min : 3;
    c->neighbours_min = s->neighbours_min;
    c->sid = lmb_secagg_sid(s->session, s->roster);
    c->round = s->session->round;
    c->coding = s->session->coding;
    c->trust = s->trust;
    c->roster = s->roster;
    c->spend = s->spend;
    c->ctx = s->ctx;
    memcpy(c->sign_secret, s->sign_secret, sizeof c->sign_secret);
    if (s->seed)
        memcpy(c->seed, s->seed, sizeof c->seed);
    else
        randombytes_buf(c->seed, sizeof c->seed);
    lmbi_secagg_derive(c->seed, "box key", c->box_secret);
    lmbi_secagg_derive(c->seed, "mask key", c->mask_secret);
    lmbi_secagg_derive(c->seed, "own mask", c->own);
    c->keys.id = c->id;
    crypto_scalarmult_base(c->keys.box, c->box_secret);
    crypto_scalarmult_base(c->keys.mask, c->mask_secret);
    lmbi_secagg_keys_sign(&c->sid, &c->keys, c->sign_secret);
    m.sid = c->sid;
    m.keys = c->keys;
    st = lmb_secagg_write(LMB_SECAGG_ADVERTISE, &m, 0, reply, err);
    if (st != LMB_OK) {
        lmb_secagg_client_destroy(c);
        return st;
    }
    *out = c;
    return LMB_OK;
}

void lmb_secagg_client_destroy(lmb_secagg_client *c)
{
    if (!c)
        return;
    lmbi_secagg_client_finish(c, DEAD);
    lmb_secret_free(c);
}

bool lmb_secagg_client_wants_vector(const lmb_secagg_client *c) { return c->at == WAIT_VECTOR; }
bool lmb_secagg_client_done(const lmb_secagg_client *c) { return c->at == DONE; }

lmb_status lmbi_secagg_client_sid(const lmb_secagg_client *c, const lmb_hash *sid, lmb_error *err)
{
    if (memcmp(sid->b, c->sid.b, sizeof sid->b) != 0)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the message is of another session: not this round, model, roster or settings");
    return LMB_OK;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const peer *)a)->id, y = ((const peer *)b)->id;
    return (x > y) - (x < y);
}

peer *lmbi_secagg_client_peer(lmb_secagg_client *c, uint32_t id)
{
    peer want = { .id = id };
    return c->n_peers ? bsearch(&want, c->peers, c->n_peers, sizeof want, by_id) : NULL;
}

lmb_status lmbi_secagg_client_ascends(uint32_t i, uint32_t before, uint32_t id, const char *list, lmb_error *err)
{
    if (i > 0 && id <= before)
        return LMB_FAIL(err, LMB_E_DENIED, "%s names client %u after client %u; each once, in ascending order", list,
                        id, before);
    return LMB_OK;
}

lmb_status lmbi_secagg_client_enough(const lmb_secagg_client *c, uint32_t neighbours, const char *did, lmb_error *err)
{
    if (neighbours < c->threshold || neighbours + 1 < c->clients_min)
        return LMB_FAIL(err, LMB_E_PEER,
                        "%u neighbours of client %u %s; it takes %u, and %u clients in all, to keep its update hidden",
                        neighbours, c->id, did, c->threshold, c->clients_min);
    return LMB_OK;
}

/* ---- whose turn it is ---- */

lmb_status lmb_secagg_client_take(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_str *reply, lmb_error *err)
{
    lmb_status st = LMB_OK;
    switch (c->at) {
    case WAIT_KEYS: st = lmbi_secagg_take_keys(c, bytes, n, reply, err); break;
    case WAIT_BOXES: st = lmbi_secagg_take_boxes(c, bytes, n, err); break;
    case WAIT_VECTOR:
        st = LMB_FAIL(err, LMB_E_DENIED, "the server sent %s while this client owes its vector",
                      lmb_secagg_type_name(n ? bytes[0] : 0));
        break;
    case WAIT_DROPPED: st = lmbi_secagg_take_dropped(c, bytes, n, reply, err); break;
    case WAIT_CONSENTS: st = lmbi_secagg_take_consents(c, bytes, n, reply, err); break;
    case DONE:
        st = LMB_FAIL(err, LMB_E_DENIED, "this session was answered; it is answered once");
        return st;
    case DEAD:
        st = LMB_FAIL(err, LMB_E_DENIED, "this session has ended");
        return st;
    }
    if (st != LMB_OK)
        lmbi_secagg_client_finish(c, DEAD);
    return st;
}
