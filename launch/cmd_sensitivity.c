/* launch/cmd_sensitivity.c - `limbeck sensitivity`: which layers can spare channels, before anything is pruned. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "distill/search/taylor.h"
#include "launch/job.h"
#include "launch/model_file.h"
#include "launch/sensitivity.h"
#include "launch/stage.h"

static const char usage[] =
    "usage: limbeck sensitivity CONFIG.yaml MODEL.onnx [--criterion l1] [--shares 0.1,0.25,0.5,0.75,0.9] [--part "
    "validation]\n"
    "                           [--samples 1000] [--seed 1] [--set key=value ...]\n\n"
    "Takes channels of one class at a time (what belongs together, as `limbeck distill` prunes it) out of a float "
    "model, the least\n"
    "first by a criterion of `limbeck list criteria`, and says how accurate the rest is, without any training: a "
    "table, and\n"
    "<run>/sensitivity/sensitivity.json and sensitivity.html with the curves. Classes that nothing can be taken from are "
    "listed with\n"
    "the reason. --samples 0: all of the part.\n";

enum { GRADIENT_BATCHES = 16, GRADIENT_ROWS = 32 };

/* "0.1,0.25": out[*n]. */
static lmb_status read_shares(const char *text, double *out, int *n, lmb_error *err)
{
    const char *at = text;
    char *end;

    for (*n = 0; *n < LMB_SENSITIVITY_SHARES; at = end + 1) {
        out[(*n)++] = strtod(at, &end);
        if (end == at || (*end && *end != ','))
            return LMB_FAIL(err, LMB_E_ARG,
                            "--shares %s; it is numbers between 0 and 1 with commas, such as 0.1,0.5,0.9", text);
        if (!*end)
            return LMB_OK;
    }
    return LMB_FAIL(err, LMB_E_ARG, "--shares %s; at most %d can be tried", text, LMB_SENSITIVITY_SHARES);
}

/* The first samples of a part, whose order the split has drawn. The view is the caller's. */
static lmb_status first_samples(const lmb_dataset *d, int64_t n, lmb_dataset **out, lmb_error *err)
{
    if (n == 0 || n > d->n)
        n = d->n;
    uint32_t *index = malloc(sizeof *index * (size_t)(n + 1));
    if (!index)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld samples", (long long)n);
    for (int64_t i = 0; i < n; i++)
        index[i] = (uint32_t)i;
    lmb_status st = lmb_dataset_subset(d, index, n, out, err);
    free(index);
    return st;
}

static void progress(void *ctx, int done, int all)
{
    (void)ctx;
    fprintf(stderr, "\r%d of %d classes%s", done, all, done == all ? "\n" : "");
}

static lmb_status leave(const lmb_job *j, const lmb_sensitivity_report *r, lmb_error *err)
{
    static const char *const names[] = { "sensitivity.json", "sensitivity.html" };
    void (*const made[])(const lmb_sensitivity_report *, lmb_str *) = { lmb_sensitivity_json, lmb_sensitivity_page };
    char path[LMB_STAGE_PATH];
    lmb_str s = LMB_STR_INIT;
    lmb_status st = LMB_OK;

    lmb_sensitivity_table(r, &s);
    st = lmb_str_check(&s, err);
    if (st == LMB_OK)
        printf("%s", s.text);
    for (int i = 0; i < 2 && st == LMB_OK; i++) {
        lmb_str_clear(&s);
        made[i](r, &s);
        LMB_TRY_GOTO(st, done, lmb_str_check(&s, err));
        LMB_TRY_GOTO(st, done, lmb_stage_path(path, j->c.run, "sensitivity", names[i], err));
        LMB_TRY_GOTO(st, done, lmb_file_write(path, s.text, s.n, err));
        printf("%s\n", path);
    }
done:
    lmb_str_free(&s);
    return st;
}

static lmb_status study(lmb_job *j, const lmb_args *a, lmb_sensitivity_config *c, int64_t samples, lmb_error *err)
{
    const char *part = lmb_args_get(a, "part", "validation");
    lmb_taylor_config tc = { GRADIENT_BATCHES, GRADIENT_ROWS, (uint64_t)c->prune.seed, "cpu" };
    lmb_graph *model = NULL;
    lmb_taylor *taylor = NULL;
    lmb_sensitivity *s = NULL;
    lmb_dataset *view = NULL;
    lmb_str config = LMB_STR_INIT;
    bool gradients;
    lmb_status st;

    LMB_TRY(lmb_prune_needs_gradients(&c->prune, &gradients, err));
    LMB_TRY(lmb_job_data(j, err));
    const lmb_dataset *d = !strcmp(part, "validation") ? j->validation
                           : !strcmp(part, "test")     ? j->test
                           : !strcmp(part, "train")    ? j->train
                                                       : NULL;
    if (!d)
        return LMB_FAIL(err, LMB_E_ARG, "--part %s; it must be validation, test or train, and not empty", part);
    LMB_TRY_GOTO(st, done, first_samples(d, samples, &view, err));
    LMB_TRY_GOTO(st, done, lmb_model_file(j, a->word[1], &model, err));
    if (gradients) {
        LMB_TRY_GOTO(st, done, lmb_job_training(j, err));
        if (tc.batches * tc.rows > j->train->n && j->train->n >= tc.rows)
            tc.batches = j->train->n / tc.rows;
        LMB_TRY_GOTO(st, done, lmb_taylor_create(model, j->train, &tc, &taylor, err));
    }
    c->prune.gradients = taylor;
    LMB_TRY_GOTO(st, done, lmb_sensitivity_create(model, view, c, progress, NULL, &s, err));
    LMB_TRY_GOTO(st, done, lmb_job_dump(j, &config, err));
    lmb_sensitivity_report r = { s, a->word[1], c->prune.criterion, part, config.text };
    st = leave(j, &r, err);
done:
    lmb_sensitivity_destroy(s);
    lmb_taylor_destroy(taylor);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(view);
    lmb_str_free(&config);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "criterion", "shares", "part", "samples", "seed", NULL };
    lmb_sensitivity_config c = { .backend = "cpu", .threads = lmb_cpu_count() };
    int64_t samples;
    lmb_args a;
    lmb_job j;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 2)
        return LMB_FAIL(err, LMB_E_ARG, "give a configuration (for the data) and a model file; --help explains");
    LMB_TRY(lmb_args_int(&a, "samples", 1000, 0, INT32_MAX, &samples, err));
    LMB_TRY(lmb_args_int(&a, "seed", 1, 0, INT64_MAX, &c.prune.seed, err));
    LMB_TRY(read_shares(lmb_args_get(&a, "shares", "0.1,0.25,0.5,0.75,0.9"), c.share, &c.n_shares, err));
    c.prune.criterion = lmb_args_get(&a, "criterion", "l1");
    LMB_TRY(lmb_job_open(a.word[0], &a, LMB_JOB_DATA_ONLY, &j, err));
    lmb_status st = study(&j, &a, &c, samples, err);
    lmb_job_close(&j);
    return st;
}

const lmb_cmd lmb_cmd_sensitivity = { "sensitivity", "which layers of a model can spare channels", usage, run };
