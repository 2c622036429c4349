/* federated/client_link.c - the client's connection: sockets and poll() around a channel. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/threads.h"
#include "federated/client_parts.h"
#include "federated/lookup.h"

static const double alive_s = 5; /* or thrice in idle_s: the server answers, and that is how we know that it is there */

static void drain_wake(lmb_client *c)
{
    char buf[64];
    while (read(c->wake[0], buf, sizeof buf) > 0)
        ;
}

static lmb_status connect_one(lmb_client *c, const struct sockaddr *to, socklen_t bytes, lmb_error *err)
{
    int one = 1, problem = 0, dead_ms = 60000;
    socklen_t n = sizeof problem;
    struct pollfd p[2] = { { -1, POLLOUT, 0 }, { c->wake[0], POLLIN, 0 } };

    c->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return LMB_FAIL(err, LMB_E_IO, "cannot make a socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* A server that vanished without a word: what we send goes unanswered, and after a minute that is an error. */
    setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms);
    if (connect(c->fd, to, bytes) != 0 && errno != EINPROGRESS)
        problem = errno;
    drain_wake(c);
    p[0].fd = c->fd;
    if (!problem && !atomic_load(&c->stop) && poll(p, 2, (int)(c->cfg.connect_s * 1000)) <= 0)
        problem = ETIMEDOUT;
    if (!problem && !p[0].revents) /* lmb_client_stop, or a training that is done: try again, if there is any again */
        problem = EINTR;
    if (!problem && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &n) != 0)
        problem = errno;
    if (!problem)
        return LMB_OK;
    lmbi_link_close(c);
    return LMB_FAIL(err, LMB_E_PEER, "cannot connect to %s port %u: %s", c->invite.host, c->invite.port,
                    strerror(problem));
}

static lmb_status connect_any(lmb_client *c, lmb_error *err)
{
    lmbi_addresses found;
    lmb_status st = LMB_E_PEER;

    LMB_TRY(lmbi_lookup(c->invite.host, c->invite.port, &found, err));
    for (int i = 0; i < found.n && st != LMB_OK; i++)
        st = connect_one(c, (const struct sockaddr *)&found.list[i].at, found.list[i].bytes, err);
    if (st == LMB_OK && err)
        lmb_error_clear(err);
    return st;
}

lmb_status lmbi_link_open(lmb_client *c, lmb_error *err)
{
    uint64_t time;
    c->greeted = c->heard = c->uploading = false;
    c->has_task = false; /* the server says again what it wants; to offer before it does is to offer twice */
    c->fetching = -1;
    LMB_TRY(lmbi_client_clock(c, &time, err));
    LMB_TRY(connect_any(c, err));
    c->last_alive = c->last_heard = lmb_seconds();
    return lmb_channel_client(c->secret, c->invite.server_public, c->enrolled ? NULL : &c->token, time, &c->channel,
                              err);
}

void lmbi_link_close(lmb_client *c)
{
    size_t n;
    const void *out;
    if (c->channel && c->fd >= 0) { /* the last words, if they fit */
        out = lmb_channel_output(c->channel, &n);
        if (n && send(c->fd, out, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            /* the connection is gone; nothing to be done */
        }
    }
    lmb_channel_destroy(c->channel);
    c->channel = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static lmb_status flush(lmb_client *c, lmb_error *err)
{
    size_t n;
    const void *out;
    while ((out = lmb_channel_output(c->channel, &n)) != NULL) {
        ssize_t sent = send(c->fd, out, n, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return LMB_OK;
        if (sent < 0)
            return LMB_FAIL(err, LMB_E_PEER, "the connection broke: %s", strerror(errno));
        lmb_channel_sent(c->channel, (size_t)sent);
        if (c->has_result && c->sent)
            lmb_crash_at(&c->crash, LMB_CRASH_CLIENT_PART);
        LMB_TRY(lmbi_work_step(c, err)); /* more chunks, now that there is room */
    }
    return LMB_OK;
}

/* Greet as soon as the handshake is done; show life now and then. */
static lmb_status greet(lmb_client *c, lmb_error *err)
{
    double now = lmb_seconds();
    lmb_alive alive = { .round = c->work.round, .steps = atomic_load(&c->steps) };
    if (!lmb_channel_ready(c->channel)) {
        if (now - c->last_alive > c->cfg.connect_s) /* since lmbi_link_open */
            return LMB_FAIL(err, LMB_E_PEER,
                            "%s port %u accepts connections and does not finish the handshake in %g s (connect_s)",
                            c->invite.host, c->invite.port, c->cfg.connect_s);
        return LMB_OK;
    }
    if (!c->greeted) {
        lmb_hello hello = { .version = LMB_FED_VERSION };
        if (*c->cfg.name)
            snprintf(hello.name, sizeof hello.name, "%s", c->cfg.name);
        else if (gethostname(hello.name, sizeof hello.name - 1) != 0)
            snprintf(hello.name, sizeof hello.name, "client");
        lmb_hello_prove(&hello, c->channel, c->sign_secret);
        c->greeted = true;
        LMB_TRY(lmb_message_send(c->channel, LMB_MSG_HELLO, &hello, err));
        LMB_TRY(lmbi_trust_greet(c, err));
        return lmb_message_send(c->channel, LMB_MSG_ALIVE, &alive, err); /* its answer says that we are welcome */
    }
    if (now - c->last_heard > c->cfg.idle_s)
        return LMB_FAIL(err, LMB_E_PEER, "the server was silent for %g s (idle_s)", c->cfg.idle_s);
    if (now - c->last_alive < (c->cfg.idle_s / 3 < alive_s ? c->cfg.idle_s / 3 : alive_s))
        return LMB_OK;
    c->last_alive = now;
    return lmb_message_send(c->channel, LMB_MSG_ALIVE, &alive, err);
}

/* Bytes that do not authenticate may be an accident of the line: come back, but not for ever. */
static lmb_status broken(lmb_client *c, lmb_error *err)
{
    c->rejected++;
    if (err)
        err->status = LMB_E_PEER;
    return LMB_E_PEER;
}

static lmb_status handle(lmb_client *c, const uint8_t *data, size_t n, lmb_error *err)
{
    while (n) {
        size_t used = lmb_channel_feed(c->channel, data, n);
        bool got = true;
        data += used;
        n -= used;
        while (got && !c->finished && c->later <= 0) {
            lmb_record r;
            if (lmb_channel_next(c->channel, &r, &got, err) != LMB_OK)
                return broken(c, err);
            if (got)
                LMB_TRY(lmbi_work_message(c, &r, err));
        }
        if (c->finished || c->later > 0)
            return LMB_OK;
        if (lmb_channel_ended(c->channel))
            return LMB_FAIL(err, LMB_E_PEER, "the server closed the connection");
    }
    return LMB_OK;
}

static lmb_status receive(lmb_client *c, lmb_error *err)
{
    uint8_t buf[65536];
    ssize_t n = recv(c->fd, buf, sizeof buf, 0);
    if (n > 0)
        c->last_heard = lmb_seconds();
    if (n > 0)
        return handle(c, buf, (size_t)n, err);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return LMB_OK;
    if (!c->heard)
        c->rejected++;
    if (!lmb_channel_ready(c->channel) || !c->heard)
        return LMB_FAIL(err, LMB_E_PEER, "the server broke off the handshake; if this goes on, %s",
                        c->enrolled ? "this client's clock or key changed, or the server has a new key: ask for a "
                                      "new invite"
                                    : "the invite is wrong: ask for a new one");
    return LMB_FAIL(err, LMB_E_PEER, "the server closed the connection%s%s", n ? ": " : " without a word",
                    n ? strerror(errno) : "");
}

lmb_status lmbi_link_turn(lmb_client *c, double seconds, lmb_error *err)
{
    struct pollfd p[2] = { { c->fd, POLLIN, 0 }, { c->wake[0], POLLIN, 0 } };
    size_t waiting;

    LMB_TRY(greet(c, err));
    LMB_TRY(lmbi_work_step(c, err));
    LMB_TRY(flush(c, err));
    if (c->greeted && !c->heard)
        lmb_crash_at(&c->crash, LMB_CRASH_CLIENT_GREETED);
    if (c->offered && !c->sent)
        lmb_crash_at(&c->crash, LMB_CRASH_CLIENT_OFFERED);
    lmb_channel_output(c->channel, &waiting);
    if (waiting)
        p[0].events |= POLLOUT;
    if (poll(p, 2, (int)(seconds * 1000)) < 0 && errno != EINTR)
        return LMB_FAIL(err, LMB_E_IO, "poll: %s", strerror(errno));
    if (p[1].revents)
        drain_wake(c);
    if (p[0].revents & (POLLIN | POLLHUP | POLLERR))
        return receive(c, err);
    return LMB_OK;
}

void lmbi_link_pause(lmb_client *c, double seconds)
{
    double end = lmb_seconds() + seconds, left;
    while ((left = end - lmb_seconds()) > 0 && !atomic_load(&c->stop)) {
        struct pollfd p = { c->wake[0], POLLIN, 0 };
        if (poll(&p, 1, (int)(left * 1000) + 1) > 0)
            drain_wake(c);
    }
}
