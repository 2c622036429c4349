/* federated/board_http.c - see board_http.h; over libmicrohttpd. */
#include "federated/board_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CONNECTIONS = 32, PATIENCE_S = 10 };

struct lmb_board_http {
    struct MHD_Daemon *daemon;
    bool loopback;
    pthread_mutex_t lock; /* over text: held for a copy or an exchange of pointers */
    lmb_str text[LMB_BOARD_TEXTS];
};

static const struct {
    const char *path, *type;
} pages[LMB_BOARD_TEXTS] = {
    [LMB_BOARD_PAGE] = { "/", "text/html; charset=utf-8" },
    [LMB_BOARD_JSON] = { "/status.json", "application/json" },
    [LMB_BOARD_TEXT] = { "/status.txt", "text/plain; charset=utf-8" },
    [LMB_BOARD_METRICS] = { "/metrics", "text/plain; version=0.0.4; charset=utf-8" },
};

static enum MHD_Result answer(struct MHD_Connection *c, unsigned code, const char *type, const void *body, size_t n)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(n, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result done;
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, "Content-Type", type);
    MHD_add_response_header(r, "Content-Security-Policy",
                            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(r, "Cache-Control", "no-store");
    done = MHD_queue_response(c, code, r);
    MHD_destroy_response(r);
    return done;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned code, const char *sentence)
{
    return answer(c, code, "text/plain", sentence, strlen(sentence));
}

/* Whole: 127.example.org is anybody's name, and may lead here (DNS rebinding). */
static bool names_loopback(const char *host)
{
    char name[16] = "";
    struct in_addr v4;
    size_t n;

    if (!host)
        return false;
    n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    if (n >= sizeof name || n > strlen(host) || (host[n] && host[n] != ':'))
        return false;
    memcpy(name, host, n);
    return strcasecmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0 ||
           (inet_pton(AF_INET, name, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *body, size_t *body_bytes, void **state)
{
    lmb_board_http *h = ctx;
    static int seen;
    (void)version, (void)body;

    if (*body_bytes) { /* nothing that is sent here is of interest */
        *body_bytes = 0;
        return MHD_YES;
    }
    if (!*state) { /* the head has arrived; the answer comes when the body, if there is one, is over */
        *state = &seen;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
    if (h->loopback && !names_loopback(MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host")))
        return say(c, MHD_HTTP_FORBIDDEN, "ask for localhost\n");
    for (int i = 0; i < LMB_BOARD_TEXTS; i++)
        if (strcmp(url, pages[i].path) == 0) {
            pthread_mutex_lock(&h->lock);
            enum MHD_Result done = h->text[i].n ? answer(c, MHD_HTTP_OK, pages[i].type, h->text[i].text, h->text[i].n)
                                                : say(c, MHD_HTTP_SERVICE_UNAVAILABLE, "nothing to tell yet\n");
            pthread_mutex_unlock(&h->lock);
            return done;
        }
    return say(c, MHD_HTTP_NOT_FOUND, "there are /, /status.json, /status.txt and /metrics\n");
}

static lmb_status parse_address(const lmb_board_config *c, struct sockaddr_storage *out, bool *loopback, lmb_error *err)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, c->address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)c->port);
        *loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    } else if (inet_pton(AF_INET6, c->address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)c->port);
        *loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    } else {
        return LMB_FAIL(err, LMB_E_ARG, "status.address '%.60s' is not numeric; 127.0.0.1 is this machine alone",
                        c->address);
    }
    return LMB_OK;
}

lmb_status lmb_board_http_start(const lmb_board_config *c, lmb_board_http **out, lmb_error *err)
{
    struct sockaddr_storage a;
    bool loopback = false;
    lmb_board_http *h;

    LMB_TRY(parse_address(c, &a, &loopback, err));
    h = calloc(1, sizeof *h);
    if (!h)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the status page");
    h->loopback = loopback;
    pthread_mutex_init(&h->lock, NULL);
    h->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | (a.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0),
                                 (uint16_t)c->port, NULL, NULL, on_request, h, MHD_OPTION_SOCK_ADDR,
                                 (struct sockaddr *)&a, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)PATIENCE_S, MHD_OPTION_END);
    if (!h->daemon) {
        int why = errno;
        lmb_board_http_stop(h);
        return LMB_FAIL(err, LMB_E_IO, "cannot show the status on %s port %lld: %s; choose another status.port",
                        c->address, (long long)c->port, strerror(why));
    }
    *out = h;
    return LMB_OK;
}

int lmb_board_http_port(const lmb_board_http *h)
{
    const union MHD_DaemonInfo *i = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return i ? i->port : 0;
}

void lmb_board_http_publish(lmb_board_http *h, lmb_str text[LMB_BOARD_TEXTS])
{
    pthread_mutex_lock(&h->lock);
    for (int i = 0; i < LMB_BOARD_TEXTS; i++) {
        lmb_str old = h->text[i];
        h->text[i] = text[i];
        text[i] = old;
    }
    pthread_mutex_unlock(&h->lock);
    for (int i = 0; i < LMB_BOARD_TEXTS; i++)
        lmb_str_free(&text[i]);
}

void lmb_board_http_stop(lmb_board_http *h)
{
    if (!h)
        return;
    if (h->daemon)
        MHD_stop_daemon(h->daemon);
    for (int i = 0; i < LMB_BOARD_TEXTS; i++)
        lmb_str_free(&h->text[i]);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
