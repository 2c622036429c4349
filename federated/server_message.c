/* federated/server_message.c - what the server and a client say to each other on a connection that stands.
 *
 * Idea: a peer is a stranger until its handshake is done and its HELLO has opened; only then is anything changed for
 * it (a recorded first flight gets no further). What it says after that counts when it is the member's connection: the
 * one of a client that waits for approval is kept, and not listened to.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "federated/server_parts.h"

/* ---- what it is told ---- */

lmb_task_message lmbi_task(const lmb_server *s)
{
    lmb_task_message t = { .round = s->state.round + 1, .layout = s->job.layout, .n = s->job.n,
                           .model = s->blobs[BLOB_MODEL].id, .graph = s->blobs[BLOB_GRAPH].id,
                           .settings = s->blobs[BLOB_SETTINGS].id,
                           .session = s->blobs[BLOB_SESSION].id };
    snprintf(t.codec, sizeof t.codec, "%s", s->secure ? LMB_SESSION_CODEC : s->codec.text);
    snprintf(t.download, sizeof t.download, "%s", s->download.text);
    if (s->privacy.on)
        t.clip = s->privacy.ledger.clip;
    return t;
}

void lmbi_peer_task(peer *p)
{
    lmb_server *s = p->server;
    lmb_task_message t = lmbi_task(s);

    t.round = p->member->at.turn;
    t.model.hash = p->member->at.model;
    t.seed = lmb_codec_seed((uint64_t)s->cfg.seed, t.round, p->member->id);
    p->sending = NULL; /* of an earlier round */
    lmbi_peer_say(p, LMB_MSG_TASK, &t);
}

/* ---- what it says ---- */

lmb_status lmbi_member_make(lmb_server *s, const uint8_t *key, const lmb_journal_client *c, member **out,
                            lmb_error *err)
{
    size_t align = _Alignof(member), bytes = (sizeof(member) + align - 1) / align * align;
    member *m;
    for (m = s->members; m; m = m->next)
        if (memcmp(m->public_key, key, LMB_NOISE_KEY) == 0) {
            *out = m;
            return LMB_OK;
        }
    lmb_journal_known known;
    LMB_TRY(lmb_journal_known_of(s->journal, c->id, &known, err));
    m = aligned_alloc(align, bytes); /* the running hash inside wants 64 */
    if (!m)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for another client");
    memset(m, 0, bytes);
    memcpy(m->public_key, key, LMB_NOISE_KEY);
    memcpy(m->sign, c->sign, sizeof m->sign);
    m->id = c->id;
    m->known = known;
    memcpy(m->name, c->name, sizeof m->name);
    lmb_upload_init(&m->upload);
    m->next = s->members;
    s->members = m;
    *out = m;
    return LMB_OK;
}

/* Whose connection is this? Nothing changes before HELLO has opened, and its proof with it. */
static lmb_status admit(peer *p, const lmb_hello *hello, lmb_journal_client *client, lmb_error *err)
{
    lmb_server *s = p->server;
    const uint8_t *key = lmb_channel_peer(p->channel);
    int64_t now = (int64_t)time(NULL);
    bool found = false;

    if (lmb_channel_enrolling(p->channel)) {
        lmb_journal_client fresh = { .state = s->cfg.approval ? LMB_CLIENT_WAITING : LMB_CLIENT_APPROVED };
        memcpy(fresh.public_key, key, sizeof fresh.public_key);
        memcpy(fresh.sign, hello->sign, sizeof fresh.sign);
        memcpy(fresh.name, hello->name, sizeof fresh.name);
        LMB_TRY(lmb_journal_enrol(s->journal, lmb_channel_token(p->channel), &fresh, now, err));
    }
    LMB_TRY(lmb_journal_find_client(s->journal, key, client, &found, err));
    if (!found)
        return LMB_FAIL(err, LMB_E_DENIED, "this client is not enrolled; ask for an invite");
    if (client->state == LMB_CLIENT_REVOKED)
        return LMB_FAIL(err, LMB_E_DENIED, "client %" PRId64 " (%s) was revoked; ask the people who run the federation",
                        client->id, client->name);
    if (memcmp(client->sign, hello->sign, sizeof client->sign) != 0)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "client %" PRId64 " (%s) enrolled with another signing key; restore its sign.key, "
                        "or remove both keys and ask for an invite",
                        client->id, client->name);
    return lmb_journal_seen(s->journal, key, lmb_channel_time(p->channel), now, err);
}

static lmb_status take_hello(peer *p, const lmb_record *r, lmb_error *err)
{
    lmb_server *s = p->server;
    const uint8_t *key = lmb_channel_peer(p->channel);
    lmb_journal_client client;
    lmb_hello hello;
    member *m = NULL;

    LMB_TRY(lmb_hello_read(r, p->channel, &hello, err));
    LMB_TRY(admit(p, &hello, &client, err));
    LMB_TRY(lmbi_member_make(s, key, &client, &m, err));
    lmb_crash_at(&s->crash, LMB_CRASH_ENROLLED);
    if (m->peer) /* the old connection died unnoticed */
        lmbi_peer_close(m->peer);
    if (m->waiting)
        lmbi_peer_close(m->waiting);
    m->state = client.state;
    m->told = m->paced = false;
    p->member = m;
    lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "client %" PRId64 " (%s, %s) %s", m->id, m->name, p->address,
               lmb_channel_enrolling(p->channel) ? "enrolled" : "connected");
    lmbi_people_arrived(p);
    return LMB_OK;
}

static lmb_status take_want(peer *p, const lmb_record *r, lmb_error *err)
{
    lmb_server *s = p->server;
    lmb_want want;
    LMB_TRY(lmb_message_read(r, &want, err));
    for (int i = 0; i < BLOBS; i++) {
        const blob *b = &s->blobs[i];
        if (memcmp(&b->id.hash, &want.blob.hash, sizeof b->id.hash) != 0 || b->id.bytes != want.blob.bytes)
            continue;
        if (want.offset > b->id.bytes)
            return LMB_FAIL(err, LMB_E_FORMAT, "the client asks for byte %" PRIu64 " of %" PRIu64, want.offset,
                            b->id.bytes);
        p->sending = want.offset < b->id.bytes ? b : NULL;
        p->send_at = want.offset;
        p->send_message = r->message;
        return LMB_OK;
    }
    if (lmbi_is_async(s) && p->member->status == MEMBER_SELECTED && s->phase == PHASE_ASYNC &&
        memcmp(&want.blob.hash, &p->member->at.model, sizeof want.blob.hash) == 0)
        lmbi_async_renew(s, p->member);
    return LMB_OK; /* of a round that is over: its TASK is on the way */
}

lmb_status lmbi_peer_take(peer *p, const lmb_record *r, lmb_error *err)
{
    lmb_server *s = p->server;
    member *m = p->member;
    union {
        lmb_alive alive;
        lmb_update_message update;
        lmb_round_note note;
        lmb_rotate_message rotate;
    } u;

    if (!m)
        return take_hello(p, r, err);
    if (r->type == LMB_MSG_ROTATE) {
        LMB_TRY(lmb_message_read(r, &u.rotate, err));
        return lmbi_people_rotate(p, &u.rotate, err);
    }
    if (r->type == LMB_MSG_ALIVE) {
        LMB_TRY(lmb_message_read(r, &u.alive, err));
        if (m->peer == p && u.alive.round == m->at.turn && u.alive.steps > m->steps) {
            m->steps = u.alive.steps;
            m->progress = lmbi_now(s);
        }
        return lmb_message_send(p->channel, LMB_MSG_ALIVE, &u.alive,
                                err); /* how it knows that the line still carries */
    }
    if (m->peer != p)
        return LMB_OK; /* it waits, and does not know yet */
    switch (r->type) {
    case LMB_MSG_WANT: return take_want(p, r, err);
    case LMB_MSG_UPDATE:
        LMB_TRY(lmb_message_read(r, &u.update, err));
        lmbi_update_begin(s, m, &u.update);
        return LMB_OK;
    case LMB_MSG_CHUNK: lmbi_update_chunk(s, m, r); return LMB_OK;
    case LMB_MSG_SECAGG: lmbi_secure_message(s, m, r); return LMB_OK;
    case LMB_MSG_FAILED:
        LMB_TRY(lmb_message_read(r, &u.note, err));
        if (u.note.round == m->at.turn && m->status == MEMBER_SELECTED) {
            char text[LMB_FED_SENTENCE + 32];
            snprintf(text, sizeof text, "it could not train: %s", u.note.sentence);
            lmbi_member_out(s, m, text);
        }
        return LMB_OK;
    default: return LMB_FAIL(err, LMB_E_FORMAT, "message type %u is not one a client sends", r->type);
    }
}
