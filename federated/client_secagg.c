/* federated/client_secagg.c - a client's part in a secure sum: its secrets, its answers. What it insists on is
 * client_terms.c.
 *
 * Idea: the session is the state machine of federated/secagg/client.h; here it meets files and connections. It begins
 * when all of a task is here, and training waits until the secrets are shared: who trains has neighbours that can take
 * its mask off again. After a lost connection the server repeats its last message; a client answers the same message
 * with the same bytes and any other as the state machine does, which ends the session.
 *
 * Secrets are in memory alone. A client that was killed has none, and is one that left. What it keeps is the number of
 * the last sum that it gave its update to, written before the update is hidden: no sum is answered twice, whatever the
 * server says and whoever restarts.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "federated/client_parts.h"
#include "federated/clip.h"

void lmbi_session_drop(lmb_client *c)
{
    lmb_secagg_client_destroy(c->secure.sum);
    c->secure.sum = NULL;
    lmb_roster_close(&c->secure.roster);
    lmb_pieces_drop(&c->secure.in);
    lmb_str_free(&c->secure.reply);
    lmb_str_free(&c->secure.masked);
    if (!c->training) /* else it is being written; a new training begins with a new one */
        lmb_ring_deinit(&c->secure.ring);
    memset(&c->secure.id, 0, sizeof c->secure.id);
    c->secure.taken = c->secure.announced = false;
}

/* ---- what was answered ---- */

/* One file for each federation: the greatest number of a sum that was answered. The federation is part of a session's
 * name, so whoever shows another one does not get an old session answered again. */
static lmb_status memory_path(const lmb_client *c, char path[4096], lmb_error *err)
{
    char name[32] = "sum-";
    sodium_bin2hex(name + 4, sizeof name - 4, c->secure.roster.federation.b, 8);
    return lmb_path_join(path, 4096, c->path, name, err);
}

static lmb_status check_fresh(const lmb_client *c, uint64_t number, lmb_error *err)
{
    char path[4096];
    uint64_t last;
    void *text;
    size_t n;

    LMB_TRY(memory_path(c, path, err));
    if (!lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, 31, &text, &n, err));
    last = strtoull(text, NULL, 10);
    free(text);
    if (!last)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: holds no number; without it this client might answer a sum twice",
                        path);
    if (number <= last)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the server begins secure sum %" PRIu64 "; this client has answered number %" PRIu64
                        ", and answers each once",
                        number, last);
    return LMB_OK;
}

static lmb_status spend(void *ctx, uint64_t number, lmb_error *err)
{
    const lmb_client *c = ctx;
    char path[4096], text[32];

    LMB_TRY(check_fresh(c, number, err));
    LMB_TRY(memory_path(c, path, err));
    snprintf(text, sizeof text, "%" PRIu64 "\n", number);
    return lmb_file_write(path, text, strlen(text), err);
}

/* ---- beginning ---- */

/* The server's description against what this client knows and wants. */
static lmb_status check_head(const lmb_client *c, const lmb_session_head *h, lmb_error *err)
{
    const lmb_client_secure *o = &c->secure.o;
    lmb_secagg_coding coding = lmb_session_coding(h, c->task.n);

    LMB_TRY(lmb_secagg_coding_check(&coding, err));
    LMB_TRY(lmbi_session_check_offer(o, (lmb_secure_mode)h->mode, &coding, err));
    if (c->task.clip > 0 &&
        !(coding.weight_max == 1 && coding.clip == c->task.clip && lmb_secagg_private_norm(&coding) > 0))
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the secure sum's coding does not hold a private update: clip %g of %g, weights up to %u",
                        coding.clip, c->task.clip, coding.weight_max);
    if (coding.noise && !(c->task.clip > 0))
        return LMB_FAIL(err, LMB_E_DENIED, "the server wants noise, and no clip that it would go with");
    if (h->mode == LMB_SECURE_OFF)
        return LMB_OK;
    if (h->mode == LMB_SECURE_MALICIOUS && !c->trust.on)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "mode malicious takes the admin's public key (client.admin): without it the server could "
                        "vouch for clients that do not exist");
    if (c->trust.on && memcmp(c->trust.admin, h->admin, sizeof h->admin) != 0)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the secure sum's roster is not that of the admin in this client's settings (client.admin)");
    return LMB_OK;
}

/* With an admin it is the roster that this client believes, of no other version. */
static lmb_status open_roster(lmb_client *c, const lmb_session_head *h, const uint8_t *bytes, size_t n, lmb_error *err)
{
    LMB_TRY(lmb_roster_open(&c->secure.roster, bytes, n, &h->federation, h->admin, err));
    if (c->trust.on && memcmp(&c->secure.roster.hash, &c->trust.roster.hash, sizeof c->trust.roster.hash) != 0)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the secure sum is among the clients of roster %" PRIu64
                        ", this client believes roster %" PRIu64,
                        c->secure.roster.version, c->trust.roster.version);
    return check_fresh(c, h->number, err);
}

static lmb_status own_number(const lmb_client *c, uint32_t *id, lmb_error *err)
{
    const lmb_roster *r = &c->secure.roster;
    for (uint32_t i = 0; i < r->n; i++)
        if (memcmp(r->row[i].key, lmb_sign_public(c->sign_secret), LMB_SIGN_PUBLIC) == 0) {
            *id = r->row[i].id;
            return LMB_OK;
        }
    return LMB_FAIL(err, LMB_E_DENIED, "this client's signing key is not in the roster of %u clients", r->n);
}

static lmb_status send_message(lmb_client *c, const lmb_str *m, lmb_error *err)
{
    for (size_t at = 0; at < m->n;) {
        lmb_record r = lmb_piece_at(m->text, m->n, at);
        LMB_TRY(lmb_channel_send(c->channel, &r, err));
        at += r.bytes;
    }
    return LMB_OK;
}

static lmb_status begin(lmb_client *c, lmb_error *err)
{
    secure_client *s = &c->secure;
    const download *d = &c->in[DOWNLOAD_SESSION];
    lmb_session_head head;
    const uint8_t *roster;
    size_t roster_bytes;

    LMB_TRY(lmb_session_read(d->data, (size_t)d->id.bytes, &head, &roster, &roster_bytes, err));
    LMB_TRY(check_head(c, &head, err));
    s->coding = lmb_session_coding(&head, c->task.n);
    s->hidden = head.mode != LMB_SECURE_OFF;
    if (!s->hidden)
        return LMB_OK;
    LMB_TRY(open_roster(c, &head, roster, roster_bytes, err));
    lmb_secagg_session session = lmb_session_of(&head, &c->task);
    lmb_secagg_client_setup setup = { .session = &session,
                                      .roster = &s->roster,
                                      .sign_secret = c->sign_secret,
                                      .trust = lmb_secagg_trust_default(session.mode),
                                      .clients_min = (uint32_t)s->o.clients_min,
                                      .neighbours_min = (uint32_t)s->o.neighbours_min,
                                      .spend = spend,
                                      .ctx = c };
    setup.trust.adversaries = s->o.adversaries;
    setup.trust.dropouts = s->o.dropouts;
    if (s->o.floor > 0)
        setup.trust.floor = s->o.floor;
    LMB_TRY(own_number(c, &setup.id, err));
    LMB_TRY(lmb_secagg_client_create(&setup, &s->sum, &s->reply, err));
    lmb_log_at(c->log, LMB_LOG_INFO, "federated", "round %" PRIu64 ": secure sum %" PRIu64 ", client %u of up to %u",
               c->task.round, head.number, setup.id, head.clients);
    return LMB_OK;
}

/* The task ends here, with a sentence for both sides; what was secret is gone. */
static void fail(lmb_client *c, const lmb_error *e)
{
    lmb_blob_id id = c->task.session;
    lmb_log_at(c->log, LMB_LOG_WARN, "federated", "round %" PRIu64 ": %s", c->task.round, e->msg);
    lmbi_session_drop(c);
    c->secure.id = id;
    c->secure.error = *e;
    if (c->training)
        atomic_store(&c->cancelled, true);
    else
        lmbi_work_failed(c, e);
}

/* Something of a lost connection is in doubt on neither side: see the top. */
static bool same_session(const lmb_client *c)
{
    return c->secure.id.bytes == c->task.session.bytes &&
           memcmp(&c->secure.id.hash, &c->task.session.hash, sizeof c->secure.id.hash) == 0;
}

lmb_status lmbi_session_step(lmb_client *c, bool *train, lmb_error *err)
{
    secure_client *s = &c->secure;
    lmb_error own = LMB_ERROR_INIT;

    *train = true;
    if (!c->task.session.bytes) {
        lmbi_session_drop(c);
        if (!s->o.required)
            return LMB_OK;
        LMB_FAIL(&own, LMB_E_DENIED,
                 "the server does not offer secure aggregation, and this client takes part under nothing else "
                 "(secure_aggregation.required)");
        *train = false;
        fail(c, &own);
        return LMB_OK;
    }
    if (!same_session(c)) {
        lmbi_session_drop(c);
        s->id = c->task.session;
        s->error = (lmb_error)LMB_ERROR_INIT;
        if (begin(c, &own) != LMB_OK) {
            *train = false;
            fail(c, &own);
            return LMB_OK;
        }
    }
    if (s->error.status != LMB_OK) { /* it failed before, and the server asks once more */
        *train = false;
        own = s->error;
        fail(c, &own);
        return LMB_OK;
    }
    if (!s->hidden)
        return LMB_OK;
    *train = s->sum && lmb_secagg_client_wants_vector(s->sum);
    if (s->taken || s->announced)
        return LMB_OK;
    s->announced = true; /* on this connection */
    return send_message(c, &s->reply, err);
}

/* ---- messages ---- */

lmb_status lmbi_session_message(lmb_client *c, const lmb_record *r, lmb_error *err)
{
    secure_client *s = &c->secure;
    lmb_error own = LMB_ERROR_INIT;
    lmb_str reply = LMB_STR_INIT;
    bool whole;
    lmb_hash what;
    lmb_status st;

    if (!s->sum)
        return LMB_OK; /* of a session that has ended */
    st = lmb_pieces_take(&s->in, r, 4096 + (size_t)160 * s->roster.n, &whole, &own);
    if (st == LMB_OK && !whole)
        return LMB_OK;
    if (st == LMB_OK) {
        what = lmb_hash_of(s->in.bytes, s->in.total);
        if (s->taken && memcmp(&what, &s->last, sizeof what) == 0) { /* the answer was lost with the connection */
            lmb_pieces_drop(&s->in);
            return send_message(c, &s->reply, err);
        }
        st = lmb_secagg_client_take(s->sum, s->in.bytes, s->in.total, &reply, &own);
    }
    lmb_pieces_drop(&s->in);
    if (st != LMB_OK) {
        lmb_str_free(&reply);
        fail(c, &own);
        return LMB_OK;
    }
    s->taken = true;
    s->last = what;
    lmb_str_free(&s->reply);
    s->reply = reply;
    if (lmb_secagg_client_done(s->sum))
        lmb_log_at(c->log, LMB_LOG_INFO, "federated", "round %" PRIu64 ": this client's part in the secure sum is done",
                   c->task.round);
    return send_message(c, &s->reply, err);
}

/* ---- the update ---- */

lmb_status lmbi_session_encode(lmb_client *c, lmb_error *err)
{
    secure_client *s = &c->secure;
    uint8_t seed[LMB_SECAGG_SEED];

    if (c->work.clip > 0)
        lmbi_clip(c->result.delta, (size_t)c->work.n, lmb_secagg_private_norm(&s->coding));
    s->cut = 0;
    for (uint64_t i = 0; i < c->work.n; i++)
        s->cut += fabs((double)c->result.delta[i]) > s->coding.clip;
    lmb_session_seed(&c->work, seed);
    lmb_ring_deinit(&s->ring);
    LMB_TRY(lmb_ring_init(&s->ring, s->coding.ring_bits, s->coding.length + 1, err));
    LMB_TRY(lmb_secagg_encode(&s->coding, c->result.delta, c->result.examples, seed, &s->ring, err));
    lmb_secagg_add_noise(&s->coding, NULL, &s->ring);
    free(c->result.delta);
    c->result.delta = NULL;
    return LMB_OK;
}

lmb_status lmbi_session_hide(lmb_client *c, lmb_error *err)
{
    secure_client *s = &c->secure;
    size_t bytes = lmb_pack_bytes(s->ring.bits, s->ring.n);
    lmb_status st = LMB_OK;

    if (!s->ring.n || (s->hidden && !s->sum))
        return LMB_FAIL(err, LMB_E_PEER, "the secure sum has ended");
    if (s->cut) /* not in silence: it is a loss that only this side can see */
        lmb_log_at(c->log, s->cut > c->work.n / 1000 ? LMB_LOG_WARN : LMB_LOG_INFO, "federated",
                   "round %" PRIu64 ": %" PRIu64 " of %" PRIu64
                   " numbers of the update were cut to %g (secure_aggregation.clip)",
                   c->work.round, s->cut, c->work.n, s->coding.clip);
    c->payload = malloc(bytes);
    if (!c->payload)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for an update of %zu bytes", bytes);
    c->payload_bytes = bytes;
    if (s->hidden)
        st = lmb_secagg_client_mask(s->sum, &s->ring, NULL, &s->masked, err);
    if (st == LMB_OK)
        lmb_pack(&s->ring, 0, s->ring.n, c->payload);
    lmb_ring_deinit(&s->ring);
    return st;
}

lmb_status lmbi_session_offer(lmb_client *c, lmb_error *err) { return send_message(c, &c->secure.masked, err); }
