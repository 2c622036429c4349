/* launch/cmd_simulate.c - `limbeck simulate`: a federation of thousands of clients in one process, or under mpirun. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "datasets/split.h"
#include "federated/lanes.h"
#include "federated/simulate.h"
#include "federated/unmask_gpu.h"
#include "launch/groups.h"
#include "launch/rounds.h"
#include "launch/runner.h"
#include "launch/signals.h"
#include "train/history.h"

static const char usage[] =
    "usage: limbeck simulate CONFIG.yaml [--model FILE.onnx] [--fresh] [--test] [--set key=value ...]\n"
    "       mpirun -n 2 limbeck simulate CONFIG.yaml ...\n\n"
    "Runs the federation of the configuration without a network: `federation.clients` clients share the samples of `split.clients`\n"
    "(`federation.partition`), `federation.server.target` of them train in each round, by the settings of `federation.local`, and\n"
    "`federation.server.aggregator` makes one change of theirs. With `federation.groups` some clients have other models: each group makes\n"
    "its own, and `federation.distill` has the clients of all teach each. The same keys as `serve` and `join` use; the same bits on any\n"
    "number of ranks. `federation.simulate` adds: dropout, evaluate_every, checkpoint_s; streams: with\n"
    "`federation.local.train.backend: cuda`, how many clients train at a time on the GPU (0: as many as fit), to the same bits; masks: with\n"
    "`federation.server.secure_aggregation`, clients hide their updates, too, on a GPU where there is one, to the same bits.\n\n"
    "The model: --model, else the `model` of the configuration, else the run's quantised student. Rounds are chosen on the\n"
    "validation part; the best model goes to <run>/simulation/model.onnx, a line a round to <run>/simulation/history.jsonl.\n\n"
    "  --test     score the test part in each round as well, for a curve; rounds are never chosen by it\n"
    "  --fresh    start over, whatever an earlier run has left\n\n"
    "Stopped at any instant, the same command goes on. Exit code 3 says that it was stopped.\n";

struct group;
typedef struct request {
    lmb_job job;
    lmb_args args;
    lmb_federation_config c;
    lmb_dataset **part; /* [clients] views */
    uint64_t *examples; /* [clients]       */
    struct group *group;
    int n_groups;
    lmb_unmask_gpu *masks; /* NULL: they are made by the processor */
} request;

/* Clients with one model. Most simulations have one group; several teach each other (launch/feddf.h). */
typedef struct group {
    request *r;
    lmb_job job; /* the request's, with this group's model */
    lmb_server_config server;
    lmb_simulate_config simulate;
    char stage[32], state_dir[LMB_FEDERATION_PATH], exchange[LMB_FEDERATION_PATH];
    lmb_rounds rounds;
    lmb_lanes *lanes;
    int64_t from, clients; /* of the request's clients */
    bool begun;
} group;

/* Where a client keeps what it must remember. */
static lmb_status memory_of(const group *g, int client, char path[LMB_FEDERATION_PATH + 32], lmb_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "client-%d.bin", client);
    return lmb_path_join(path, LMB_FEDERATION_PATH + 32, g->state_dir, name, err);
}

static lmb_status train(void *ctx, int lane, int client, const lmb_train_task *task, lmb_train_result *result,
                        lmb_error *err)
{
    group *g = ctx;
    char memory[LMB_FEDERATION_PATH + 32];

    LMB_TRY(memory_of(g, client, memory, err));
    return lmb_lanes_train(g->lanes, lane, g->r->part[g->from + client], task, result, memory, err);
}

static int lane_room(void *ctx) { return lmb_lanes_room(((group *)ctx)->lanes); }
static void lane_left(void *ctx, int lane) { lmb_lanes_leave(((group *)ctx)->lanes, lane); }

/* A new run: what clients of an earlier one have answered teaches nobody. The first group begins first. */
static lmb_status forget_answers(const request *r, lmb_error *err)
{
    char path[LMB_FEDERATION_PATH + 64], name[64];

    for (int k = 0; k < r->n_groups; k++) {
        snprintf(name, sizeof name, "%s%s", r->group[k].stage, LMB_ENSEMBLE_FILE);
        LMB_TRY(lmb_path_join(path, sizeof path, r->group[k].exchange, name, err));
        unlink(path);
    }
    return LMB_OK;
}

/* Lines of rounds that were not saved are written again. */
static lmb_status begin(void *ctx, uint64_t next, lmb_error *err)
{
    group *g = ctx;
    char memory[LMB_FEDERATION_PATH + 32];

    for (int i = 0; next == 0 && i < g->clients; i++) {
        LMB_TRY(memory_of(g, i, memory, err));
        unlink(memory);
    }
    if (next == 0 && g == g->r->group && g->r->n_groups > 1)
        LMB_TRY(forget_answers(g->r, err));
    if (next && !g->begun)
        fprintf(stderr, "going on after round %llu\n", (unsigned long long)next - 1);
    g->begun = true;
    return lmb_history_cut(g->rounds.history, "round", (int64_t)next, err);
}

static bool stop(void *ctx)
{
    (void)ctx;
    return lmb_interrupted();
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
    lmb_status st =
        owner && r->part && r->examples ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d clients", clients);
    if (st == LMB_OK)
        st = lmb_partition(d, (lmb_partition_kind)c->partition, clients, c->alpha, (uint64_t)c->seed, c->least, owner,
                           err);
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

/* ---- groups ---- */

static lmb_status divide_groups(request *r, lmb_error *err)
{
    lmb_client_group *list;

    LMB_TRY(lmb_client_groups(&r->c, &list, &r->n_groups, err));
    r->group = calloc((size_t)r->n_groups, sizeof *r->group);
    for (int k = 0; r->group && k < r->n_groups; k++) {
        group *g = &r->group[k];
        *g = (group){ .r = r,
                      .job = r->job,
                      .from = list[k].from,
                      .clients = list[k].clients,
                      .rounds = { .graph = LMB_STR_INIT, .settings = LMB_STR_INIT } };
        if (list[k].model)
            g->job.c.model = list[k].model;
    }
    free(list);
    return r->group ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d groups", r->n_groups);
}

static lmb_status open_group(group *g, const char *model, bool first_rank, lmb_error *err)
{
    static const lmb_log log = { on_line, NULL, LMB_LOG_INFO };
    request *r = g->r;
    int k = (int)(g - r->group);

    snprintf(g->stage, sizeof g->stage, k ? "simulation-%d" : "simulation", k);
    char state[48];
    snprintf(state, sizeof state, "%s/state", g->stage);
    LMB_TRY(lmb_fields_bind(lmb_server_fields, r->c.server, &g->server, err));
    LMB_TRY(lmb_stage_path(g->state_dir, r->job.c.run, state, "", err));
    g->server.state_dir = g->state_dir;
    LMB_TRY(lmb_fields_bind(lmb_simulate_fields, r->c.simulate, &g->simulate, err));
    LMB_TRY(lmb_lanes_create(r->c.local, g->simulate.streams, first_rank ? &log : NULL, &g->lanes, err));
    LMB_TRY(lmb_rounds_open(&g->job, &r->c, k ? NULL : model, g->stage, &g->rounds, err));
    if (g->simulate.masks && lmb_lanes_on_gpu(g->lanes) && !r->masks)
        r->masks = lmb_unmask_gpu_open("masks go on and come off", &log);
    if (lmb_args_get(&r->args, "test", NULL))
        g->rounds.test = r->job.test;
    g->rounds.server.log = &log;
    if (r->n_groups == 1)
        return LMB_OK;
    LMB_TRY(lmb_stage_path(g->exchange, r->job.c.run, "simulation/answers", "", err));
    g->rounds.feddf->exchange = g->exchange;
    g->rounds.feddf->name = g->rounds.group = g->stage;
    g->rounds.total = (uint64_t)g->server.rounds;
    return LMB_OK;
}

static lmb_status run_group(group *g, lmb_comm *comm, uint64_t rounds, bool leave, lmb_error *err)
{
    request *r = g->r;
    lmb_privacy privacy = { .on = false };
    lmb_server_config server = g->server;
    bool unsettled;
    int lanes = lmb_lanes_count(g->lanes, &unsettled);
    const lmb_masker masker = { lmb_unmask_gpu_apply, r->masks };
    lmb_simulation s = { .c = g->simulate,
                         .server = &server,
                         .job = &g->rounds.server,
                         .clients = (int)g->clients,
                         .examples = r->examples + g->from,
                         .train = train,
                         .lanes = lanes,
                         .room = unsettled ? lane_room : NULL,
                         .leave = lane_left,
                         .masker = r->masks ? &masker : NULL,
                         .begin = begin,
                         .stop = stop,
                         .fresh = !g->begun && lmb_args_get(&r->args, "fresh", NULL),
                         .privacy = &privacy,
                         .ctx = g };
    uint64_t round;
    double score, first;

    server.rounds = (int64_t)rounds;
    if (g->rounds.partial || (g->rounds.term && g->rounds.term->memory))
        s.c.checkpoint_s = 0; /* what clients keep goes back one round, no more */
    LMB_TRY(lmb_simulate(&s, comm, g->rounds.state, &round, &score, &first, err));
    g->begun = true;
    if (comm->rank || !leave)
        return LMB_OK;
    LMB_TRY(lmb_rounds_leave(&g->rounds, round, score, first, &privacy, err));
    if (g->rounds.partial)
        return LMB_OK; /* a part of a model has no score */
    return lmb_stage_report(r->job.c.run, g->stage, g->rounds.leave, g->rounds.model, r->job.test, "cpu", err);
}

/* Round by round the groups take turns: each is taught by its own clients' models of the round and by the others' last
 * ones. */
static lmb_status run_groups(request *r, lmb_comm *comm, lmb_error *err)
{
    uint64_t rounds = (uint64_t)r->group[0].server.rounds;

    for (uint64_t round = 1; round <= rounds; round++)
        for (int k = 0; k < r->n_groups; k++) {
            bool halt = lmb_interrupted();
            LMB_TRY(comm->broadcast(comm, &halt, sizeof halt, 0, err));
            if (halt)
                return LMB_FAIL(err, LMB_E_STOPPED, "stopped in round %llu of %llu", (unsigned long long)round,
                                (unsigned long long)rounds);
            LMB_TRY(run_group(&r->group[k], comm, round, round == rounds, err));
        }
    return LMB_OK;
}

static lmb_status simulate(void *ctx, lmb_comm *comm, lmb_error *err)
{
    request *r = ctx;

    LMB_TRY(lmb_job_data(&r->job, err));
    LMB_TRY(divide(r, err));
    LMB_TRY(divide_groups(r, err));
    for (int k = 0; k < r->n_groups; k++)
        LMB_TRY(open_group(&r->group[k], lmb_args_get(&r->args, "model", NULL), comm->rank == 0, err));
    lmb_signals_catch(NULL);
    return r->n_groups > 1 ? run_groups(r, comm, err)
                           : run_group(r->group, comm, (uint64_t)r->group->server.rounds, true, err);
}

static void close_all(request *r)
{
    for (int k = 0; r->group && k < r->n_groups; k++) {
        lmb_rounds_close(&r->group[k].rounds);
        lmb_lanes_destroy(r->group[k].lanes);
    }
    free(r->group);
    lmb_unmask_gpu_close(r->masks);
    for (int i = 0; r->part && i < r->c.clients; i++)
        lmb_dataset_destroy(r->part[i]);
    free(r->part);
    free(r->examples);
    lmb_job_close(&r->job);
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "model", "!fresh", "!test", NULL };
    request r = { .part = NULL };

    LMB_TRY(lmb_args_parse(argc, argv, known, &r.args, err));
    if (r.args.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_job_open(r.args.word[0], &r.args, LMB_JOB_DATA_ONLY, &r.job, err));
    lmb_status st = lmb_federation_of(&r.job, &r.c, err);
    if (st == LMB_OK)
        st = lmb_with_ranks(simulate, &r, err);
    close_all(&r);
    return st;
}

const lmb_cmd lmb_cmd_simulate = { "simulate", "run a federation of many clients without a network", usage, run };
