/* federated/server_secagg.c - a round under secure aggregation: the state machine of federated/secagg/server.h, moved on by
 * what comes over connections and by the server's clock.
 *
 * Idea: a stage ends when every client that owes a message has sent it or is out, by the same deadlines as in any round.
 * Whoever is out is dropped by the sum. A client that comes back is sent its task and the stage's message once more; it
 * knows what it has answered and says the same again. The round knows no update: `deliver` gives hidden vectors to the
 * sum, and at the end there is one sum of integers, which takes the aggregator's place for what it absorbed.
 *
 * Nothing of a session is ever written down. A server that was killed begins another one, and since every session has a
 * number of its own (in the journal, written first), nobody answers the old one for it.
 *
 * Without a signed roster the server vouches for its clients' keys with one of its own: that is enough against a server
 * that is curious, and says nothing against one that lies (docs/secure-aggregation.md).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "federated/papers.h"
#include "federated/secagg/server.h"
#include "federated/server_parts.h"
#include "federated/unmask_gpu.h"

enum { BLOCK = 8192, THREADS_FROM = 32 };

struct secure_round {
    lmb_secure o;
    lmb_hash federation;
    uint8_t vouch[LMB_SIGN_SECRET]; /* of a server that makes its own rosters */
    lmb_roster own;                 /* of the cohort; without an admin        */
    lmb_str own_bytes, blob;
    lmb_session_head head;
    lmb_secagg_server *sum; /* NULL in mode off, and between rounds */
    lmb_ring_vector ring;   /* mode off: the sum so far             */
    lmb_unmask_gpu *gpu;    /* NULL: the masks come off here        */
};

bool lmbi_secure_hides(const lmb_server *s) { return s->secure && s->secure->o.c.mode != LMB_SECURE_OFF; }

/* ---- opening ---- */

lmb_status lmbi_secure_open(lmb_server *s, lmb_error *err)
{
    uint64_t last;
    secure_round *r;
    char path[4096];

    if (!s->cfg.secure_aggregation)
        return LMB_OK;
    r = s->secure = lmb_secret_new(sizeof *r); /* the key that vouches lies in it */
    if (!r)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for secure aggregation");
    LMB_TRY(lmb_secure_open(s->cfg.secure_aggregation, s->job.n, lmbi_secure_most(&s->cfg, &s->privacy),
                            (uint64_t)s->cfg.minimum, &s->privacy, &r->o, err));
    if (s->cfg.minimum < (int64_t)r->o.clients_min)
        s->cfg.minimum = (int64_t)r->o.clients_min;
    LMB_TRY(lmb_journal_federation(s->journal, &r->federation, err));
    if (!lmbi_secure_hides(s))
        return lmb_ring_init(&r->ring, r->o.coding.ring_bits, r->o.coding.length + 1, err);
    if (s->cfg.device == LMB_SERVER_CUDA)
        r->gpu = lmb_unmask_gpu_open(s->job.log);
    LMB_TRY(lmb_journal_last_sum(s->journal, &last, err)); /* damage shows before anybody is asked */
    LMB_TRY(lmb_path_join(path, sizeof path, s->state_dir, "roster.key", err));
    return lmb_sign_file(path, r->vouch, err);
}

void lmbi_secure_describe(const lmb_server *s)
{
    static const char *const against[] = { "a curious server", "a malicious server", "nobody: the integers are summed in the clear" };
    const secure_round *r = s->secure;

    if (r)
        lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "secure aggregation against %s; clip %g, %u bits a value in a ring of %u, weights up to %u, "
                   "sums of %u clients or more%s%s", against[r->o.c.mode], r->o.coding.clip, r->o.coding.value_bits, r->o.coding.ring_bits,
                   r->o.coding.weight_max, r->o.clients_min, s->people.required || !lmbi_secure_hides(s) ? "" : "; the server vouches for the keys",
                   r->o.coding.noise ? "; the clients add the noise" : "");
}

static void end_sum(secure_round *r)
{
    lmb_secagg_server_destroy(r->sum);
    r->sum = NULL;
    lmb_roster_close(&r->own);
}

void lmbi_secure_close(lmb_server *s)
{
    secure_round *r = s->secure;
    if (!r)
        return;
    end_sum(r);
    lmb_unmask_gpu_close(r->gpu);
    lmb_ring_deinit(&r->ring);
    lmb_str_free(&r->own_bytes);
    lmb_str_free(&r->blob);
    lmb_secret_free(r);
    s->secure = NULL;
}

void lmbi_secure_forget(member *m)
{
    lmb_pieces_drop(&m->secure.in);
    lmb_str_free(&m->secure.masked);
    lmb_str_free(&m->secure.out);
    m->secure = (secure_member){ 0 };
}

/* ---- a session begins ---- */

static int by_row(const void *a, const void *b)
{
    uint32_t x = ((const lmb_roster_row *)a)->id, y = ((const lmb_roster_row *)b)->id;
    return (x > y) - (x < y);
}

/* rows[n] of the cohort, by number. */
static uint32_t cohort_of(lmb_server *s, lmb_roster_row *rows)
{
    uint32_t n = 0;
    for (member *m = s->members; m; m = m->next) {
        if (m->status != MEMBER_SELECTED)
            continue;
        lmbi_secure_forget(m);
        rows[n].id = (uint32_t)m->id;
        memcpy(rows[n++].key, m->sign, LMB_SIGN_PUBLIC);
    }
    qsort(rows, n, sizeof *rows, by_row);
    return n;
}

static lmb_status vouch_for(secure_round *r, const lmb_roster_row *rows, uint32_t n, lmb_error *err)
{
    lmb_str plain = LMB_STR_INIT, *b = &r->own_bytes;
    lmb_str_clear(b);
    lmb_status st = lmb_roster_write(rows, n, r->head.number, &r->federation, &plain, err);
    if (st == LMB_OK)
        st = lmb_roster_sign((const uint8_t *)plain.text, plain.n, r->vouch, b, err);
    lmb_str_free(&plain);
    LMB_TRY(st);
    return lmb_roster_open(&r->own, (const uint8_t *)b->text, b->n, &r->federation, r->head.admin, err);
}

static lmb_status open_sum(lmb_server *s, const lmb_roster_row *rows, uint32_t n, lmb_error *err)
{
    secure_round *r = s->secure;
    lmb_task_message task = lmbi_task(s);
    lmb_secagg_session session = lmb_session_of(&r->head, &task);
    uint32_t *cohort = calloc(n, sizeof *cohort);
    lmb_status st = cohort ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a secure sum of %u clients", n);

    for (uint32_t i = 0; st == LMB_OK && i < n; i++)
        cohort[i] = rows[i].id;
    lmb_secagg_server_setup setup = { .session = &session, .roster = s->people.required ? &s->people.roster : &r->own, .cohort = cohort, .n = n, .trust = r->o.trust,
                                      .shape = r->o.shape, .clients_min = r->o.clients_min };
    if (st == LMB_OK)
        st = lmb_secagg_server_create(&setup, &r->sum, err);
    free(cohort);
    return st;
}

static lmb_status begin(lmb_server *s, lmb_roster_row *rows, lmb_error *err)
{
    secure_round *r = s->secure;
    const lmb_secagg_coding *c = &r->o.coding;
    uint32_t n = cohort_of(s, rows);

    end_sum(r);
    r->head = (lmb_session_head){ .federation = r->federation, .mode = (uint32_t)r->o.c.mode, .clients = c->clients, .weight_max = c->weight_max,
                                  .value_bits = c->value_bits, .ring_bits = c->ring_bits, .clip = c->clip, .noise = c->noise };
    memcpy(r->head.admin, s->people.required ? s->people.admin : lmb_sign_public(r->vouch), sizeof r->head.admin);
    LMB_TRY(lmb_journal_next_sum(s->journal, &r->head.number, err));
    lmb_str_clear(&r->blob);
    if (lmbi_secure_hides(s) && !s->people.required) {
        LMB_TRY(vouch_for(r, rows, n, err));
        LMB_TRY(lmb_session_write(&r->head, r->own_bytes.text, r->own_bytes.n, &r->blob, err));
    } else {
        LMB_TRY(lmb_session_write(&r->head, s->people.roster_bytes, (size_t)s->blobs[BLOB_ROSTER].id.bytes, &r->blob, err));
    }
    s->blobs[BLOB_SESSION] = (blob){ { lmb_hash_of(r->blob.text, r->blob.n), r->blob.n }, (const uint8_t *)r->blob.text };
    if (lmbi_secure_hides(s))
        return open_sum(s, rows, n, err);
    memset(r->ring.u32 ? (void *)r->ring.u32 : r->ring.u64, 0, r->ring.n * (r->ring.u32 ? sizeof *r->ring.u32 : sizeof *r->ring.u64));
    return LMB_OK;
}

lmb_status lmbi_secure_begin(lmb_server *s, lmb_error *err)
{
    if (!s->secure)
        return LMB_OK;
    size_t n = 0;
    for (const member *m = s->members; m; m = m->next)
        n += m->status == MEMBER_SELECTED;
    lmb_roster_row *rows = calloc(n + 1, sizeof *rows);
    lmb_status st = rows ? begin(s, rows, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a secure sum of %zu clients", n);
    free(rows);
    return st;
}

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
    if (lmb_secagg_server_stage(r->sum) == LMB_SECAGG_STAGE_ADVERTISE || !lmb_secagg_server_owes(r->sum, (uint32_t)m->id))
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
    if (st == LMB_OK && m->secure.in.bytes[0] == awaited(lmb_secagg_server_stage(r->sum))) /* what repeats is no progress */
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

static lmb_status add_block(secure_round *r, bool in_clear, size_t at, size_t count, const uint8_t *packed, lmb_error *err)
{
    if (!in_clear)
        return lmb_secagg_server_block(r->sum, packed, count, err);
    lmb_unpack_add(&r->ring, at, count, packed);
    return LMB_OK;
}

bool lmbi_secure_has(const lmb_server *s, const member *m) { return s->secure && m->secure.vector; }

lmb_status lmbi_secure_deliver(lmb_server *s, member *m, lmb_error *err)
{
    secure_round *r = s->secure;
    const lmb_secagg_coding *c = &r->o.coding;
    uint8_t packed[BLOCK / 8 * LMB_RING_BITS_MAX];
    uint64_t from = 0;

    LMB_TRY(lmb_upload_check_hash(&m->upload, err));
    if (m->upload.head.metrics.n)
        return LMB_FAIL(err, LMB_E_FORMAT, "the update comes with metrics, which tell what the sum is to hide");
    if (lmbi_secure_hides(s))
        LMB_TRY(lmb_secagg_server_vector(r->sum, (uint32_t)m->id, (const uint8_t *)m->secure.masked.text, m->secure.masked.n, err));
    for (size_t at = 0; at <= c->length; at += BLOCK) {
        size_t count = c->length + 1 - at < BLOCK ? (size_t)(c->length + 1 - at) : BLOCK, bytes = lmb_pack_bytes(c->ring_bits, count);
        if (lmb_upload_bytes(&m->upload, packed, from, bytes, err) != LMB_OK)
            return LMB_E_IO; /* a part of it is in the sum */
        from += bytes;
        LMB_TRY(add_block(r, !lmbi_secure_hides(s), at, count, packed, err));
    }
    if (lmbi_secure_hides(s))
        LMB_TRY(lmb_secagg_server_vector_end(r->sum, err));
    m->secure.vector = true;
    lmb_upload_end(&m->upload);
    return LMB_OK;
}

/* ---- stages ---- */

/* The sum failed: the round is over for all. */
static void give_up(lmb_server *s, const char *sentence)
{
    lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "round %" PRIu64 " ends without a sum: %s", s->report.round, sentence);
    for (member *m = s->members; m; m = m->next)
        if (m->status == MEMBER_SELECTED)
            lmbi_member_dismiss(s, m, sentence);
    end_sum(s->secure);
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

/* The masks off; the sum of integers and how many are in it. */
static lmb_status unmask(lmb_server *s, lmb_ring_vector *sum, uint32_t *clients, lmb_error *err)
{
    secure_round *r = s->secure;
    lmb_pool *pool = NULL;
    lmb_status st;

    if (s->report.selected >= THREADS_FROM)
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
    lmbi_exact_sum *into;
    lmb_ring_vector sum = { 0 };
    lmb_error err = LMB_ERROR_INIT;
    uint32_t clients = 0;
    lmb_status st = LMB_OK;

    if (!r)
        return;
    for (member *m = s->members; m; m = m->next)
        lmbi_secure_forget(m);
    into = s->aggregator->exact(s->sum);
    if (!lmbi_secure_hides(s)) {
        if (s->report.updates)
            st = lmb_secure_sum(&r->o.coding, &r->ring, into, &err);
    } else {
        s->report.updates = 0;
        if (!r->sum)
            return;
        st = unmask(s, &sum, &clients, &err);
        if (st == LMB_OK)
            st = lmb_secure_sum(&r->o.coding, &sum, into, &err);
        lmb_ring_deinit(&sum);
        s->report.updates = clients;
        end_sum(r);
    }
    s->report.examples = st == LMB_OK ? into->weight : 0;
    if (st == LMB_OK)
        return;
    s->report.updates = 0;
    lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "round %" PRIu64 " ends without a sum: %s", s->report.round, err.msg);
}

bool lmbi_secure_noisy(const lmb_server *s) { return s->secure && s->secure->o.coding.noise > 0; }
