/* tests/federated/simulation.h - a simulation of some clients whose training is one line, and whose model one knows
 * beforehand. */
#ifndef LMB_TESTS_FEDERATED_SIMULATION_H
#define LMB_TESTS_FEDERATED_SIMULATION_H

#include "federated/simulate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/config.h"
#include "tests/check_main.h"

enum { N = 5, CLIENTS = 12 };

static lmb_error err;
static char folder[200];
static lmb_config *yaml;
static lmb_server_config server;
static lmb_server_job job;
static lmb_simulation s;
static lmb_comm *comm;
static float initial[N], model[N];
static uint64_t examples[CLIENTS], round_of_best;
static double score, first;
static lmb_round_report last;
static int rounds_seen, stop_after, broken;

/* Client c pulls every number towards c, from wherever the model is. */
static lmb_status train(void *ctx, int lane, int client, const lmb_train_task *task, lmb_train_result *result,
                        lmb_error *e)
{
    (void)ctx, (void)lane, (void)e;
    for (size_t i = 0; i < N; i++)
        result->delta[i] = 0.25f * ((float)client - task->model[i]);
    if (client == broken)
        result->delta[2] = NAN;
    result->examples = examples[client];
    lmb_figures_add(&result->metrics, "loss", client);
    return LMB_OK;
}

static lmb_status evaluate(void *ctx, uint64_t round, const float *m, size_t n, double *out, lmb_figures *f,
                           lmb_error *e)
{
    (void)ctx, (void)round, (void)n, (void)f, (void)e;
    *out = -fabs((double)m[0] - 3); /* best where the model passes 3 */
    return LMB_OK;
}

static void on_round(void *ctx, const lmb_round_report *r)
{
    (void)ctx;
    last = *r;
    rounds_seen++;
}

static bool stop(void *ctx)
{
    (void)ctx;
    return stop_after && rounds_seen > stop_after;
}

static inline void set_up(const char *options)
{
    err = (lmb_error)LMB_ERROR_INIT;
    snprintf(folder, sizeof folder, "simulate-%d", (int)getpid());
    ck_ok(lmb_config_parse(options, strlen(options), "t.yaml", &yaml, &err));
    ck_ok(lmb_fields_bind(lmb_server_fields, lmb_config_root(yaml), &server, &err));
    server.state_dir = folder;
    for (int i = 0; i < CLIENTS; i++)
        examples[i] = (uint64_t)(10 + i);
    memset(initial, 0, sizeof initial);
    job = (lmb_server_job){ .n = N, .initial = initial, .settings = "", .evaluate = evaluate, .on_round = on_round };
    s = (lmb_simulation){
        .server = &server, .job = &job, .clients = CLIENTS, .examples = examples, .train = train, .stop = stop
    };
    ck_ok(lmb_fields_bind(lmb_simulate_fields, NULL, &s.c, &err));
    ck_ok(lmbi_comm_open_self(&comm, &err));
    rounds_seen = stop_after = 0;
    broken = -1;
}

static inline void tear_down(void)
{
    char command[300];
    lmb_comm_close(comm);
    lmb_config_destroy(yaml);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static inline lmb_status run(void) { return lmb_simulate(&s, comm, model, &round_of_best, &score, &first, &err); }

#endif
