/* launch/cmd_join.c - `limbeck join`: take part in a federation with one's own data. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/scan.h"
#include "federated/local.h"
#include "launch/federation.h"
#include "launch/signals.h"
#include "launch/stage.h"

static const char usage[] =
    "usage: limbeck join CONFIG.yaml --invite STRING | --invite-file FILE [--data-slice I/K] [--state DIR] [--rotate-keys] [--set key=value ...]\n\n"
    "Joins the federation that the invite names and trains on this machine's data (the `data` of the configuration) whenever the\n"
    "server asks. Only changes of the model leave the machine, encrypted. The invite is good once; later starts need none.\n\n"
    "  --invite STRING    from `limbeck federation invite`\n"
    "  --invite-file FILE the same from a file, which other users of the machine do not see\n"
    "  --data-slice I/K   use slice I (from 0) of K of the samples that `split.clients` sets aside; to try a federation on one machine\n"
    "  --state DIR        this client's key and memory (default <run>/federation/client, client-I with a slice), and own.onnx,\n"
    "                     what it makes of the model for itself where `federation.local` has `keep` or `personal`\n"
    "  --rotate-keys      make new keys for this client and tell the server, once\n";

/* What the training thread works with. */
typedef struct worker {
    lmb_local *local;
    const lmb_dataset *data;
    char memory[LMB_STAGE_PATH], own[LMB_STAGE_PATH];
} worker;
static lmb_status train(void *ctx, const lmb_train_task *task, lmb_train_result *result, lmb_error *err)
{
    worker *w = ctx;
    LMB_TRY(lmb_local_train(w->local, w->data, task, result, w->memory, err));
    return lmb_local_own(w->local, w->own, err);
}

static lmb_client *running;
static void stop(void)
{
    if (running)
        lmb_client_stop(running);
}

static void on_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)level, (void)subsystem;
    fprintf(stderr, "%s: %s\n", (const char *)ctx, text);
}

/* --invite, --invite-file or "": *file is the caller's to free. */
static lmb_status invite_of(const lmb_args *a, void **file, const char **out, lmb_error *err)
{
    const char *path = lmb_args_get(a, "invite-file", NULL);
    size_t n;
    *out = lmb_args_get(a, "invite", "");
    if (path && **out)
        return LMB_FAIL(err, LMB_E_ARG, "give --invite or --invite-file, not both");
    if (!path)
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, 1024, file, &n, err));
    *out = *file;
    return LMB_OK;
}

static lmb_status join(lmb_job *j, const lmb_args *a, lmb_error *err)
{
    lmb_federation_config c;
    lmb_dataset *data = NULL;
    worker mine = { NULL, NULL, "", "" };
    char state[LMB_STAGE_PATH], name[64] = "client";
    const char *slice = lmb_args_get(a, "data-slice", NULL);
    uint64_t i = 0, k = 1;
    const char *invite;
    void *file = NULL;
    lmb_status st;

    const char *at = slice;
    if (slice &&
        (!lmb_scan_count(&at, 6, &i) || !lmb_scan_char(&at, '/') || !lmb_scan_count(&at, 6, &k) || *at || i >= k))
        return LMB_FAIL(err, LMB_E_ARG, "--data-slice %s; write it as I/K with I from 0 to K - 1", slice);
    LMB_TRY(lmb_federation_of(j, &c, err));
    LMB_TRY(lmb_job_data(j, err));
    if (slice) {
        snprintf(name, sizeof name, "client-%d", (int)i);
        LMB_TRY(lmb_federation_slice(j, &c, (int)i, (int)k, &data, err));
    }
    LMB_TRY_GOTO(st, done, lmb_stage_path(state, j->c.run, "federation", name, err));
    c.client.state_dir = lmb_args_get(a, "state", *c.client.state_dir ? c.client.state_dir : state);
    c.client.rotate_keys |= lmb_args_get(a, "rotate-keys", NULL) != NULL;
    if (!*c.client.name)
        c.client.name = name;
    lmb_log log = { on_line, name, LMB_LOG_INFO };
    LMB_TRY_GOTO(st, done, lmb_path_join(mine.memory, sizeof mine.memory, c.client.state_dir, "memory.bin", err));
    LMB_TRY_GOTO(st, done, lmb_path_join(mine.own, sizeof mine.own, c.client.state_dir, "own.onnx", err));
    LMB_TRY_GOTO(st, done, lmb_local_create(&mine.local, err));
    mine.data = data ? data : j->all;
    lmb_local_trainer trainer = { train, &mine };
    LMB_TRY_GOTO(st, done, invite_of(a, &file, &invite, err));
    LMB_TRY_GOTO(st, done, lmb_client_create(&c.client, invite, &trainer, &log, &running, err));
    lmb_signals_catch(stop);
    st = lmb_client_run(running, err);
    lmb_client *ended = running;
    running = NULL; /* a signal that comes now finds nothing */
    lmb_client_destroy(ended);
done:
    free(file);
    lmb_local_destroy(mine.local);
    lmb_dataset_destroy(data);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "invite", "invite-file", "data-slice", "state", "!rotate-keys", NULL };
    lmb_args a;
    lmb_job j;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_job_open(a.word[0], &a, LMB_JOB_DATA_ONLY, &j, err));
    lmb_status st = join(&j, &a, err);
    if (st == LMB_E_STOPPED)
        fprintf(stderr, "stopped; the same command goes on from here\n");
    lmb_job_close(&j);
    return st;
}

const lmb_cmd lmb_cmd_join = { "join", "take part in a federation with this machine's data", usage, run };
