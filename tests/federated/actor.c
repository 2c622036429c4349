/* tests/federated/actor.c - a server or a client in a process of its own, for tests that kill it.
 *
 *   actor server STATE PORT OPTIONS.yaml    prints the hash of the final model; OPTIONS: rows of lmb_server_fields
 *   actor client STATE INVITE K             k as in world.h: its target and its examples
 *
 * Exit code 0: all rounds are over; 3: stopped; 1 with a sentence otherwise. SIGTERM stops. Training depends on the
 * model, K and the task's number alone.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "federated/client.h"
#include "federated/server.h"

enum { N = 60000 }; /* an update takes several writes */

static lmb_server *server;
static lmb_client *client;

static void on_signal(int unused)
{
    (void)unused;
    if (server)
        lmb_server_stop(server);
    if (client)
        lmb_client_stop(client);
}

static void on_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)level, (void)subsystem;
    fprintf(stderr, "%s: %s\n", (const char *)ctx, text);
}

static lmb_status evaluate(void *ctx, uint64_t round, const float *model, size_t n, double *score, lmb_figures *m,
                           lmb_error *err)
{
    (void)ctx, (void)round, (void)m, (void)err;
    *score = 0;
    for (size_t i = 0; i < n; i++)
        *score -= ((double)model[i] - 3) * ((double)model[i] - 3);
    return LMB_OK;
}

static lmb_status serve(char **argv, lmb_error *err)
{
    static const lmb_log log = { on_line, "server", LMB_LOG_INFO };
    lmb_server_config cfg;
    lmb_config *yaml;
    lmb_server_job job = { .n = N,
                           .layout = lmb_hash_of("layout", 6),
                           .graph = "a graph",
                           .graph_bytes = 7,
                           .settings = "lr: 0.1\n",
                           .evaluate = evaluate,
                           .log = &log };
    float *initial = calloc(N, sizeof *initial);
    char hex[2 * LMB_HASH_BYTES + 1];

    for (int i = 0; i < N; i++)
        initial[i] = (float)(i % 7) * 0.1f;
    job.initial = initial;
    LMB_TRY(lmb_config_read(argv[4], &yaml, err));
    LMB_TRY(lmb_fields_bind(lmb_server_fields, lmb_config_root(yaml), &cfg, err));
    cfg.address = "127.0.0.1";
    cfg.state_dir = argv[2];
    cfg.port = atoi(argv[3]);
    LMB_TRY(lmb_server_create(&cfg, &job, &server, err));
    lmb_status st = lmb_server_run(server, err);
    if (st == LMB_OK) {
        lmb_hash h = lmb_hash_of(lmb_server_model(server), N * sizeof(float));
        for (int i = 0; i < LMB_HASH_BYTES; i++)
            snprintf(hex + 2 * i, 3, "%02x", h.b[i]);
        printf("%s %llu\n", hex, (unsigned long long)lmb_server_round(server));
    }
    lmb_server *ended = server;
    server = NULL;
    lmb_server_destroy(ended);
    lmb_config_destroy(yaml);
    free(initial);
    return st;
}

static lmb_status train(void *ctx, const lmb_train_task *t, lmb_train_result *r, lmb_error *err)
{
    int k = *(const int *)ctx;
    (void)err;
    for (size_t i = 0; i < t->n; i++)
        r->delta[i] = 0.5f * ((float)(k + 1) + (float)((i + t->round) % 3) * 0.01f - t->model[i]);
    r->examples = (uint64_t)(10 * (k + 1));
    lmb_figures_add(&r->metrics, "loss", 1.0 / (k + 1) / (double)t->round);
    return LMB_OK;
}

static lmb_status join(char **argv, lmb_error *err)
{
    static const lmb_log log = { on_line, "client", LMB_LOG_INFO };
    lmb_client_config cfg;
    int k = atoi(argv[4]);
    lmb_local_trainer trainer = { train, &k };

    lmb_fields_default(lmb_client_fields, &cfg);
    cfg.state_dir = argv[2];
    cfg.name = "actor";
    cfg.retry_s = 0.1;
    cfg.give_up_s = 30;
    LMB_TRY(lmb_client_create(&cfg, argv[3], &trainer, &log, &client, err));
    lmb_status st = lmb_client_run(client, err);
    lmb_client *ended = client;
    client = NULL;
    lmb_client_destroy(ended);
    return st;
}

int main(int argc, char **argv)
{
    lmb_error err = LMB_ERROR_INIT;

    if (argc != 5)
        return 2;
    signal(SIGTERM, on_signal);
    lmb_status st = strcmp(argv[1], "server") == 0 ? serve(argv, &err) : join(argv, &err);
    if (st != LMB_OK)
        fprintf(stderr, "%s: %s\n", argv[1], err.msg);
    return st == LMB_OK ? 0 : st == LMB_E_STOPPED ? 3 : 1;
}
