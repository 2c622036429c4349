/* federated/server_peer.c - one connection of the server: bytes in and out; what they say is server_message.c.
 *
 * Idea: whatever a peer sends against the rules ends the connection with one
 * sentence in the log and, if the channel stands, one to the client. Output is bounded: a transfer seals the next
 * chunk only when what was there has left, so a slow reader costs one chunk, however many there are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "federated/server_parts.h"

enum {
    ANSWERS_MAX = 512 * 1024 /* bytes of anything: whoever asks on and reads no answer is sent away */
};
static const double handshake_s = 10;

static const char *who(const peer *p, char buf[160])
{
    if (p->member)
        snprintf(buf, 160, "client %" PRId64 " (%s, %s)", p->member->id, p->member->name, p->address);
    else
        snprintf(buf, 160, "%s", p->address);
    return buf;
}

/* ---- closing ---- */

static void on_closed(uv_handle_t *h)
{
    peer *p = h->data;
    lmb_channel_destroy(p->channel);
    free(p->wire);
    free(p);
}

void lmbi_peer_close(peer *p)
{
    lmb_server *s = p->server;
    if (p->closing)
        return;
    p->closing = true;
    if (p->member && p->member->peer == p) {
        p->member->peer = NULL;
        p->member->gone = lmbi_now(s);
    }
    if (p->member && p->member->waiting == p)
        p->member->waiting = NULL;
    if (p->previous)
        p->previous->next = p->next;
    else
        s->peers = p->next;
    if (p->next)
        p->next->previous = p->previous;
    s->n_peers--;
    s->worker.held -= p->held;
    uv_close((uv_handle_t *)&p->tcp, on_closed);
}

/* ---- writing ---- */

static void on_written(uv_write_t *w, int status)
{
    peer *p = w->data;
    p->writing = false;
    free(p->wire);
    p->wire = NULL;
    if (status < 0)
        lmbi_peer_close(p);
    else
        lmbi_peer_flush(p);
}

/* Put the next chunk of the transfer into the channel when nothing waits there. */
static lmb_status pump(peer *p, lmb_error *err)
{
    size_t waiting;
    secure_member *m = p->member ? &p->member->secure : NULL;
    lmb_channel_output(p->channel, &waiting);
    if (waiting)
        return LMB_OK;
    if (m && m->out_at < m->out.n) {
        lmb_record r = lmb_piece_at(m->out.text, m->out.n, m->out_at);
        LMB_TRY(lmb_channel_send(p->channel, &r, err));
        m->out_at += r.bytes;
        p->member->progress = lmbi_now(p->server);
    } else if (p->sending) {
        uint64_t left = p->sending->id.bytes - p->send_at;
        lmb_record r = { LMB_MSG_CHUNK, p->send_message, p->send_at, p->sending->data + p->send_at,
                         left < LMB_CHUNK ? (size_t)left : LMB_CHUNK };
        LMB_TRY(lmb_channel_send(p->channel, &r, err));
        p->send_at += r.bytes;
        p->member->progress = lmbi_now(p->server);
        if (p->send_at == p->sending->id.bytes)
            p->sending = NULL;
    }
    return LMB_OK;
}

void lmbi_peer_flush(peer *p)
{
    uv_buf_t buf;
    size_t n;

    if (p->closing || p->writing)
        return;
    if (pump(p, NULL) != LMB_OK) {
        lmbi_peer_close(p);
        return;
    }
    p->wire = lmb_channel_take(p->channel, &n);
    if (!n) {
        /* To close with unread bytes of the client at hand would reset the connection, and take the last words from
         * it before it has read them: say that this was the end, and let it hang up. */
        if (p->told && !p->shut) {
            p->shut = true;
            if (uv_shutdown(&p->shutdown, (uv_stream_t *)&p->tcp, NULL) != 0)
                lmbi_peer_close(p);
        }
        return;
    }
    p->server->report.bytes_out += n;
    buf = uv_buf_init((char *)p->wire, (unsigned)n);
    p->writing = true;
    if (uv_write(&p->write, (uv_stream_t *)&p->tcp, &buf, 1, on_written) != 0) {
        p->writing = false;
        lmbi_peer_close(p);
    }
}

void lmbi_peer_say(peer *p, lmb_message_type type, const void *message)
{
    if (p->closing || p->told)
        return;
    if (lmb_message_send(p->channel, type, message, NULL) != LMB_OK)
        lmbi_peer_close(p);
    else
        lmbi_peer_flush(p);
}

void lmbi_peer_farewell(peer *p, lmb_message_type type, const void *message)
{
    if (p->closing || p->told)
        return;
    p->sending = NULL;
    if (!lmb_channel_ready(p->channel) || lmb_message_send(p->channel, type, message, NULL) != LMB_OK) {
        lmbi_peer_close(p);
        return;
    }
    lmb_channel_close(p->channel);
    p->told = true;
    p->since = lmbi_now(p->server);
    lmbi_peer_flush(p);
}

/* When the fault is ours (a full disk), it may come again, and our paths are none of its business. */
void lmbi_peer_expel(peer *p, const lmb_error *e)
{
    bool ours = e->status == LMB_E_IO || e->status == LMB_E_NOMEM;
    char name[160];
    member *m = p->member;
    lmb_round_note note = { .round = p->server->state.round + 1, .status = !ours };
    if (m)
        lmb_log_at(p->server->job.log, LMB_LOG_WARN, "federated", "%s is %s: %s", who(p, name),
                   ours ? "sent away" : "refused", e->msg);
    else
        lmbi_stranger(p->server, "%s is %s: %s", p->address, ours ? "sent away" : "refused", e->msg);
    snprintf(note.sentence, sizeof note.sentence, "%s",
             ours ? "the server has a problem of its own; try again later" : e->msg);
    lmbi_peer_farewell(p, LMB_MSG_REFUSED, &note);
    if (m && m->waiting == p)
        m->waiting = NULL;
    if (!m || m->peer != p || p->closing)
        return;
    m->peer = NULL; /* it reads its sentence and goes; no round may count on it */
    m->gone = lmbi_now(p->server);
    if (ours)
        return;
    m->told = true; /* no farewell need wait for it either */
    if (m->status == MEMBER_SELECTED)
        lmbi_member_out(p->server, m, "it was refused");
}

/* ---- reading ---- */

static void give_buffer(uv_handle_t *h, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* It brings an upload while too many wait already. */
static bool to_be_held(const peer *p)
{
    return !p->held && !p->closing && !p->told && p->member && p->member->peer == p &&
           p->member->status == MEMBER_SELECTED && p->member->upload.fd >= 0 && lmbi_worker_crowded(p->server);
}

/* Between two records, where its channel keeps nothing: thousands may be held at once. give_buffer sees to it that they
 * come there. */
static void hold(peer *p)
{
    if (!to_be_held(p) || lmb_channel_missing(p->channel))
        return;
    p->held = true;
    p->server->worker.held++;
    uv_read_stop((uv_stream_t *)&p->tcp);
}

void lmbi_peers_resume(lmb_server *s)
{
    for (peer *p = s->peers, *next; p; p = next) {
        next = p->next;
        if (!p->held || p->closing)
            continue;
        p->held = false;
        s->worker.held--;
        p->heard = lmbi_now(s);
        if (p->member && p->member->peer == p)
            p->member->progress = p->heard;
        if (uv_read_start((uv_stream_t *)&p->tcp, give_buffer, on_read) != 0)
            lmbi_peer_close(p);
    }
}

static lmb_status check_answers(const peer *p, lmb_error *err)
{
    size_t waiting;
    lmb_channel_output(p->channel, &waiting);
    if (waiting > ANSWERS_MAX)
        return LMB_FAIL(err, LMB_E_FORMAT, "it sends and does not read: %zu bytes of answers wait for it", waiting);
    return LMB_OK;
}

static void work(peer *p, const uint8_t *data, size_t n)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_status st = LMB_OK;
    bool got;

    do {
        size_t used = lmb_channel_feed(p->channel, data, n);
        data += used;
        n -= used;
        do {
            lmb_record r;
            st = lmb_channel_next(p->channel, &r, &got, &err);
            if (st == LMB_OK && got)
                st = lmbi_peer_take(p, &r, &err);
            if (st == LMB_OK && got && !p->closing)
                st = check_answers(p, &err);
        } while (st == LMB_OK && got && !p->closing && !p->told);
    } while (st == LMB_OK && n && !p->closing && !p->told);
    if (p->closing)
        return;
    if (st != LMB_OK)
        lmbi_peer_expel(p, &err);
    else if (lmb_channel_ended(p->channel))
        lmbi_peer_close(p);
    else
        lmbi_peer_flush(p);
}

static void give_buffer(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    const peer *p = h->data;
    size_t missing = lmb_channel_missing(p->channel), n = sizeof p->server->inbox;

    (void)suggested;
    if (missing && missing < n && to_be_held(p))
        n = missing;
    *buf = uv_buf_init((char *)p->server->inbox, (unsigned)n);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    peer *p = stream->data;
    char name[160];
    if (n == 0 || p->closing)
        return;
    if (n < 0) {
        if (!p->member && !p->told)
            lmbi_stranger(p->server, "%s hung up before it had proved its key", p->address);
        else if (!p->told)
            lmb_log_at(p->server->job.log, LMB_LOG_INFO, "federated", "%s: connection lost", who(p, name));
        lmbi_peer_close(p);
        return;
    }
    p->heard = lmbi_now(p->server);
    p->server->report.bytes_in += (uint64_t)n;
    if (!p->told)
        work(p, (const uint8_t *)buf->base, (size_t)n);
    hold(p);
}

/* ---- what the channel asks ---- */

static lmb_status gate_token(void *ctx, const uint8_t id[LMB_TOKEN_ID], uint8_t psk[LMB_NOISE_KEY], lmb_error *err)
{
    peer *p = ctx;
    return lmb_journal_token(p->server->journal, id, psk, err);
}

static lmb_status gate_fresh(void *ctx, const uint8_t key[LMB_NOISE_KEY], uint64_t time, lmb_error *err)
{
    peer *p = ctx;
    lmb_journal_client client;
    bool found = false;
    LMB_TRY(lmb_journal_find_client(p->server->journal, key, &client, &found, err));
    if (time >= 1ull << 62 || (found && time <= client.last_time))
        return LMB_FAIL(err, LMB_E_DENIED,
                        "its first message is one that client %" PRId64 " (%s) sent before: "
                        "recorded and replayed, or the client's clock went back",
                        found ? client.id : 0, found ? client.name : "unknown");
    return LMB_OK; /* a key that is not enrolled is told so once it has proved itself */
}

static void name_address(peer *p)
{
    struct sockaddr_storage a;
    int n = sizeof a, port = 0;
    char host[50] = "unknown address";
    if (uv_tcp_getpeername(&p->tcp, (struct sockaddr *)&a, &n) == 0) {
        if (a.ss_family == AF_INET6) {
            uv_ip6_name((const struct sockaddr_in6 *)&a, host, sizeof host);
            port = ntohs(((const struct sockaddr_in6 *)&a)->sin6_port);
        } else {
            uv_ip4_name((const struct sockaddr_in *)&a, host, sizeof host);
            port = ntohs(((const struct sockaddr_in *)&a)->sin_port);
        }
    }
    snprintf(p->address, sizeof p->address, "%s port %d", host, port);
}

void lmbi_peer_accept(uv_stream_t *listener, int status)
{
    lmb_server *s = listener->data;
    peer *p;
    lmb_channel_gate gate = { gate_token, gate_fresh, NULL, s->vault };

    if (status < 0 || !(p = calloc(1, sizeof *p)))
        return;
    gate.ctx = p;
    p->server = s;
    p->tcp.data = p->write.data = p;
    p->since = p->heard = lmbi_now(s);
    uv_tcp_init(&s->loop, &p->tcp);
    p->next = s->peers;
    if (s->peers)
        s->peers->previous = p;
    s->peers = p;
    s->n_peers++;
    if (uv_accept(listener, (uv_stream_t *)&p->tcp) != 0 ||
        lmb_channel_server(s->secret, &gate, &p->channel, NULL) != LMB_OK) {
        lmbi_peer_close(p);
        return;
    }
    if (s->people.rotating)
        lmb_channel_also(p->channel, s->people.next_secret);
    name_address(p);
    if (s->n_peers > s->cfg.max_clients) {
        lmbi_stranger(s, "%s is turned away: %lld connections are open (max_clients)", p->address,
                      (long long)s->cfg.max_clients);
        lmbi_peer_close(p);
        return;
    }
    uv_tcp_nodelay(&p->tcp, 1);
    if (uv_read_start((uv_stream_t *)&p->tcp, give_buffer, on_read) != 0)
        lmbi_peer_close(p);
}

/* Hang up on the silent: strangers soon, clients that send no sign of life later. */
void lmbi_peers_check(lmb_server *s)
{
    double now = lmbi_now(s);
    lmbi_people_check(s);
    lmbi_board_check(s);
    lmbi_strangers_check(s, false);
    for (peer *p = s->peers, *next; p; p = next) {
        char name[160];
        next = p->next;
        if (p->closing)
            continue;
        if (p->told && now - p->since > handshake_s) {
            lmbi_peer_close(p); /* it had its time to read the last words, and holds a place */
        } else if (!p->member && !p->told && now - p->since > handshake_s) {
            lmbi_stranger(s, "%s did not prove a key within %g s", p->address, handshake_s);
            lmbi_peer_close(p);
        } else if (!p->held && now - p->heard > s->cfg.idle_s) {
            lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "%s was silent for %g s (idle_s)", who(p, name),
                       s->cfg.idle_s);
            lmbi_peer_close(p);
        }
    }
}
