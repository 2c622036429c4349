/* tests/federated/raw.h - a client without manners: a channel over a blocking socket, to say what an honest one never
 * would. */
#ifndef LMB_TESTS_FEDERATED_RAW_H
#define LMB_TESTS_FEDERATED_RAW_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "federated/messages.h"
#include "tests/federated/world.h"

static lmb_error err;

typedef struct raw {
    int fd;
    lmb_channel *channel;
    uint8_t secret[32], sign_secret[LMB_SIGN_SECRET];
    uint8_t body[LMB_RECORD_BODY];
    lmb_invite invite;
} raw;

static inline int dial(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval limit = { 10, 0 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static inline void raw_flush(raw *r)
{
    size_t n;
    const void *p;
    while ((p = lmb_channel_output(r->channel, &n)) != NULL) {
        ssize_t sent = send(r->fd, p, n, MSG_NOSIGNAL);
        lmb_channel_sent(r->channel, sent > 0 ? (size_t)sent : n);
    }
}

/* The next record, or false when the connection is over. */
static inline bool raw_next(raw *r, lmb_record *out)
{
    bool got = false;
    for (;;) {
        uint8_t buf[4096];
        ssize_t n;
        if (lmb_channel_next(r->channel, out, &got, NULL) != LMB_OK)
            return false;
        if (got) {
            memcpy(r->body, out->body, out->bytes);
            out->body = r->body;
            return true;
        }
        raw_flush(r);
        n = recv(r->fd, buf, lmb_channel_ready(r->channel) ? sizeof buf : 64, 0);
        if (n <= 0)
            return false;
        lmb_channel_feed(r->channel, buf, (size_t)n);
    }
}

static inline bool raw_wait(raw *r, lmb_message_type type, lmb_record *out)
{
    while (raw_next(r, out))
        if (out->type == type)
            return true;
    return false;
}

/* Drive the handshake until the channel is ready; false when the server breaks it off. */
static inline bool raw_shake(raw *r)
{
    lmb_record unused;
    bool got;
    for (;;) {
        uint8_t buf[256];
        ssize_t n;
        raw_flush(r);
        if (lmb_channel_ready(r->channel))
            return true;
        n = recv(r->fd, buf, sizeof buf, 0);
        if (n <= 0)
            return false;
        lmb_channel_feed(r->channel, buf, (size_t)n);
        if (lmb_channel_next(r->channel, &unused, &got, NULL) != LMB_OK)
            return false;
    }
}

static inline void raw_open(raw *r, int port, const lmb_token *token, uint64_t time)
{
    r->fd = dial(port);
    ck_ok(lmb_channel_client(r->secret, r->invite.server_public, token, time, &r->channel, &err));
}

static inline void raw_close(raw *r)
{
    lmb_channel_destroy(r->channel);
    close(r->fd);
}

static inline void raw_hello(raw *r, uint32_t version)
{
    lmb_hello hello = { .version = version, .name = "mallory\n\x1b[31m" };
    lmb_hello_prove(&hello, r->channel, r->sign_secret);
    ck_ok(lmb_message_send(r->channel, LMB_MSG_HELLO, &hello, &err));
    raw_flush(r);
}

/* A fresh key and an invite of its own. */
static inline lmb_token raw_invite(world *w, raw *r)
{
    uint8_t unused[32];
    char text[LMB_SERVER_INVITE];
    err = (lmb_error)LMB_ERROR_INIT;
    memset(r, 0, sizeof *r);
    ck_ok(lmb_server_invite(w->state, "127.0.0.1", lmb_server_port(w->server), 600, text, &err));
    ck_ok(lmb_invite_parse(text, &r->invite, &err));
    lmb_noise_keygen(r->secret, unused);
    crypto_sign_keypair(unused, r->sign_secret);
    return lmb_token_derive(r->invite.token);
}

/* Enrol, and wait for the task of the round. */
static inline lmb_task_message join(world *w, raw *r)
{
    lmb_token t = raw_invite(w, r);
    lmb_record rec;
    lmb_task_message task;
    raw_open(r, lmb_server_port(w->server), &t, 0);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION);
    ck_assert(raw_wait(r, LMB_MSG_TASK, &rec));
    ck_ok(lmb_message_read(&rec, &task, &err));
    return task;
}

static inline lmb_update_message honest(const lmb_task_message *t, const float *values)
{
    lmb_update_message m = { .round = t->round,
                                 .layout = t->layout,
                                 .model = t->model.hash,
                                 .n = t->n,
                                 .examples = 5,
                                 .blob = { lmb_hash_of(values, t->n * sizeof *values), t->n * sizeof *values } };
    memcpy(m.codec, t->codec, sizeof m.codec);
    return m;
}

static inline void send_values(raw *r, const float *values, size_t n)
{
    for (size_t at = 0; at < n * sizeof *values; at += LMB_RECORD_BODY) {
        size_t left = n * sizeof *values - at;
        lmb_record c = { LMB_MSG_CHUNK, 0, at, (const uint8_t *)values + at,
                         left < LMB_RECORD_BODY ? left : LMB_RECORD_BODY };
        if (lmb_channel_send(r->channel, &c, NULL) != LMB_OK)
            return;
    }
    raw_flush(r);
}

#endif
