/* launch/cmd_simulate.c - `limbeck simulate`: a federation of thousands of clients in one process, or under mpirun. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "datasets/split.h"
#include "federated/local.h"
#include "federated/simulate.h"
#include "launch/rounds.h"
#include "launch/runner.h"
#include "train/history.h"

static const char usage[] =
    "usage: limbeck simulate CONFIG.yaml [--model FILE.onnx] [--fresh] [--test] [--set key=value ...]\n"
    "       mpirun -n 2 limbeck simulate CONFIG.yaml ...\n\n"
    "Runs the federation of the configuration without a network: `federation.clients` clients share the samples of `split.clients`\n"
    "(`federation.partition`), `federation.server.target` of them train in each round, by the settings of `federation.local`, and\n"
    "`federation.server.aggregator` makes one change of theirs. The same keys as `serve` and `join` use; the same bits on any\n"
    "number of ranks. `federation.simulate` adds: dropout, evaluate_every, checkpoint_s.\n\n"
    "The model: --model, else the `model` of the configuration, else the run's quantised student. Rounds are chosen on the\n"
    "validation part; the best model goes to <run>/simulation/model.onnx, a line a round to <run>/simulation/history.jsonl.\n\n"
    "  --test     score the test part in each round as well, for a curve; rounds are never chosen by it\n"
    "  --fresh    start over, whatever an earlier run has left\n\n"
    "Stopped at any instant, the same command goes on. Exit code 3 says that it was stopped.\n";

static volatile sig_atomic_t interrupted;
static void on_signal(int s) { interrupted = s; }

typedef struct request {
    lmb_job job;
    lmb_args args;
    lmb_federation_config c;
    lmb_server_config server;
    char state_dir[LMB_FEDERATION_PATH];
    lmb_rounds rounds;
    lmb_dataset **part; /* [clients] views */
    uint64_t *examples; /* [clients]       */
    lmb_local *local;
} request;

/* Where a client keeps what it must remember. */
static lmb_status memory_of(const request *r, int client, char path[LMB_FEDERATION_PATH + 32], lmb_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "client-%d.bin", client);
    return lmb_path_join(path, LMB_FEDERATION_PATH + 32, r->state_dir, name, err);
}

static lmb_status train(void *ctx, int client, const lmb_train_task *task, lmb_train_result *result, lmb_error *err)
{
    request *r = ctx;
    char memory[LMB_FEDERATION_PATH + 32];

    LMB_TRY(memory_of(r, client, memory, err));
    return lmb_local_train(r->local, r->part[client], task, result, memory, err);
}

/* Lines of rounds that were not saved are written again. */
static lmb_status begin(void *ctx, uint64_t next, lmb_error *err)
{
    request *r = ctx;
    char memory[LMB_FEDERATION_PATH + 32];

    for (int i = 0; next == 0 && i < r->c.clients; i++) {
        LMB_TRY(memory_of(r, i, memory, err));
        unlink(memory);
    }
    if (next)
        fprintf(stderr, "going on after round %llu\n", (unsigned long long)next - 1);
    return lmb_history_cut(r->rounds.history, "round", (int64_t)next, err);
}

static bool stop(void *ctx)
{
    (void)ctx;
    return interrupted;
}

/* Every client's samples. */
static lmb_status divide(request *r, lmb_error *err)
{
    const lmb_federation_config *c = &r->c;
    const lmb_dataset *d = r->job.clients;
    int clients = (int)c->clients;

    if (!d)
        return LMB_FAIL(err, LMB_E_ARG, "split.clients is 0: there are no samples for clients");
    int32_t *owner = malloc(sizeof *owner * (size_t)d->n);
    r->part = calloc((size_t)clients, sizeof *r->part);
    r->examples = calloc((size_t)clients, sizeof *r->examples);
    lmb_status st = owner && r->part && r->examples ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d clients", clients);
    if (st == LMB_OK)
        st = lmb_partition(d, (lmb_partition_kind)c->partition, clients, c->alpha, (uint64_t)c->seed, c->least, owner, err);
    if (st == LMB_OK)
        st = lmb_partition_views(d, owner, clients, r->part, err);
    for (int i = 0; i < clients && st == LMB_OK; i++)
        r->examples[i] = (uint64_t)r->part[i]->n;
    free(owner);
    return st;
}

static void on_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level, (void)subsystem;
    fprintf(stderr, "%s\n", text);
}

static lmb_status simulate(void *ctx, lmb_comm *comm, lmb_error *err)
{
    static const lmb_log log = { on_line, NULL, LMB_LOG_INFO };
    request *r = ctx;
    lmb_simulation s = { .server = &r->server, .job = &r->rounds.server, .clients = (int)r->c.clients, .train = train, .begin = begin, .stop = stop,
                         .fresh = lmb_args_get(&r->args, "fresh", NULL) != NULL, .ctx = r };
    uint64_t round;
    double score, first;
    lmb_privacy privacy = { .on = false };

    LMB_TRY(lmb_fields_bind(lmb_simulate_fields, r->c.simulate, &s.c, err));
    LMB_TRY(lmb_job_data(&r->job, err));
    LMB_TRY(divide(r, err));
    s.examples = r->examples;
    s.privacy = &privacy;
    LMB_TRY(lmb_local_create(&r->local, err));
    LMB_TRY(lmb_rounds_open(&r->job, &r->c, lmb_args_get(&r->args, "model", NULL), "simulation", &r->rounds, err));
    if (r->rounds.partial || (r->rounds.term && r->rounds.term->memory))
        s.c.checkpoint_s = 0; /* what clients keep goes back one round, no more */
    if (lmb_args_get(&r->args, "test", NULL))
        r->rounds.test = r->job.test;
    r->rounds.server.log = &log;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    LMB_TRY(lmb_simulate(&s, comm, r->rounds.state, &round, &score, &first, err));
    if (comm->rank)
        return LMB_OK;
    LMB_TRY(lmb_rounds_leave(&r->rounds, round, score, first, &privacy, err));
    if (r->rounds.partial)
        return LMB_OK; /* a part of a model has no score */
    return lmb_stage_report(r->job.c.run, "simulation", r->rounds.leave, r->rounds.model, r->job.test, "cpu", err);
}

static void close_all(request *r)
{
    lmb_rounds_close(&r->rounds);
    lmb_local_destroy(r->local);
    for (int i = 0; r->part && i < r->c.clients; i++)
        lmb_dataset_destroy(r->part[i]);
    free(r->part);
    free(r->examples);
    lmb_job_close(&r->job);
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "model", "!fresh", "!test", NULL };
    request r = { .part = NULL, .rounds = { .graph = LMB_STR_INIT, .settings = LMB_STR_INIT } };

    LMB_TRY(lmb_args_parse(argc, argv, known, &r.args, err));
    if (r.args.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_job_open(r.args.word[0], &r.args, LMB_JOB_DATA_ONLY, &r.job, err));
    lmb_status st = lmb_federation_of(&r.job, &r.c, err);
    if (st == LMB_OK)
        st = lmb_fields_bind(lmb_server_fields, r.c.server, &r.server, err);
    if (st == LMB_OK)
        st = lmb_stage_path(r.state_dir, r.job.c.run, "simulation/state", "", err);
    r.server.state_dir = r.state_dir;
    if (st == LMB_OK)
        st = lmb_with_ranks(simulate, &r, err);
    close_all(&r);
    return st;
}

const lmb_cmd lmb_cmd_simulate = { "simulate", "run a federation of many clients without a network", usage, run };
