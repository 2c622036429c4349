/* federated/server_update.c - what clients at work send: an update is announced, arrives in the spool, is checked and
 * added by the worker (server_worker.c), and the client is told. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "federated/server_parts.h"

void lmbi_note_to(member *m, lmb_message_type type, uint64_t round, const char *sentence)
{
    lmb_round_note note = { .round = round };
    if (!m->peer || m->peer->told)
        return;
    snprintf(note.sentence, sizeof note.sentence, "%s", sentence);
    if (lmb_message_send(m->peer->channel, type, &note, NULL) != LMB_OK)
        lmbi_peer_close(m->peer);
    else
        lmbi_peer_flush(m->peer);
}

void lmbi_member_dismiss(lmb_server *s, member *m, const char *sentence)
{
    lmb_error err = LMB_ERROR_INIT;

    m->status = MEMBER_OUT;
    m->stale = m->upload.fd >= 0;
    lmb_upload_end(&m->upload);
    lmbi_note_to(m, LMB_MSG_REFUSED, m->at.turn, sentence);
    if (lmbi_is_async(s) && lmb_journal_release(s->journal, m->id, &err) != LMB_OK)
        lmbi_server_fail(s, &err);
    lmbi_round_look(s);
}

void lmbi_member_out(lmb_server *s, member *m, const char *sentence)
{
    lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "round %" PRIu64 " goes on without client %" PRId64 " (%s): %s",
               s->report.round, m->id, m->name, sentence);
    lmbi_member_dismiss(s, m, sentence);
}

/* What is wrong on our side (a full disk) and where our files are is none of the client's business. A round that comes
 * to nothing by it ends the server, which is to be started again when that is mended, and spends no round. */
static void out_for(lmb_server *s, member *m, const lmb_error *e)
{
    if (e->status != LMB_E_IO && e->status != LMB_E_NOMEM) {
        lmbi_member_out(s, m, e->msg);
        return;
    }
    lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "round %" PRIu64 " goes on without client %" PRId64 " (%s): %s",
               s->report.round, m->id, m->name, e->msg);
    s->own_fault = *e;
    lmbi_member_dismiss(s, m, "the server has a problem of its own");
}

void lmbi_update_learn(lmb_server *s, member *m, const lmb_update_message *head)
{
    m->known.last = m->at.turn;
    m->known.seconds = lmbi_now(s) - m->asked;
    if (s->privacy.on) /* nothing is known of a private federation's clients but the noisy sum */
        return;
    if (s->secure) /* nor of a secure one's but their sum */
        return;
    m->known.examples = head->examples;
    m->known.loss = lmb_figures_find(&head->metrics, "loss");
}

static void average_metrics(lmb_server *s, const lmb_update_message *u)
{
    lmb_figures *sum = &s->report.clients;
    for (uint32_t i = 0; i < u->metrics.n; i++) {
        uint32_t k = 0;
        while (k < sum->n && strcmp(sum->row[k].name, u->metrics.row[i].name) != 0)
            k++;
        if (k == sum->n) {
            lmb_figures_add(sum, u->metrics.row[i].name, 0);
            if (k == sum->n)
                return; /* full */
        }
        sum->row[k].value += (double)u->examples * u->metrics.row[i].value;
        s->metric_weight[k] += (double)u->examples;
    }
}

void lmbi_update_count(lmb_server *s, const lmb_update_message *head)
{
    s->report.updates++;
    s->report.examples += head->examples;
    s->report.payload += head->blob.bytes;
    s->report.plain += head->n * sizeof(float);
    if (!s->privacy.on) {
        average_metrics(s, head);
        lmbi_fares_add(s, &head->metrics);
    }
    s->within += head->within == 1;
}

/* ---- complete ---- */

static void send_have(member *m)
{
    lmb_want have = { .blob = m->upload.head.blob, .offset = m->upload.have };
    if (m->peer && lmb_message_send(m->peer->channel, LMB_MSG_HAVE, &have, NULL) != LMB_OK)
        lmbi_peer_close(m->peer);
}

bool lmbi_update_full(const lmb_server *s)
{
    return !s->privacy.on && !lmbi_secure_hides(s) && s->report.updates >= lmbi_server_need(s);
}

/* All bytes are here. */
static void deliver(lmb_server *s, member *m)
{
    if (lmb_upload_torn(&m->upload))
        send_have(m);
    else
        lmbi_worker_hand(s, m);
}

/* Part of it may be in the sum when the fault is ours: the round cannot be trusted. */
static void refuse(lmb_server *s, member *m, lmb_status st, const lmb_error *err)
{
    if (st == LMB_E_IO || st == LMB_E_NOMEM)
        lmbi_server_fail(s, err);
    else
        lmbi_member_out(s, m, err->msg);
}

bool lmbi_update_wanted(lmb_server *s, member *m)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_status st;

    m->status = MEMBER_SELECTED;
    if (m->state == LMB_CLIENT_REVOKED) { /* while it waited */
        lmbi_member_out(s, m, "it was revoked");
        return false;
    }
    if (lmbi_update_full(s)) {
        lmbi_member_spare(s, m, "the round has all it needs; thank you");
        return false;
    }
    if (lmbi_is_async(s) && lmbi_async_too_old(s, m))
        return false;
    if (lmbi_is_async(s))
        m->upload.rules.factor = lmbi_async_weight(s, &m->at);
    if (s->secure && (st = lmbi_secure_admit(s, m, &err)) != LMB_OK) {
        refuse(s, m, st, &err);
        return false;
    }
    m->status = MEMBER_HANDED;
    return true;
}

lmb_status lmbi_update_absorb(lmb_server *s, member *m, lmb_error *err)
{
    if (s->secure)
        return lmbi_secure_add(s, m, err);
    LMB_TRY(lmbi_round_take(s, m, err));
    return lmbi_is_async(s) ? lmb_upload_sync(&m->upload, err) : LMB_OK;
}

/* What the journal and the round are to know of it; an aggregator that needs all of them finds it in the spool. */
static lmb_status took(lmb_server *s, member *m, lmb_error *err)
{
    if (lmbi_is_async(s))
        return lmbi_async_took(s, m, err);
    if (s->secure)
        LMB_TRY(lmbi_secure_added(s, m, err));
    lmbi_update_count(s, &m->upload.head);
    lmbi_update_learn(s, m, &m->upload.head);
    if (!lmbi_round_keeps(s))
        lmb_upload_end(&m->upload);
    if (!lmbi_secure_hides(s)) /* else it still has its part in taking the masks off */
        m->status = MEMBER_DELIVERED;
    return LMB_OK;
}

void lmbi_update_absorbed(lmb_server *s, member *m, lmb_status st, lmb_error *err)
{
    m->status = MEMBER_SELECTED;
    m->progress = lmbi_now(s);
    if (st != LMB_OK) {
        refuse(s, m, st, err);
        return;
    }
    if (took(s, m, err) != LMB_OK) { /* it is in the sum, and cannot be taken out */
        lmbi_server_fail(s, err);
        return;
    }
    lmb_crash_at(&s->crash, LMB_CRASH_ABSORBED);
    lmbi_note_to(m, LMB_MSG_ACCEPTED, m->at.turn, "");
    lmb_crash_at(&s->crash, LMB_CRASH_ACCEPTED);
    if (m->status == MEMBER_SELECTED && m->state == LMB_CLIENT_REVOKED) /* meanwhile; a secure sum waits for it */
        lmbi_member_out(s, m, "it was revoked");
    lmbi_round_look(s);
}

/* ---- on its way ---- */

lmb_upload_rules lmbi_update_rules(lmb_server *s, const lmb_journal_turn *t)
{
    lmb_upload_rules rules = { .round = t->turn,
                               .n = s->job.n,
                               .max_examples = (uint64_t)s->cfg.max_examples,
                               .layout = s->job.layout,
                               .model = t->model,
                               .max_abs = s->cfg.max_abs,
                               .codec = &s->codec,
                               .seed = lmb_codec_seed((uint64_t)s->cfg.seed, t->turn, t->client),
                               .norm_clip = s->cfg.clip_norm,
                               .keep = lmbi_round_keeps(s),
                               .crash = &s->crash };
    if (s->privacy.on) {
        rules.max_examples = 1;
        rules.norm_clip = s->privacy.ledger.clip;
        rules.norm_limit =
            rules.norm_clip * (1 + s->codec.codec->slack); /* what its rounding may add; scaled down again */
    }
    lmbi_secure_rules(s, &rules);
    return rules;
}

void lmbi_update_begin(lmb_server *s, member *m, const lmb_update_message *head)
{
    lmb_upload_rules rules = lmbi_update_rules(s, &m->at);
    lmb_error err = LMB_ERROR_INIT;

    m->stale = false;
    if (m->status == MEMBER_HANDED) /* again, after a lost connection: it is told when the worker is done */
        return;
    if (m->status != MEMBER_SELECTED || s->phase == PHASE_FAREWELL) {
        lmbi_note_to(m, LMB_MSG_REFUSED, head->round, "the round is over, or goes on without this client");
        return;
    }
    if (lmbi_is_async(s) && lmbi_async_too_old(s, m))
        return;
    if (lmbi_secure_has(s, m)) { /* it did not hear so */
        lmbi_note_to(m, LMB_MSG_ACCEPTED, m->at.turn, "");
        return;
    }
    if (lmb_upload_begin(&m->upload, s->spool, m->id, &rules, head, &err) != LMB_OK) {
        out_for(s, m, &err);
        return;
    }
    m->progress = lmbi_now(s);
    if (lmb_upload_complete(&m->upload)) /* the answer to the first time was lost, or an earlier process had it */
        deliver(s, m);
    else
        send_have(m);
}

void lmbi_update_chunk(lmb_server *s, member *m, const lmb_record *r)
{
    lmb_error err = LMB_ERROR_INIT;
    if (m->status != MEMBER_SELECTED || (m->stale && m->upload.fd < 0))
        return; /* on its way while we refused the rest */
    if (lmb_upload_chunk(&m->upload, r, &err) != LMB_OK) {
        out_for(s, m, &err);
        return;
    }
    m->progress = lmbi_now(s);
    if (lmb_upload_complete(&m->upload))
        deliver(s, m);
}
