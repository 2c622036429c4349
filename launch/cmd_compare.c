/* launch/cmd_compare.c - `limbeck compare`: is one recipe better than another, or was it the seed? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "distill/search/identity.h"
#include "distill/search/lines.h"
#include "launch/answers.h"
#include "launch/compare_recipes.h"
#include "launch/lock.h"
#include "launch/runner.h"
#include "launch/signals.h"

static const char usage[] =
    "usage: limbeck compare A.yaml B.yaml [C.yaml ...] [--seeds 1,2,3] [--folds K] [--stage teacher|student]\n"
    "                       [--out FOLDER] [--unpaired] [--fresh] [--set key=value ...]\n"
    "       mpirun -n 4 limbeck compare ...                trainings side by side, with the same outcome\n\n"
    "Trains every recipe with every seed and says in a sentence whether one is better. Two: paired t-test; more: "
    "analysis of variance\n"
    "with repeated measures, then each pair; McNemar's test on the answers. All must have the same `data` and "
    "`split`.\n\n"
    "  --seeds LIST      of the trainings (train.seed), and of the folds; default 1,2,3\n"
    "  --folds K         stratified cross-validation on the training and the validation part instead of the test part; "
    "the last\n"
    "                    weights are scored, since nothing is left to choose an epoch by\n"
    "  --unpaired        one-way analysis of variance, for recipes in which a seed means nothing in common; not with "
    "--folds\n"
    "  --out FOLDER      default runs/compare: compare.json, report.html, and the journal by which a stopped "
    "comparison goes on\n"
    "  --fresh           begin again\n"
    "  --set key=value   in all of them\n";

typedef lmbi_compare request;

/* Training number k is of which recipe, seed and fold. */
typedef struct which {
    int recipe, seed, fold;
} which;
static which of(const request *r, int k)
{
    return (which){ k / (r->seeds * r->folds), k / r->folds % r->seeds, k % r->folds };
}

static const lmb_dataset *held_out(const request *r, which w)
{
    return r->folds > 1 ? r->part[w.seed].held_out[w.fold] : r->job.test;
}

/* Where the answers of training k begin. */
static uint8_t *answers_of(const request *r, which w)
{
    return r->right + ((int64_t)w.recipe * r->seeds + w.seed) * r->samples +
           (r->folds > 1 ? r->samples * w.fold / r->folds : 0);
}

/* ---- a training ---- */

static bool on_step(void *ctx, double share)
{
    request *r = ctx;
    char title[64];

    if (r->rank == 0) {
        snprintf(title, sizeof title, "training %d of %d", r->done + 1, r->n);
        lmb_progress_show(&r->bar, title, (int64_t)(1000 * (r->done + share * r->ranks)), (int64_t)1000 * r->n, "");
    }
    return !lmb_interrupted();
}

static lmb_status mark(const lmb_graph *model, const lmb_dataset *data, const char *backend, uint8_t *right,
                       lmb_error *err)
{
    float *y = malloc(sizeof *y * (size_t)(data->n * data->classes));
    int32_t *label = malloc(sizeof *label * (size_t)data->n);
    lmb_status st = y && label ? lmb_answers(model, data, backend, y, err)
                               : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld answers", (long long)data->n);

    if (st == LMB_OK)
        st = lmb_dataset_labels(data, label, err);
    for (int64_t i = 0; st == LMB_OK && i < data->n; i++)
        right[i] = lmb_argmax(y + i * data->classes, data->classes) == label[i];
    free(y);
    free(label);
    return st;
}

static lmb_status work(request *r, int k, uint8_t *right, lmb_error *err)
{
    which w = of(r, k);
    const lmb_trial_watch watch = { NULL, on_step, r };
    const lmb_dataset *train = r->folds > 1 ? r->part[w.seed].train[w.fold] : r->job.train;
    lmb_graph *model = NULL;
    double score;
    lmb_job j;

    LMB_TRY(lmbi_compare_job(r, w.recipe, r->seed[w.seed], &j, err));
    lmb_status st =
        lmb_trial_train(&j, train, r->folds > 1 ? NULL : r->job.validation, r->threads, &watch, &model, &score, err);
    if (st == LMB_OK)
        st = mark(model, held_out(r, w), j.stage.train.backend, right, err);
    if (st != LMB_OK && st != LMB_E_STOPPED)
        lmb_error_context(err, "%s, seed %lld", r->name[w.recipe], (long long)r->seed[w.seed]);
    lmb_graph_destroy(model);
    lmb_recipe_close(&j);
    return st;
}

/* ---- the journal: a line for each training, its answers as 0 and 1 ---- */

static lmb_status take(request *r, const uint8_t *right)
{
    which w = of(r, r->done);
    int64_t n = held_out(r, w)->n, sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += right[i];
    memcpy(answers_of(r, w), right, (size_t)n);
    r->accuracy[r->done++] = (double)sum / (double)n;
    return LMB_OK;
}

static lmb_status read_line(void *ctx, const lmb_tree *line, lmb_error *err)
{
    request *r = ctx;
    const char *text;
    double k;

    if (!r->begun) {
        r->begun = true;
        LMB_TRY(lmb_line_text(line, "compare", &text, err));
        return lmb_identity_check(text, r->identity.text, "comparison", "--out", err);
    }
    LMB_TRY(lmb_line_real(line, "training", &k, err));
    LMB_TRY(lmb_line_text(line, "right", &text, err));
    if (k != r->done || r->done >= r->n || strlen(text) != (size_t)held_out(r, of(r, r->done))->n ||
        strspn(text, "01") != strlen(text))
        return LMB_FAIL(err, LMB_E_FORMAT, "it is not training %d of this comparison", r->done);
    uint8_t *right = malloc(strlen(text) + 1);
    if (!right)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu answers", strlen(text));
    for (size_t i = 0; text[i]; i++)
        right[i] = text[i] == '1';
    lmb_status st = take(r, right);
    free(right);
    return st;
}

static lmb_status write_line(request *r, const uint8_t *right, lmb_error *err)
{
    lmb_str s = LMB_STR_INIT;
    which w = of(r, r->done);

    lmb_str_addf(&s, "{\"training\": %d, \"recipe\": %d, \"seed\": %lld, \"fold\": %d, \"right\": \"", r->done,
                 w.recipe, (long long)r->seed[w.seed], w.fold);
    for (int64_t i = 0; i < held_out(r, w)->n; i++)
        lmb_str_add_n(&s, right[i] ? "1" : "0", 1);
    lmb_str_add(&s, "\"}");
    lmb_status st = lmb_lines_add(r->journal, &s, err);
    lmb_str_free(&s);
    return st;
}

static lmb_status open_journal(request *r, lmb_error *err)
{
    static const char *const left_behind[] = { "report.html", "compare.json", "journal.jsonl", NULL };
    lmb_str s = LMB_STR_INIT;

    if (r->fresh)
        LMB_TRY(lmb_trials_forget(r->out, left_behind, err));
    LMB_TRY(lmb_lines_read(r->journal, LMB_LINES_AFRESH, read_line, r, err));
    if (r->begun)
        return LMB_OK;
    lmb_str_add(&s, "{\"compare\": ");
    lmb_str_add_json(&s, r->identity.text);
    lmb_str_add(&s, "}");
    lmb_status st = lmb_lines_add(r->journal, &s, err);
    lmb_str_free(&s);
    return st;
}

/* ---- the whole ---- */

static void tell(request *r)
{
    which w = of(r, r->done - 1);
    char line[400];

    snprintf(line, sizeof line, "training %d of %d: %.200s, seed %lld%s: %.2f %%; about %.0f s to go", r->done, r->n,
             r->name[w.recipe], (long long)r->seed[w.seed], r->folds > 1 ? ", a fold" : "",
             100 * r->accuracy[r->done - 1], (lmb_seconds() - r->started) / (r->done - r->before) * (r->n - r->done));
    lmb_progress_line(&r->bar, line);
    lmb_progress_begin(&r->bar);
}

/* One training for each rank, then everyone's answers. */
static lmb_status wave(request *r, lmb_comm *c, uint8_t *mine, uint8_t *all, lmb_error *err)
{
    size_t bytes = (size_t)r->samples + 1; /* the last: it was stopped */
    int n = r->n - r->done < c->size ? r->n - r->done : c->size;
    lmb_status st = c->rank < n ? work(r, r->done + c->rank, mine, err) : LMB_OK;

    if (st != LMB_OK && st != LMB_E_STOPPED)
        return st;
    mine[bytes - 1] = st == LMB_E_STOPPED;
    lmb_error_clear(err);
    LMB_TRY(c->gather_all(c, mine, all, bytes, err));
    for (int k = 0; k < n; k++) {
        const uint8_t *right = all + (size_t)k * bytes;
        if (right[bytes - 1])
            return LMB_FAIL(err, LMB_E_STOPPED, "stopped in training %d", r->done);
        if (c->rank == 0)
            LMB_TRY(write_line(r, right, err));
        LMB_TRY(take(r, right));
        if (c->rank == 0)
            tell(r);
    }
    return LMB_OK;
}

static lmb_status train_all(request *r, lmb_comm *c, lmb_error *err)
{
    size_t bytes = (size_t)r->samples + 1;
    uint8_t *mine = calloc(bytes, 1), *all = calloc(bytes, (size_t)c->size);
    lmb_status st = mine && all ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for the answers of %d ranks", c->size);

    while (st == LMB_OK && r->done < r->n)
        st = wave(r, c, mine, all, err);
    free(mine);
    free(all);
    return st;
}

static lmb_status write_file(const request *r, const char *name, lmb_str *s, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    lmb_status st = lmb_str_check(s, err);

    if (st == LMB_OK)
        st = lmb_path_join(path, sizeof path, r->out, name, err);
    if (st == LMB_OK)
        st = lmb_file_write(path, s->text, s->n, err);
    lmb_str_clear(s);
    return st;
}

/* Each recipe as its first training had it, --set and all. */
static lmb_status add_configs(const request *r, lmb_str *out, lmb_error *err)
{
    lmb_job j;

    for (int i = 0; i < r->recipes; i++) {
        lmb_str_addf(out, "%s# %s\n# train.seed is that of its first training; all have", i ? "\n" : "", r->name[i]);
        for (int s = 0; s < r->seeds; s++)
            lmb_str_addf(out, "%s %lld", s ? "," : "", (long long)r->seed[s]);
        lmb_str_add(out, "\n");
        LMB_TRY(lmbi_compare_job(r, i, r->seed[0], &j, err));
        lmb_status st = lmb_job_dump(&j, out, err);
        lmb_recipe_close(&j);
        LMB_TRY(st);
    }
    return LMB_OK;
}

static lmb_status leave(const request *r, lmb_error *err)
{
    const lmb_recipes x = { r->recipes,  r->seeds, r->folds,   r->name,    r->seed,
                            r->accuracy, r->right, r->samples, r->unpaired };
    lmb_str s = LMB_STR_INIT, config = LMB_STR_INIT;
    lmb_status st;

    LMB_TRY_GOTO(st, done, add_configs(r, &config, err));
    lmb_recipes_json(&x, &s);
    LMB_TRY_GOTO(st, done, write_file(r, "compare.json", &s, err));
    lmb_recipes_page(&x, config.text, &s);
    LMB_TRY_GOTO(st, done, write_file(r, "report.html", &s, err));
    lmb_recipes_verdict(&x, &s);
    LMB_TRY_GOTO(st, done, lmb_str_check(&s, err));
    printf("%s%s/compare.json\n", s.text, r->out);
done:
    lmb_str_free(&s);
    lmb_str_free(&config);
    return st;
}

static lmb_status compare(void *ctx, lmb_comm *comm, lmb_error *err)
{
    request *r = ctx;
    int lock = -1;

    r->rank = comm->rank;
    r->ranks = comm->size;
    r->threads = (lmb_cpu_count() + comm->size - 1) / comm->size;
    if (r->rank == 0)
        LMB_TRY(lmb_lock(r->out, 60, NULL, &lock, err));
    lmb_signals_catch(NULL);
    lmb_status st = r->rank == 0 ? open_journal(r, err) : LMB_OK;
    if (st == LMB_OK)
        st = comm->broadcast(comm, &r->done, sizeof r->done, 0, err);
    r->before = r->done;
    lmb_progress_begin(&r->bar);
    r->started = lmb_seconds();
    if (st == LMB_OK)
        st = train_all(r, comm, err);
    lmb_progress_end(&r->bar);
    if (st == LMB_E_STOPPED && r->rank == 0)
        fprintf(stderr, "stopped; the same command goes on after the last training\n");
    if (st == LMB_OK && r->rank == 0)
        st = leave(r, err);
    lmb_unlock(lock);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "seeds", "folds", "stage", "out", "!unpaired", "!fresh", NULL };
    lmb_args a;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    request *r = calloc(1, sizeof *r);
    if (!r)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare");
    lmb_status st = lmbi_compare_open(r, &a, err);
    if (st == LMB_OK)
        st = lmb_with_ranks(compare, r, err);
    lmbi_compare_close(r);
    free(r);
    return st;
}

const lmb_cmd lmb_cmd_compare = { "compare", "is one recipe better than another, or was it the seed?", usage, run };
