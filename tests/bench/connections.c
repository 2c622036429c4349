/* tests/bench/connections.c - what thousands of connections cost the server of a federation.
 *
 *     build/release/tests/federated/bench_connections [CLIENTS [ROUNDS [VALUES [CODEC]]]]     2000 20 300000 f32
 *
 * A server in a process of its own, as `limbeck serve` runs it but for the evaluation, and one process that plays all
 * the clients: real handshakes and enrolments, real downloads, and uploads of one update that was prepared beforehand.
 * All take part in each round. First with a tenth of the clients, then with all. For each round the server tells its
 * time, its CPU time and the most memory that was resident in it (VmHWM, reset after each round).
 *
 * Fails when the peaks of the rounds 2 to ROUNDS are further than 5 % from each other, or a further connection takes
 * more than 20 KiB; under a sanitizer, whose memory is not the server's, it looks for what that finds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/config.h"
#include "core/base/threads.h"
#include "federated/members.h"
#include "federated/messages.h"
#include "federated/server.h"

enum { EVENTS = 256, OUTPUT = 2 * LMB_CHUNK };

static lmb_error err = LMB_ERROR_INIT;

static void must(lmb_status st, const char *what)
{
    if (st == LMB_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, err.msg);
    exit(1);
}

/* ---- the server's process ---- */

typedef struct plan { int clients, rounds; size_t values; const char *codec; char dir[64]; } plan;
typedef struct tally { long first, low, high; double seconds, cpu; } tally; /* KiB, of rounds 2 and later; of all */

static long peak_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "VmHWM: %ld", &kib);
    if (f)
        fclose(f);
    f = fopen("/proc/self/clear_refs", "w");
    if (f) {
        fputs("5", f);
        fclose(f);
    }
    return kib;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void on_round(void *ctx, const lmb_round_report *r)
{
    tally *t = ctx;
    long kib = peak_kib();
    double cpu = cpu_seconds();

    if (!r->round)
        return;
    printf("  round %2llu: %llu updates, %6.2f s, server CPU %6.2f s, peak %ld KiB\n", (unsigned long long)r->round,
           (unsigned long long)r->updates, r->seconds, cpu - t->cpu, kib);
    fflush(stdout);
    if (r->round == 2)
        t->low = t->high = kib;
    if (r->round > 1) {
        t->low = kib < t->low ? kib : t->low;
        t->high = kib > t->high ? kib : t->high;
    }
    t->seconds += r->seconds;
    t->cpu = cpu;
}

static void serve(const plan *p, int port_to, int tally_to)
{
    lmb_server_config cfg;
    lmb_config *yaml;
    lmb_server *s;
    tally t = { 0 };
    char text[80];
    int port;

    snprintf(text, sizeof text, "codec: %s\n", p->codec);
    must(lmb_config_parse(text, strlen(text), "codec", &yaml, &err), "codec");
    lmb_fields_default(lmb_server_fields, &cfg);
    cfg.address = "127.0.0.1";
    cfg.port = 0;
    cfg.state_dir = p->dir;
    cfg.rounds = p->rounds;
    cfg.target = cfg.minimum = cfg.max_clients = p->clients;
    cfg.gather_s = cfg.deadline_s = cfg.idle_s = 3600;
    cfg.codec = lmb_tree_get(lmb_config_root(yaml), "codec");
    lmb_server_job job = { .n = p->values,
                           .initial = calloc(p->values, sizeof(float)),
                           .layout = lmb_hash_of("bench", 5),
                           .graph = "graph",
                           .graph_bytes = 5,
                           .settings = "",
                           .on_round = on_round,
                           .ctx = &t };
    must(lmb_server_create(&cfg, &job, &s, &err), "server");
    port = lmb_server_port(s);
    if (write(port_to, &port, sizeof port) != sizeof port)
        exit(1);
    must(lmb_server_run(s, &err), "server");
    lmb_server_destroy(s);
    free((void *)job.initial);
    lmb_config_destroy(yaml);
    if (write(tally_to, &t, sizeof t) != sizeof t)
        exit(1);
    exit(0);
}

/* ---- the clients ---- */

typedef struct conn {
    int fd;
    lmb_channel *channel;
    uint32_t events;
    bool greeted, uploading, done;
    lmb_task_message task;
    uint64_t left, sent; /* of the download, of the upload */
} conn;

typedef struct crowd {
    const plan *p;
    int epoll, open;
    lmb_blob_id id;
    uint8_t *payload;
} crowd;

static void push(crowd *w, conn *c)
{
    size_t n = 0;
    const void *out;
    for (;;) {
        while (c->uploading && (lmb_channel_output(c->channel, &n), n < OUTPUT)) {
            uint64_t left = w->id.bytes - c->sent;
            lmb_record r = { LMB_MSG_CHUNK, 0, c->sent, w->payload + c->sent,
                             left < LMB_CHUNK ? (size_t)left : LMB_CHUNK };
            must(lmb_channel_send(c->channel, &r, &err), "chunk");
            c->sent += r.bytes;
            c->uploading = c->sent < w->id.bytes;
        }
        if (!(out = lmb_channel_output(c->channel, &n)))
            break;
        ssize_t sent = send(c->fd, out, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            break; /* full, or about to be told why not */
        lmb_channel_sent(c->channel, (size_t)sent);
    }
    struct epoll_event e = { EPOLLIN | (n ? EPOLLOUT : 0u), { .ptr = c } };
    if (e.events != c->events && epoll_ctl(w->epoll, EPOLL_CTL_MOD, c->fd, &e) == 0)
        c->events = e.events;
}

static void update(crowd *w, conn *c)
{
    lmb_update_message u = { .round = c->task.round,
                             .layout = c->task.layout,
                             .model = c->task.model.hash,
                             .n = c->task.n,
                             .examples = 10,
                             .blob = w->id };
    memcpy(u.codec, c->task.codec, sizeof u.codec);
    must(lmb_message_send(c->channel, LMB_MSG_UPDATE, &u, &err), "update");
}

static void on_record(crowd *w, conn *c, const lmb_record *r)
{
    lmb_want want;
    switch (r->type) {
    case LMB_MSG_TASK:
        must(lmb_message_read(r, &c->task, &err), "task");
        want = (lmb_want){ c->task.model, 0 };
        c->left = want.blob.bytes;
        must(lmb_message_send(c->channel, LMB_MSG_WANT, &want, &err), "want");
        return;
    case LMB_MSG_CHUNK:
        c->left -= r->bytes;
        if (!c->left)
            update(w, c);
        return;
    case LMB_MSG_HAVE:
        must(lmb_message_read(r, &want, &err), "have");
        c->sent = want.offset;
        c->uploading = true;
        return;
    case LMB_MSG_DONE: c->done = true; return;
    case LMB_MSG_REFUSED: fprintf(stderr, "the server refuses an update\n"); exit(1);
    default: return;
    }
}

static void hello(conn *c)
{
    lmb_hello h = { .version = LMB_FED_VERSION, .name = "one of many" };
    uint8_t unused[LMB_SIGN_PUBLIC], sign[LMB_SIGN_SECRET];
    crypto_sign_keypair(unused, sign);
    lmb_hello_prove(&h, c->channel, sign);
    c->greeted = true;
    must(lmb_message_send(c->channel, LMB_MSG_HELLO, &h, &err), "hello");
}

static void pull(crowd *w, conn *c)
{
    static uint8_t buf[65536];
    ssize_t n = recv(c->fd, buf, sizeof buf, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        if (!c->done) {
            fprintf(stderr, "the server hung up\n");
            exit(1);
        }
        epoll_ctl(w->epoll, EPOLL_CTL_DEL, c->fd, NULL);
        close(c->fd);
        lmb_channel_destroy(c->channel);
        c->channel = NULL;
        w->open--;
        return;
    }
    for (size_t at = 0; at < (size_t)n;) {
        bool got = true;
        at += lmb_channel_feed(c->channel, buf + at, (size_t)n - at);
        while (got) {
            lmb_record r;
            must(lmb_channel_next(c->channel, &r, &got, &err), "channel");
            if (got)
                on_record(w, c, &r);
        }
    }
    if (!c->greeted && lmb_channel_ready(c->channel))
        hello(c);
}

static void turn(crowd *w, int wait_ms)
{
    struct epoll_event e[EVENTS];
    int n = epoll_wait(w->epoll, e, EVENTS, wait_ms);
    for (int i = 0; i < n; i++) {
        conn *c = e[i].data.ptr;
        if (e[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            pull(w, c);
        if (c->channel)
            push(w, c);
    }
}

/* A key and an invite's token of its own. */
static void open_conn(crowd *w, conn *c, int port, const uint8_t server_public[LMB_NOISE_KEY], lmb_journal *j)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event e = { EPOLLIN | EPOLLOUT, { .ptr = c } };
    uint8_t secret[LMB_NOISE_KEY], unused[LMB_NOISE_KEY], token[LMB_TOKEN_BYTES];

    lmb_noise_keygen(secret, unused);
    randombytes_buf(token, sizeof token);
    lmb_token derived = lmb_token_derive(token);
    must(lmb_journal_add_token(j, &derived, INT64_MAX / 2, &err), "token");
    *c = (conn){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .events = e.events };
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        epoll_ctl(w->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0) {
        fprintf(stderr, "connection: %s\n", strerror(errno));
        exit(1);
    }
    must(lmb_channel_client(secret, server_public, &derived, 0, &c->channel, &err), "channel");
    w->open++;
}

static void prepare(crowd *w)
{
    float *delta = malloc(w->p->values * sizeof *delta);
    lmb_codec_spec spec;
    size_t bytes;

    for (size_t i = 0; delta && i < w->p->values; i++)
        delta[i] = (float)(i % 201) * 1e-5f - 1e-3f;
    must(lmb_codec_parse(w->p->codec, &spec, &err), "codec");
    must(lmb_codec_encode(&spec, 1, delta, w->p->values, &w->payload, &bytes, &err), "codec");
    w->id = (lmb_blob_id){ lmb_hash_of(w->payload, bytes), bytes };
    free(delta);
}

static void play(const plan *p, int port)
{
    conn *c = calloc((size_t)p->clients, sizeof *c);
    crowd w = { .p = p, .epoll = epoll_create1(EPOLL_CLOEXEC) };
    uint8_t secret[LMB_NOISE_KEY], server_public[LMB_NOISE_KEY];
    char path[128];
    lmb_journal *j;

    snprintf(path, sizeof path, "%s/server.key", p->dir);
    must(lmb_key_file(path, secret, &err), "key");
    lmb_noise_public(secret, server_public);
    must(lmb_journal_open(p->dir, &j, &err), "journal");
    prepare(&w);
    for (int i = 0; i < p->clients; i++) {
        open_conn(&w, &c[i], port, server_public, j);
        turn(&w, 0);
    }
    lmb_journal_close(j);
    while (w.open)
        turn(&w, 1000);
    close(w.epoll);
    free(w.payload);
    free(c);
}

static tally federate(plan *p)
{
    int ports[2], tallies[2], port, status;
    tally t;
    char cmd[96];

    strcpy(p->dir, "/tmp/limbeck-crowd-XXXXXX");
    if (!mkdtemp(p->dir) || pipe(ports) != 0 || pipe(tallies) != 0)
        exit(1);
    printf("%d clients, %d rounds, %zu values as %s\n", p->clients, p->rounds, p->values, p->codec);
    fflush(stdout);
    pid_t server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* clients that give up leave no server behind */
        serve(p, ports[1], tallies[1]);
    }
    if (read(ports[0], &port, sizeof port) != sizeof port)
        exit(1);
    play(p, port);
    if (waitpid(server, &status, 0) != server || status != 0 || read(tallies[0], &t, sizeof t) != sizeof t)
        exit(1);
    for (int i = 0; i < 2; i++) {
        close(ports[i]);
        close(tallies[i]);
    }
    snprintf(cmd, sizeof cmd, "rm -rf %s", p->dir);
    if (system(cmd) != 0)
        exit(1);
    printf("  mean round %.2f s, server CPU %.1f s, peak of rounds 2 to %d: %ld to %ld KiB\n", t.seconds / p->rounds,
           t.cpu, p->rounds, t.low, t.high);
    return t;
}

int main(int argc, char **argv)
{
    plan all = { argc > 1 ? atoi(argv[1]) : 2000, argc > 2 ? atoi(argv[2]) : 20,
                 argc > 3 ? (size_t)atol(argv[3]) : 300000, argc > 4 ? argv[4] : "f32", "" };
    plan few = all;
    few.clients = all.clients / 10;
    struct rlimit files;
    if (all.clients < 20 || all.rounds < 2 || !all.values)
        return 2;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    tally a = federate(&few), b = federate(&all);
    double each = (double)(b.high - a.high) / (all.clients - few.clients),
           spread = (double)(b.high - b.low) / (double)b.low / 2;
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
    return 0;
#endif
    printf("a further connection takes %.1f KiB (limit 20), peaks lie within +-%.1f %% (limit 5)\n", each,
           100 * spread);
    return each <= 20 && spread <= 0.05 ? 0 : 1;
}
