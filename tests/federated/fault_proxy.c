/* tests/federated/fault_proxy.c - see fault_proxy.h. */
#include "tests/federated/fault_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/random.h"
#include "core/base/threads.h"

enum { LINES = 64, ROOM = 16384, PIECE = 100, UP = 0, DOWN = 1 };
static const double frozen_s = 10; /* then a half-open line is forgotten */

/* One direction; its bytes come from fd[d] of the line and go to fd[!d]. */
typedef struct way {
    uint8_t data[ROOM + PIECE];
    size_t at, n;
    uint64_t passed;
    double ready;
    bool ended, shut;
} way;

typedef struct line {
    int fd[2]; /* client, server; -1: the line is free */
    way way[2];
    fault_kind kind;
    int where_way;
    uint64_t where;
    uint32_t dice; /* for sizes */
    bool struck;
    double frozen;
} line;

struct fault_proxy {
    int listener, port, server_port;
    uint64_t seed;
    uint32_t span, armed;
    atomic_bool stop;
    atomic_int count[FAULTS];
    pthread_t thread;
    line lines[LINES];
};

static void drop_line(line *l, bool reset)
{
    struct linger now = { 1, 0 };
    for (int i = 0; i < 2; i++) {
        if (reset)
            setsockopt(l->fd[i], SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(l->fd[i]);
        l->fd[i] = -1;
    }
}

static int dial_server(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* What will befall a line next, counted from here. */
static void arm(fault_proxy *p, line *l)
{
    lmb_rand r = lmb_rand_at(p->seed, LMB_RAND_TEST, 1, p->armed);
    l->kind = (fault_kind)(1 + p->armed++ % (FAULTS - 1));
    l->where_way = (int)lmb_rand_below(&r, 0, 2);
    l->where = l->way[l->where_way].passed + lmb_rand_below(&r, 1, p->span);
    l->dice = lmb_rand_below(&r, 2, 1u << 30);
    l->struck = false;
}

static void take_connection(fault_proxy *p)
{
    int one = 1, client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC), i = 0;

    if (client < 0)
        return;
    while (i < LINES && p->lines[i].fd[0] >= 0)
        i++;
    int server = i < LINES ? dial_server(p->server_port) : -1;
    if (server < 0) {
        close(client);
        return;
    }
    line *l = &p->lines[i];
    *l = (line){ .fd = { client, server } };
    arm(p, l);
    for (int k = 0; k < 2; k++) {
        setsockopt(l->fd[k], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(l->fd[k], F_SETFL, O_NONBLOCK);
    }
}

/* The fault strikes within what w has just read. False: the line is gone. */
static bool strike(fault_proxy *p, line *l, way *w)
{
    size_t at = (size_t)(l->where - (w->passed - w->n)), left = w->n - at, piece = 1 + l->dice % PIECE;

    if (piece > left)
        piece = left;
    l->struck = true;
    p->count[l->kind]++;
    switch (l->kind) {
    case FAULT_DELAY: /* which a line survives: the next one is for it as well */
        w->ready = lmb_seconds() + 0.001 * (l->dice % 200);
        arm(p, l);
        break;
    case FAULT_DROP:
        memmove(w->data + at, w->data + at + piece, left - piece);
        w->n -= piece;
        break;
    case FAULT_RESET: drop_line(l, true); return false;
    case FAULT_TRUNCATE:
        w->n = at;
        l->way[UP].ended = l->way[DOWN].ended = true;
        break;
    case FAULT_DUPLICATE:
        memmove(w->data + at + piece, w->data + at, left);
        w->n += piece;
        break;
    case FAULT_FLIP: w->data[at] ^= (uint8_t)(1u << l->dice % 8); break;
    case FAULT_HALF_OPEN: l->frozen = lmb_seconds() + frozen_s; break;
    default: break;
    }
    return true;
}

static bool read_way(fault_proxy *p, line *l, int d)
{
    way *w = &l->way[d];
    ssize_t n = read(l->fd[d], w->data, ROOM);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n < 0) { /* a reset goes on as one */
        drop_line(l, true);
        return false;
    }
    if (n == 0)
        w->ended = true;
    w->at = 0;
    w->n = (size_t)n;
    w->passed += (uint64_t)n;
    if (!l->struck && d == l->where_way && w->passed > l->where)
        return strike(p, l, w);
    return true;
}

static bool write_way(line *l, int d)
{
    way *w = &l->way[d];
    ssize_t n = send(l->fd[!d], w->data + w->at, w->n, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n < 0) {
        drop_line(l, true);
        return false;
    }
    w->at += (size_t)n;
    w->n -= (size_t)n;
    return true;
}

static void serve_line(fault_proxy *p, line *l, short got[2], double now)
{
    if (l->frozen > 0) {
        if (now > l->frozen)
            drop_line(l, false);
        return;
    }
    for (int d = 0; d < 2; d++) {
        way *w = &l->way[d];
        if (!w->n && !w->ended && got[d] & (POLLIN | POLLHUP | POLLERR) && !read_way(p, l, d))
            return;
        if (l->frozen > 0)
            return;
        if (w->n && now >= w->ready && !write_way(l, d))
            return;
        if (w->ended && !w->n && !w->shut) {
            w->shut = true;
            shutdown(l->fd[!d], SHUT_WR);
        }
    }
    if (l->way[UP].shut && l->way[DOWN].shut)
        drop_line(l, false);
}

static void *run(void *arg)
{
    fault_proxy *p = arg;
    while (!atomic_load(&p->stop)) {
        struct pollfd fd[1 + 2 * LINES];
        double now = lmb_seconds();
        int timeout = 50;

        fd[2 * LINES] = (struct pollfd){ p->listener, POLLIN, 0 };
        for (int i = 0; i < LINES; i++)
            for (int k = 0; k < 2; k++) {
                const line *l = &p->lines[i];
                const way *from = &l->way[k], *to = &l->way[!k];
                short events =
                    (short)((!from->n && !from->ended ? POLLIN : 0) | (to->n && now >= to->ready ? POLLOUT : 0));
                if (l->fd[0] >= 0 && to->n && now < to->ready)
                    timeout = 5;
                /* a side that has said all it had to say would wake us up for ever */
                fd[2 * i + k] = (struct pollfd){ l->frozen > 0 || !events ? -1 : l->fd[k], events, 0 };
            }
        if (poll(fd, 1 + 2 * LINES, timeout) < 0)
            continue;
        if (fd[2 * LINES].revents)
            take_connection(p);
        now = lmb_seconds();
        for (int i = 0; i < LINES; i++)
            if (p->lines[i].fd[0] >= 0)
                serve_line(p, &p->lines[i], (short[2]){ fd[2 * i].revents, fd[2 * i + 1].revents }, now);
    }
    return NULL;
}

fault_proxy *fault_proxy_start(int port, uint64_t seed, uint32_t span)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    fault_proxy *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    for (int i = 0; i < LINES; i++)
        p->lines[i].fd[0] = p->lines[i].fd[1] = -1;
    p->server_port = port;
    p->seed = seed;
    p->span = span;
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->listener >= 0 && bind(p->listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(p->listener, 64) == 0 &&
        getsockname(p->listener, (struct sockaddr *)&a, &n) == 0 && pthread_create(&p->thread, NULL, run, p) == 0) {
        p->port = ntohs(a.sin_port);
        return p;
    }
    if (p->listener >= 0)
        close(p->listener);
    free(p);
    return NULL;
}

int fault_proxy_port(const fault_proxy *p) { return p->port; }
int fault_proxy_count(fault_proxy *p, fault_kind kind) { return atomic_load(&p->count[kind]); }

void fault_proxy_stop(fault_proxy *p)
{
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    for (int i = 0; i < LINES; i++)
        if (p->lines[i].fd[0] >= 0)
            drop_line(&p->lines[i], false);
    close(p->listener);
    free(p);
}
