/* launch/cmd_serve.c - `limbeck serve` and `limbeck federation invite`: a federation's server. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "core/onnx/onnx.h"
#include "federated/server.h"
#include "launch/federation.h"
#include "launch/stage.h"

static const char serve_usage[] =
    "usage: limbeck serve CONFIG.yaml [--model FILE.onnx] [--set key=value ...]\n\n"
    "Serves a federation: improves the student (default <run>/student-int8/qat.onnx) over `federation.server.rounds` rounds of\n"
    "encrypted updates, scores each round on the validation part, and writes the best one to <run>/federation/model.onnx: the model that it began\n"
    "with when no round was better.\n"
    "Prints `listening on HOST:PORT` once clients can come. Killed at any time, the same command goes on where it was.\n"
    "Clients: `limbeck federation invite CONFIG.yaml`, then `limbeck join` with what it prints.\n";
static const char invite_usage[] =
    "usage: limbeck federation invite CONFIG.yaml [--port N] [--set key=value ...]\n\n"
    "Prints one invite: address, server key, one-time token, in one string. Works beside a running server. With\n"
    "`federation.server.port: 0` give the port that the server printed.\n";

typedef struct scoring {
    const lmb_job *job;
    const lmb_graph *model;
    char history[LMB_STAGE_PATH];
} scoring;

static lmb_status evaluate(void *ctx, uint64_t round, const float *model, size_t n, double *score, lmb_figures *figures, lmb_error *err)
{
    const scoring *s = ctx;
    lmb_metrics m;

    (void)round, (void)n;
    LMB_TRY(lmb_metrics_init(&m, s->job->validation->classes, err));
    lmb_status st = lmb_evaluate(s->model, model, s->job->validation, "cpu", lmb_cpu_count(), &m, err);
    *score = lmb_metrics_accuracy(&m);
    if (figures) {
        lmb_figures_add(figures, "valid_accuracy", *score);
        lmb_figures_add(figures, "valid_loss", lmb_metrics_loss(&m));
    }
    lmb_metrics_deinit(&m);
    return st;
}

static void print_round(const lmb_round_report *r)
{
    char score[64] = "";

    if (r->scored)
        snprintf(score, sizeof score, "  validation %.2f %%%s", 100 * r->score, r->best ? " (best)" : "");
    if (r->round == 0)
        fprintf(stderr, "round 0, the model that clients are given%s\n", score);
    else
        fprintf(stderr, "round %llu/%llu  %s  %llu updates of %llu clients  %llu examples%s  %.1f s  %.0f kB in  %.0f kB out\n",
                (unsigned long long)r->round, (unsigned long long)r->rounds, r->committed ? "committed" : "abandoned",
                (unsigned long long)r->updates, (unsigned long long)r->selected, (unsigned long long)r->examples, score, r->seconds,
                (double)r->bytes_in / 1000, (double)r->bytes_out / 1000);
}

static void on_round(void *ctx, const lmb_round_report *r)
{
    const scoring *s = ctx;
    lmb_str line = LMB_STR_INIT;

    print_round(r);
    lmb_str_addf(&line, "{\"round\": %llu, \"committed\": %s, \"updates\": %llu", (unsigned long long)r->round,
                 r->committed ? "true" : "false", (unsigned long long)r->updates);
    if (r->scored) {
        lmb_str_add(&line, ", \"valid_accuracy\": ");
        lmb_str_add_number(&line, r->score);
    }
    lmb_str_addf(&line, ", \"bytes_in\": %llu, \"bytes_out\": %llu, \"seconds\": ", (unsigned long long)r->bytes_in, (unsigned long long)r->bytes_out);
    lmb_str_add_number(&line, r->seconds);
    lmb_str_add(&line, "}\n");
    if (lmb_file_append(s->history, line.text, line.n, NULL) != LMB_OK)
        fprintf(stderr, "limbeck serve: %s can not be written\n", s->history);
    lmb_str_free(&line);
}

static void on_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)subsystem;
    fprintf(stderr, "server%s: %s\n", level <= LMB_LOG_WARN ? " (warning)" : "", text);
}

static lmb_server *running;
static void on_signal(int s)
{
    (void)s;
    if (running)
        lmb_server_stop(running);
}

/* Parameters travel; statistics, observers and masks stay as the server has them. */
static lmb_fed_segment *segments_of(const lmb_state_layout *l)
{
    lmb_fed_segment *s = calloc((size_t)l->n + 1, sizeof *s);
    for (int i = 0; s && i < l->n; i++)
        s[i] = (lmb_fed_segment){ l->segment[i].offset, l->segment[i].count, l->segment[i].role == LMB_ROLE_PARAMETER && !l->segment[i].frozen };
    return s;
}

static lmb_status write_best(const lmb_job *j, lmb_graph *model, const lmb_state_layout *l, float *state, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    uint64_t round;
    double score;

    LMB_TRY(lmb_server_best(running, state, &round, &score, err));
    LMB_TRY(lmb_state_to_graph(l, state, model, err));
    LMB_TRY(lmb_stage_path(path, j->c.run, "federation", "model.onnx", err));
    LMB_TRY(lmb_onnx_write(path, model, NULL, err));
    if (round == 0)
        printf("no round was better than the model that clients were given, validation %.2f %%; it stays: %s\n", 100 * score, path);
    else
        printf("validation rose by %.2f points, from %.2f to %.2f %%, in round %llu: %s\n", 100 * (score - lmb_server_first_score(running)),
               100 * lmb_server_first_score(running), 100 * score, (unsigned long long)round, path);
    return LMB_OK;
}

static lmb_status serve_graph(lmb_job *j, const lmb_federation_config *c, const lmb_server_config *server, lmb_graph *model, const lmb_str *bytes, lmb_error *err)
{
    scoring s = { .job = j, .model = model };
    lmb_log log = { on_line, NULL, LMB_LOG_INFO };
    lmb_state_layout *l = NULL;
    lmb_fed_segment *segments = NULL;
    lmb_str settings = LMB_STR_INIT;
    float *state = NULL;
    lmb_status st;

    LMB_TRY(lmb_stage_path(s.history, j->c.run, "federation", "history.jsonl", err));
    LMB_TRY(lmb_state_layout_create(model, &l, err));
    segments = segments_of(l);
    state = malloc(sizeof *state * (l->count + 1));
    if (!segments || !state) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to serve a model of %zu numbers", l->count);
        goto done;
    }
    lmb_state_from_graph(l, model, state);
    if (c->local)
        LMB_TRY_GOTO(st, done, lmb_tree_dump(c->local, 0, &settings));
    lmb_server_job job = { .n = l->count, .initial = state, .layout = l->hash, .graph = bytes->text, .graph_bytes = bytes->n,
                           .settings = settings.text ? settings.text : "", .segments = segments, .n_segments = (size_t)l->n,
                           .evaluate = evaluate, .on_round = on_round, .ctx = &s, .log = &log };
    LMB_TRY_GOTO(st, done, lmb_server_create(server, &job, &running, err));
    printf("listening on %s:%d\n", c->host, lmb_server_port(running));
    fflush(stdout);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    st = lmb_server_run(running, err);
    if (st == LMB_OK)
        st = write_best(j, model, l, state, err);
done:
    lmb_server *ended = running;
    running = NULL; /* a signal that comes now finds nothing */
    lmb_server_destroy(ended);
    lmb_state_layout_destroy(l);
    lmb_str_free(&settings);
    free(segments);
    free(state);
    return st;
}

lmb_status lmb_federation_server(const lmb_job *j, const lmb_federation_config *c, lmb_server_config *out,
                                 char path[LMB_FEDERATION_PATH], lmb_error *err)
{
    LMB_TRY(lmb_fields_bind(lmb_server_fields, c->server, out, err));
    if (*out->state_dir)
        return LMB_OK;
    LMB_TRY(lmb_stage_path(path, j->c.run, "federation/server", "", err));
    out->state_dir = path;
    return LMB_OK;
}

static lmb_status serve(lmb_job *j, const lmb_args *a, lmb_error *err)
{
    lmb_federation_config c;
    lmb_server_config server;
    lmb_graph *model = NULL;
    lmb_str bytes = LMB_STR_INIT;
    char dir[LMB_STAGE_PATH], path[LMB_STAGE_PATH];

    LMB_TRY(lmb_federation_of(j, &c, err));
    LMB_TRY(lmb_federation_server(j, &c, &server, dir, err));
    LMB_TRY(lmb_job_data(j, err));
    if (!j->validation)
        return LMB_FAIL(err, LMB_E_ARG, "split.validation is 0: rounds are chosen on validation samples");
    LMB_TRY(lmb_stage_path(path, j->c.run, "student-int8", "qat.onnx", err));
    LMB_TRY(lmb_onnx_read(lmb_args_get(a, "model", path), NULL, &model, err));
    lmb_status st = lmb_onnx_export(model, NULL, &bytes, err);
    if (st == LMB_OK)
        st = serve_graph(j, &c, &server, model, &bytes, err);
    lmb_str_free(&bytes);
    lmb_graph_destroy(model);
    return st;
}

static lmb_status run_serve(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "model", NULL };
    lmb_args a;
    lmb_job j;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_job_open(a.word[0], &a, LMB_JOB_DATA_ONLY, &j, err));
    lmb_status st = serve(&j, &a, err);
    if (st == LMB_E_STOPPED)
        fprintf(stderr, "stopped; the same command goes on from here\n");
    lmb_job_close(&j);
    return st;
}

static lmb_status run_invite(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "port", NULL };
    lmb_federation_config c;
    lmb_server_config server;
    char dir[LMB_STAGE_PATH], invite[LMB_SERVER_INVITE];
    int64_t port = 0;
    lmb_args a;
    lmb_job j;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 2 || strcmp(a.word[0], "invite") != 0)
        return LMB_FAIL(err, LMB_E_ARG, "write `limbeck federation invite CONFIG.yaml`");
    LMB_TRY(lmb_job_open(a.word[1], &a, LMB_JOB_DATA_ONLY, &j, err));
    lmb_status st = lmb_federation_of(&j, &c, err);
    if (st == LMB_OK)
        st = lmb_federation_server(&j, &c, &server, dir, err);
    if (st == LMB_OK)
        st = lmb_args_int(&a, "port", server.port, 1, 65535, &port, err);
    if (st == LMB_OK && port == 0)
        st = LMB_FAIL(err, LMB_E_ARG, "which port? federation.server.port is 0; give --port with what `limbeck serve` printed");
    if (st == LMB_OK)
        st = lmb_server_invite(server.state_dir, c.host, (int)port, c.invite_ttl_s, invite, err);
    if (st == LMB_OK)
        printf("%s\n", invite);
    lmb_job_close(&j);
    return st;
}

const lmb_cmd lmb_cmd_serve = { "serve", "serve a federation", serve_usage, run_serve };
const lmb_cmd lmb_cmd_federation = { "federation", "invite clients to a federation", invite_usage, run_invite };
