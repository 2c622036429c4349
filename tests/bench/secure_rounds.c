/* tests/bench/secure_rounds.c - what secure aggregation adds to a round: a server and its clients in one process, over
 * real connections, with nothing to train.
 *
 *   bench_secure_rounds NUMBERS CLIENTS off|curious [ROUNDS]
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/config.h"
#include "federated/client.h"
#include "federated/server.h"

static lmb_error err;

static void ok(lmb_status st)
{
    if (st == LMB_OK)
        return;
    fprintf(stderr, "%s\n", err.msg);
    exit(1);
}

static lmb_status train(void *ctx, const lmb_train_task *t, lmb_train_result *r, lmb_error *e)
{
    (void)ctx, (void)e;
    for (size_t i = 0; i < t->n; i++)
        r->delta[i] = 0.001f * (float)(i % 11);
    r->examples = 100;
    return LMB_OK;
}

static void on_round(void *ctx, const lmb_round_report *r)
{
    (void)ctx;
    if (r->round)
        printf("round %llu  %.3f s  %llu updates  %.1f kB in and %.1f kB out a client\n", (unsigned long long)r->round,
               r->seconds, (unsigned long long)r->updates, (double)r->bytes_in / 1000 / (double)r->selected,
               (double)r->bytes_out / 1000 / (double)r->selected);
    fflush(stdout);
}

static void *run(void *client)
{
    lmb_error e = LMB_ERROR_INIT;
    if (lmb_client_run(client, &e) != LMB_OK)
        fprintf(stderr, "client: %s\n", e.msg);
    return NULL;
}

static void quiet(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)subsystem;
    if (level >= LMB_LOG_WARN)
        fprintf(stderr, "%s\n", text);
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/limbeck-bench-XXXXXX", state[64], yaml[200], command[100];
    lmb_log log = { quiet, NULL, LMB_LOG_WARN };
    lmb_server_config cfg;
    lmb_config *secure;
    lmb_server *server;

    if (argc < 4) {
        fprintf(stderr, "usage: bench_secure_rounds NUMBERS CLIENTS off|curious [ROUNDS]\n");
        return 2;
    }
    size_t n = (size_t)atol(argv[1]);
    int clients = atoi(argv[2]);
    float *initial = calloc(n, sizeof *initial);
    pthread_t *thread = calloc((size_t)clients, sizeof *thread);
    lmb_client **client = calloc((size_t)clients, sizeof *client);
    lmb_server_job job = { .n = n, .initial = initial, .settings = "", .on_round = on_round, .log = &log };
    lmb_local_trainer trainer = { train, NULL };
    if (!mkdtemp(dir) || !initial || !thread || !client)
        return 1;
    snprintf(state, sizeof state, "%s/server", dir);
    snprintf(yaml, sizeof yaml, "{clip: 0.05, mode: %s}", argv[3]);
    ok(lmb_config_parse(yaml, strlen(yaml), "bench", &secure, &err));
    lmb_fields_default(lmb_server_fields, &cfg);
    cfg.address = "127.0.0.1";
    cfg.port = 0;
    cfg.state_dir = state;
    cfg.target = cfg.minimum = clients;
    cfg.rounds = argc > 4 ? atoi(argv[4]) : 3;
    cfg.secure_aggregation = lmb_config_root(secure);
    ok(lmb_server_create(&cfg, &job, &server, &err));
    for (int k = 0; k < clients; k++) {
        char invite[LMB_SERVER_INVITE], where[64];
        lmb_client_config c;
        lmb_fields_default(lmb_client_fields, &c);
        snprintf(where, sizeof where, "%s/%d", dir, k);
        c.state_dir = where;
        ok(lmb_server_invite(state, "127.0.0.1", lmb_server_port(server), 600, invite, &err));
        ok(lmb_client_create(&c, invite, &trainer, NULL, &client[k], &err));
        if (pthread_create(&thread[k], NULL, run, client[k]) != 0)
            return 1;
    }
    ok(lmb_server_run(server, &err));
    for (int k = 0; k < clients; k++) {
        pthread_join(thread[k], NULL);
        lmb_client_destroy(client[k]);
    }
    lmb_server_destroy(server);
    lmb_config_destroy(secure);
    free(client);
    free(thread);
    free(initial);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) != 0;
}
