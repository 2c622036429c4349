/* launch/cmd_serve.c - `limbeck serve`: a federation's server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "launch/rounds.h"
#include "launch/signals.h"

static const char serve_usage[] =
    "usage: limbeck serve CONFIG.yaml [--model FILE.onnx] [--set key=value ...]\n\n"
    "Serves a federation: improves a model (default: the `model` of the configuration, else <run>/student-int8/qat.onnx) over `federation.server.rounds` rounds of\n"
    "encrypted updates, scores each round on the validation part, and writes the best one to <run>/federation/model.onnx: the model that it began\n"
    "with when no round was better.\n"
    "Prints `listening on HOST:PORT` once clients can come. Killed at any time, the same command goes on where it was. Ctrl-C lets updates\n"
    "that are under way arrive (server.drain_s); a second one ends at once.\n"
    "Clients: `limbeck federation invite CONFIG.yaml`, then `limbeck join` with what it prints.\n";

static void on_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)subsystem;
    fprintf(stderr, "server%s: %s\n", level <= LMB_LOG_WARN ? " (warning)" : "", text);
}

static lmb_server *running;
static void stop(void)
{
    if (running)
        lmb_server_stop(running);
}

/* A client takes two descriptors while it uploads; what shells allow at first is enough for some hundreds. */
static void allow_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static lmb_status serve_rounds(lmb_rounds *r, const lmb_federation_config *c, const lmb_server_config *server,
                               lmb_error *err)
{
    static const lmb_log log = { on_line, NULL, LMB_LOG_INFO };
    uint64_t round;
    double score;

    allow_files();
    r->server.log = &log;
    LMB_TRY(lmb_server_create(server, &r->server, &running, err));
    if (!lmb_server_over(running)) { /* else clients would come to find nothing to do */
        printf("listening on %s:%d\n", c->host, lmb_server_port(running));
        fflush(stdout);
    }
    lmb_signals_catch(stop);
    lmb_status st = lmb_server_run(running, err);
    if (st == LMB_OK)
        st = lmb_server_best(running, r->state, &round, &score, err);
    if (st == LMB_OK)
        st = lmb_rounds_leave(r, round, score, lmb_server_first_score(running), lmb_server_privacy(running), err);
    lmb_server *ended = running;
    running = NULL; /* a signal that comes now finds nothing */
    lmb_server_destroy(ended);
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
    lmb_rounds rounds;
    char dir[LMB_STAGE_PATH];

    LMB_TRY(lmb_federation_of(j, &c, err));
    LMB_TRY(lmb_federation_server(j, &c, &server, dir, err));
    LMB_TRY(lmb_job_data(j, err));
    lmb_status st = lmb_rounds_open(j, &c, lmb_args_get(a, "model", NULL), "federation", &rounds, err);
    if (st == LMB_OK)
        st = serve_rounds(&rounds, &c, &server, err);
    lmb_rounds_close(&rounds);
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

const lmb_cmd lmb_cmd_serve = { "serve", "serve a federation", serve_usage, run_serve };
