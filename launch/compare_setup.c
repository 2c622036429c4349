/* launch/compare_setup.c - a comparison of recipes: what is asked for, and is it sound. See cmd_compare.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "distill/search/identity.h"
#include "launch/compare_recipes.h"

lmb_status lmbi_compare_job(const lmbi_compare *r, int recipe, int64_t seed, lmb_job *out, lmb_error *err)
{
    lmb_args a = r->args;
    char set[96];

    snprintf(set, sizeof set, "%.32s%strain.seed=%lld", r->stage ? r->stage : "", r->stage ? "." : "", (long long)seed);
    a.set[a.n_sets++] = set;
    return lmb_recipe_job(&r->recipe[recipe], &a, r->stage, r->job.all ? &r->job : NULL, out, err);
}

static lmb_status read_seeds(const char *text, lmbi_compare *r, lmb_error *err)
{
    for (const char *at = text; *at;) {
        char *end;
        long long v = strtoll(at, &end, 10);
        if (end == at || v < 0 || (*end && *end != ',') || r->seeds == LMB_RECIPES_SEEDS)
            return LMB_FAIL(err, LMB_E_ARG, "--seeds is '%s'; it is a list of at most %d whole numbers, such as 1,2,3",
                            text, LMB_RECIPES_SEEDS);
        for (int i = 0; i < r->seeds; i++)
            if (r->seed[i] == v)
                return LMB_FAIL(err, LMB_E_ARG, "--seeds has %lld twice: the same training twice says nothing new", v);
        r->seed[r->seeds++] = v;
        at = *end ? end + 1 : end;
    }
    return r->seeds ? LMB_OK : LMB_FAIL(err, LMB_E_ARG, "--seeds is empty");
}

/* Same samples for all, and something that trains; what all depends on into r->identity. */
static lmb_status check_recipe(lmbi_compare *r, int i, lmb_str *same, lmb_error *err)
{
    lmb_str mine = LMB_STR_INIT;
    lmb_trial_files files = { 0 };
    lmb_graph *model = NULL;
    char hex[LMB_HASH_HEX];
    lmb_hasher h;
    lmb_job j;

    LMB_TRY(lmbi_compare_job(r, i, r->seed[0], &j, err));
    lmb_hash_begin(&h);
    const lmb_split_config *s = &j.c.split;
    lmb_str_addf(&mine, "split %lld %lld %lld %lld\n", (long long)s->train, (long long)s->validation,
                 (long long)s->clients, (long long)s->seed);
    lmb_status st = lmb_tree_dump(j.c.data, 0, &mine) == LMB_OK ? LMB_OK : lmb_str_check(&mine, err);
    if (st == LMB_OK && i == 0)
        lmb_str_add(same, mine.text);
    else if (st == LMB_OK && strcmp(mine.text, same->text) != 0)
        st = LMB_FAIL(err, LMB_E_ARG,
                      "%s has another `data` or `split` than %s: what is compared must have the same samples",
                      r->name[i], r->name[0]);
    if (st == LMB_OK)
        st = lmb_trial_model(&j, &model, err);
    if (st == LMB_OK)
        st = lmb_job_check_training(&j.stage.train, model, r->folds > 1 ? r->part[0].train[0] : r->job.train, err);
    if (st == LMB_OK)
        st = lmb_job_check_patience(&j.stage.train, r->folds > 1 ? NULL : r->job.validation, err);
    if (st == LMB_OK)
        st = lmb_trial_teacher(&j, &h, err);
    if (st == LMB_OK && r->stage && strcmp(r->stage, "student") == 0)
        st = lmb_distill_check_job(&j, model, err);
    if (st == LMB_OK)
        st = lmb_job_dump_stage(&j, &r->identity, err);
    lmb_hash teacher = lmb_hash_end(&h);
    lmb_hash_hex(&teacher, hex);
    lmb_str_addf(&r->identity, "teacher: %s\n", hex);
    if (st == LMB_OK)
        st = lmb_trial_files_of(&j, &files, err);
    if (st == LMB_OK)
        st = lmb_trial_files_lines(&files, &r->identity, err);
    if (st != LMB_OK)
        lmb_error_context(err, "%s", r->name[i]);
    lmb_trial_files_free(&files);
    lmb_graph_destroy(model);
    lmb_recipe_close(&j);
    lmb_str_free(&mine);
    return st;
}

static lmb_status open_samples(lmbi_compare *r, lmb_error *err)
{
    lmb_job *j = &r->job;

    LMB_TRY(lmb_recipe_job(&r->recipe[0], &r->args, LMB_JOB_DATA_ONLY, NULL, j, err));
    LMB_TRY(lmb_job_data(j, err));
    LMB_TRY(lmb_job_training(j, err));
    for (int s = 0; s < r->seeds && r->folds > 1; s++)
        LMB_TRY(lmb_folds_open(j, r->folds, (uint64_t)r->seed[s], &r->part[s], err));
    r->samples = r->folds > 1 ? j->c.split.train + j->c.split.validation : j->test->n;
    r->n = r->recipes * r->seeds * r->folds;
    r->accuracy = calloc((size_t)r->n, sizeof *r->accuracy);
    r->right = calloc((size_t)(r->recipes * r->seeds), (size_t)r->samples);
    if (!r->accuracy || !r->right)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the answers of %d trainings", r->n);
    return r->samples < 900000
               ? LMB_OK
               : LMB_FAIL(err, LMB_E_ARG,
                          "the answers to %lld samples do not fit on a line; compare on fewer than 900,000",
                          (long long)r->samples);
}

/* Without their folders, where that tells them apart. */
static void name_recipes(lmbi_compare *r, const lmb_args *a)
{
    bool differ = true;

    for (int i = 0; i < r->recipes; i++) {
        const char *slash = strrchr(a->word[i], '/');
        r->name[i] = slash ? slash + 1 : a->word[i];
        for (int k = 0; k < i; k++)
            differ = differ && strcmp(r->name[k], r->name[i]) != 0;
    }
    for (int i = 0; i < r->recipes && !differ; i++)
        r->name[i] = a->word[i];
}

static lmb_status read_request(lmbi_compare *r, const lmb_args *a, lmb_error *err)
{
    int64_t folds;

    r->args = *a;
    r->args.n_words = 0;
    if (a->n_words < 2 || a->n_words > LMB_RECIPES_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "give 2 to %d configuration files; --help explains", LMB_RECIPES_MAX);
    r->recipes = a->n_words;
    r->stage = lmb_args_get(a, "stage", NULL);
    r->out = lmb_args_get(a, "out", "runs/compare");
    r->unpaired = lmb_args_get(a, "unpaired", NULL) != NULL;
    r->fresh = lmb_args_get(a, "fresh", NULL) != NULL;
    if (r->stage && strcmp(r->stage, "teacher") != 0 && strcmp(r->stage, "student") != 0)
        return LMB_FAIL(err, LMB_E_ARG, "--stage is '%s'; it is teacher or student", r->stage);
    LMB_TRY(lmb_args_int(a, "folds", 1, 1, 100, &folds, err));
    r->folds = (int)folds;
    if (r->unpaired && folds > 1)
        return LMB_FAIL(err, LMB_E_ARG,
                        "--unpaired takes trainings for independent, and those of --folds %lld share samples, so that its "
                        "p would be too small; leave out --unpaired, or --folds and give more --seeds",
                        (long long)folds);
    LMB_TRY(read_seeds(lmb_args_get(a, "seeds", "1,2,3"), r, err));
    if (r->seeds * r->folds < 2)
        return LMB_FAIL(err, LMB_E_ARG, "one training says nothing about chance; give two seeds or more, or --folds");
    if (a->n_sets >= LMB_ARGS_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "%d --set are too many", a->n_sets);
    for (int i = 0; i < r->recipes; i++)
        LMB_TRY(lmb_recipe_read(a->word[i], &r->recipe[i], err));
    name_recipes(r, a);
    return open_samples(r, err);
}

static lmb_status check(lmbi_compare *r, lmb_error *err)
{
    lmb_str same = LMB_STR_INIT;
    lmb_status st = LMB_OK;

    lmb_str_addf(&r->identity, "recipes: %d\nfolds: %d\nseeds:", r->recipes, r->folds);
    for (int i = 0; i < r->seeds; i++)
        lmb_str_addf(&r->identity, " %lld", (long long)r->seed[i]);
    lmb_str_add(&r->identity, "\n");
    for (int i = 0; st == LMB_OK && i < r->recipes; i++)
        st = check_recipe(r, i, &same, err);
    lmb_str_free(&same);
    LMB_TRY(st);
    lmb_identity_samples(&r->identity, "training", r->job.train);
    lmb_identity_samples(&r->identity, "validation", r->job.validation);
    lmb_identity_samples(&r->identity, "test", r->folds > 1 ? NULL : r->job.test); /* folds are of the others */
    LMB_TRY(lmb_str_check(&r->identity, err));
    LMB_TRY(lmb_file_make_dirs(r->out, err));
    return lmb_path_join(r->journal, sizeof r->journal, r->out, "journal.jsonl", err);
}

lmb_status lmbi_compare_open(lmbi_compare *r, const lmb_args *a, lmb_error *err)
{
    LMB_TRY(read_request(r, a, err));
    return check(r, err);
}

void lmbi_compare_close(lmbi_compare *r)
{
    for (int s = 0; s < r->seeds; s++)
        lmb_folds_close(&r->part[s]);
    for (int i = 0; i < r->recipes; i++)
        free(r->recipe[i].text);
    lmb_job_close(&r->job);
    free(r->accuracy);
    free(r->right);
    lmb_str_free(&r->identity);
}
