/* federated/server_secagg.c - a round under secure aggregation: the state machine of federated/secagg/server.h, moved
 * on by what comes over connections and by the server's clock.
 *
 * Idea: a stage ends when every client that owes a message has sent it or is out, by the same deadlines as in any
 * round. Whoever is out is dropped by the sum. A client that comes back is sent its task and the stage's message once
 * more; it knows what it has answered and says the same again. The round knows no update: `deliver` gives hidden
 * vectors to the sum, and at the end there is one sum of integers, which takes the aggregator's place for what it
 * absorbed. How a session begins is in server_session.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "federated/server_secagg.h"

enum { BLOCK = 8192, THREADS_FROM = 32 };

/* ---- messages ---- */

bool lmbi_secure_owes(const lmb_server *s, const member *m)
{
    const secure_round *r = s->secure;
    return !lmbi_secure_hides(s) || (r->sum && lmb_secagg_server_owes(r->sum, (uint32_t)m->id));
}

/* The stage's message to a client that owes an answer to it; from the beginning, also when a part had left before. */
static void tell(lmb_server *s, member *m)
{
    lmb_error err = LMB_ERROR_INIT;
    const secure_round *r = s->secure;

    lmb_str_clear(&m->secure.out);
    m->secure.out_at = 0;
    if (lmb_secagg_server_stage(r->sum) == LMB_SECAGG_STAGE_ADVERTISE ||
        !lmb_secagg_server_owes(r->sum, (uint32_t)m->id))
        return;
    if (lmb_secagg_server_message(r->sum, (uint32_t)m->id, &m->secure.out, &err) != LMB_OK)
        lmbi_server_fail(s, &err);
    else if (m->peer)
        lmbi_peer_flush(m->peer);
}

void lmbi_secure_again(lmb_server *s, member *m)
{
    if (s->secure && s->secure->sum && m->status == MEMBER_SELECTED)
        tell(s, m);
}

/* What a client says at this stage. */
static unsigned awaited(lmb_secagg_stage stage)
{
    switch (stage) {
    case LMB_SECAGG_STAGE_ADVERTISE: return LMB_SECAGG_ADVERTISE;
    case LMB_SECAGG_STAGE_SHARE: return LMB_SECAGG_SHARES;
    case LMB_SECAGG_STAGE_MASK: return LMB_SECAGG_MASKED;
    case LMB_SECAGG_STAGE_CONSENT: return LMB_SECAGG_CONSISTENT;
    default: return LMB_SECAGG_REVEAL;
    }
}

/* A client that came back says again what it had said: that changes nothing. */
static lmb_status take(lmb_server *s, member *m, lmb_error *err)
{
    secure_round *r = s->secure;
    const lmb_message_pieces *p = &m->secure.in;
    unsigned type = p->bytes[0], now = awaited(lmb_secagg_server_stage(r->sum));

    if (type < now || (type == now && !lmb_secagg_server_owes(r->sum, (uint32_t)m->id)))
        return LMB_OK;
    if (type == LMB_SECAGG_MASKED && type == now) { /* looked at when the vector it announces is here */
        lmb_str_clear(&m->secure.masked);
        lmb_str_add_n(&m->secure.masked, p->bytes, p->total);
        return lmb_str_check(&m->secure.masked, err);
    }
    LMB_TRY(lmb_secagg_server_take(r->sum, (uint32_t)m->id, p->bytes, p->total, err));
    if (lmb_secagg_server_stage(r->sum) == LMB_SECAGG_STAGE_REVEAL)
        m->status = MEMBER_DELIVERED;
    lmbi_round_look(s);
    return LMB_OK;
}

void lmbi_secure_message(lmb_server *s, member *m, const lmb_record *rec)
{
    lmb_error err = LMB_ERROR_INIT;
    secure_round *r = s->secure;
    bool whole = false;
    lmb_status st;

    if (m->status != MEMBER_SELECTED || (lmbi_secure_hides(s) && !r->sum))
        return; /* on its way while the round went on without it */
    if (!lmbi_secure_hides(s)) {
        lmbi_member_out(s, m, "it speaks of a secure sum, and there is none");
        return;
    }
    st = lmb_pieces_take(&m->secure.in, rec, 4096 + (size_t)160 * r->o.coding.clients, &whole, &err);
    if (st == LMB_OK &&
        m->secure.in.bytes[0] == awaited(lmb_secagg_server_stage(r->sum))) /* what repeats is no progress */
        m->progress = lmbi_now(s);
    if (st == LMB_OK && whole) {
        st = take(s, m, &err);
        lmb_pieces_drop(&m->secure.in);
    }
    if (st == LMB_E_NOMEM)
        lmbi_server_fail(s, &err);
    else if (st != LMB_OK)
        lmbi_member_out(s, m, err.msg);
}

/* ---- vectors ---- */

void lmbi_secure_rules(const lmb_server *s, lmb_upload_rules *rules)
{
    const secure_round *r = s->secure;
    if (!r)
        return;
    rules->opaque = LMB_SESSION_CODEC;
    rules->opaque_bytes = lmb_pack_bytes(r->o.coding.ring_bits, r->o.coding.length + 1);
    rules->max_examples = 1; /* weights are in the vector */
    rules->norm_clip = rules->norm_limit = 0;
}

static lmb_status add_block(secure_round *r, bool in_clear, size_t at, size_t count, const uint8_t *packed,
                            lmb_error *err)
{
    if (!in_clear)
        return lmb_secagg_server_block(r->sum, packed, count, err);
    lmb_unpack_add(&r->ring, at, count, packed);
    return LMB_OK;
}

bool lmbi_secure_has(const lmb_server *s, const member *m) { return s->secure && m->secure.vector; }

lmb_status lmbi_secure_admit(lmb_server *s, member *m, lmb_error *err)
{
    LMB_TRY(lmb_upload_check_hash(&m->upload, err));
    if (m->upload.head.metrics.n)
        return LMB_FAIL(err, LMB_E_FORMAT, "the update comes with metrics, which tell what the sum is to hide");
    if (!lmbi_secure_hides(s))
        return LMB_OK;
    return lmb_secagg_server_vector(s->secure->sum, (uint32_t)m->id, (const uint8_t *)m->secure.masked.text,
                                    m->secure.masked.n, err);
}

/* Nothing but the sum's numbers: what the session knows of its clients is the loop's. */
lmb_status lmbi_secure_add(lmb_server *s, member *m, lmb_error *err)
{
    secure_round *r = s->secure;
    const lmb_secagg_coding *c = &r->o.coding;
    uint8_t packed[BLOCK / 8 * LMB_RING_BITS_MAX];
    uint64_t from = 0;

    for (size_t at = 0; at <= c->length; at += BLOCK) {
        size_t count = c->length + 1 - at < BLOCK ? (size_t)(c->length + 1 - at) : BLOCK,
               bytes = lmb_pack_bytes(c->ring_bits, count);
        if (lmb_upload_bytes(&m->upload, packed, from, bytes, err) != LMB_OK)
            return LMB_E_IO; /* a part of it is in the sum */
        from += bytes;
        LMB_TRY(add_block(r, !lmbi_secure_hides(s), at, count, packed, err));
    }
    return LMB_OK;
}

lmb_status lmbi_secure_added(lmb_server *s, member *m, lmb_error *err)
{
    if (lmbi_secure_hides(s))
        LMB_TRY(lmb_secagg_server_vector_end(s->secure->sum, err));
    m->secure.vector = true;
    return LMB_OK;
}

/* ---- stages ---- */

/* The sum failed: the round is over for all. */
static void give_up(lmb_server *s, const char *sentence)
{
    lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "round %" PRIu64 " ends without a sum: %s", s->report.round,
               sentence);
    for (member *m = s->members; m; m = m->next)
        if (m->status == MEMBER_SELECTED)
            lmbi_member_dismiss(s, m, sentence);
    lmbi_secure_end(s->secure);
}

bool lmbi_secure_advance(lmb_server *s)
{
    lmb_error err = LMB_ERROR_INIT;
    secure_round *r = s->secure;

    if (!lmbi_secure_hides(s) || !r->sum || lmb_secagg_server_stage(r->sum) >= LMB_SECAGG_STAGE_UNMASK)
        return false;
    if (lmb_secagg_server_advance(r->sum, &err) != LMB_OK) {
        give_up(s, err.msg);
        return false;
    }
    if (lmb_secagg_server_stage(r->sum) == LMB_SECAGG_STAGE_UNMASK)
        return false;
    for (member *m = s->members; m; m = m->next) {
        if (m->status != MEMBER_SELECTED)
            continue;
        m->progress = lmbi_now(s);
        if (lmb_secagg_server_owes(r->sum, (uint32_t)m->id))
            tell(s, m);
        else
            lmbi_member_out(s, m, "too few of its neighbours are left to keep its update hidden");
    }
    return true;
}

void lmbi_secure_close_in(lmb_server *s)
{
    for (member *m = s->members; m && s->secure; m = m->next)
        lmbi_secure_forget(m);
}

void lmbi_secure_leave(lmb_server *s)
{
    if (lmbi_secure_hides(s))
        lmbi_secure_end(s->secure);
}

/* The masks off; the sum of integers and how many are in it. */
static lmb_status unmask(lmb_server *s, lmb_ring_vector *sum, uint32_t *clients, lmb_error *err)
{
    secure_round *r = s->secure;
    lmb_pool *pool = NULL;
    lmb_status st;

    if (s->next.report.selected >= THREADS_FROM)
        LMB_TRY(lmb_pool_create(lmb_cpu_count(), &pool, err));
    if (r->gpu) {
        lmb_masker masker = { lmb_unmask_gpu_apply, r->gpu };
        lmb_secagg_server_masker(r->sum, &masker);
    }
    st = lmb_secagg_server_finish(r->sum, pool, sum, clients, err);
    lmb_pool_destroy(pool);
    return st;
}

void lmbi_secure_finish(lmb_server *s)
{
    secure_round *r = s->secure;
    lmb_round_report *report = &s->next.report;
    lmbi_exact_sum *into;
    lmb_ring_vector sum = { 0 };
    lmb_error *err = &s->next.no_sum;
    uint32_t clients = 0;
    lmb_status st = LMB_OK;

    if (!r)
        return;
    into = s->aggregator->exact(s->sum);
    if (!lmbi_secure_hides(s)) {
        if (report->updates)
            st = lmb_secure_sum(&r->o.coding, &r->ring, into, err);
    } else {
        report->updates = 0;
        if (!r->sum)
            return;
        st = unmask(s, &sum, &clients, err);
        if (st == LMB_OK)
            st = lmb_secure_sum(&r->o.coding, &sum, into, err);
        lmb_ring_deinit(&sum);
        report->updates = clients;
    }
    report->examples = st == LMB_OK ? into->weight : 0;
    if (st != LMB_OK)
        report->updates = 0;
}

bool lmbi_secure_noisy(const lmb_server *s) { return s->secure && s->secure->o.coding.noise > 0; }
