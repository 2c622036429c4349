/* federated/board_get.c - asking a running server for its status: one request of HTTP/1.0, bounded in size and time. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/threads.h"
#include "federated/board_http.h"

enum { ANSWER_MAX = 16 << 20, PATIENCE_S = 3, ANSWER_S = 20 }; /* for the next bytes, for all of them */

const lmb_field lmb_board_fields[] = {
    LMB_TEXT(lmb_board_config, address, "127.0.0.1",
             "numeric address of the page; this machine alone unless told otherwise"),
    LMB_INT(lmb_board_config, port, 7101, 0, 65535, "", "TCP port of the page; 0 lets the system choose"),
    LMB_FIELD_END,
};

lmb_status lmb_board_config_of(const struct lmb_tree *tree, lmb_board_config *out, lmb_error *err)
{
    uint8_t any[sizeof(struct in6_addr)];
    LMB_TRY(lmb_fields_bind(lmb_board_fields, tree, out, err));
    if (inet_pton(AF_INET, out->address, any) != 1 && inet_pton(AF_INET6, out->address, any) != 1)
        return LMB_FAIL(err, LMB_E_ARG, "status.address '%.60s' is not numeric; 127.0.0.1 is this machine alone",
                        out->address);
    return LMB_OK;
}

static int dial(const lmb_board_config *c)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *a;
    struct timeval limit = { PATIENCE_S, 0 };
    const char *address = !strcmp(c->address, "0.0.0.0") ? "127.0.0.1" : !strcmp(c->address, "::") ? "::1" : c->address;
    char port[8];
    int fd;

    snprintf(port, sizeof port, "%d", (int)c->port);
    if (getaddrinfo(address, port, &hints, &a) != 0)
        return -1;
    fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(a);
    return fd;
}

lmb_status lmb_board_get(const lmb_board_config *c, const char *path, lmb_str *out, lmb_error *err)
{
    char request[256], buf[8192];
    lmb_str all = LMB_STR_INIT;
    const char *body = NULL;
    int fd = dial(c), n = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
    double end = lmb_seconds() + ANSWER_S;
    ssize_t got = -1;

    if (fd < 0 || n >= (int)sizeof request)
        return LMB_FAIL(err, LMB_E_PEER, "no server shows its status on %s port %lld", c->address, (long long)c->port);
    if (send(fd, request, (size_t)n, MSG_NOSIGNAL) == n)
        while (all.n < ANSWER_MAX && lmb_seconds() < end && (got = recv(fd, buf, sizeof buf, 0)) > 0)
            lmb_str_add_n(&all, buf, (size_t)got);
    close(fd);
    if (got == 0 && all.n > 12 && strncmp(all.text, "HTTP/1.", 7) == 0 && strncmp(all.text + 8, " 200", 4) == 0)
        body = strstr(all.text, "\r\n\r\n");
    if (body)
        lmb_str_add_n(out, body + 4, all.n - (size_t)(body + 4 - all.text));
    lmb_str_free(&all);
    return body ? lmb_str_check(out, err)
                : LMB_FAIL(err, LMB_E_PEER, "what answers on %s port %lld does not tell a federation's status",
                           c->address, (long long)c->port);
}
