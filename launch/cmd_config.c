/* launch/cmd_config.c - `limbeck config`: check a configuration, show what it resolves to, list all keys. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "train/loss.h"
#include "federated/server.h"
#include "launch/compress.h"
#include "launch/federation.h"
#include "launch/job.h"
#include "launch/lowrank.h"
#include "launch/prune.h"
#include "launch/tune.h"
#include "launch/update.h"
#include "train/model.h"

static const char usage[] =
    "usage: limbeck config check CONFIG.yaml [--stage NAME] [--set key=value ...]   is it sound? opens the data, builds every model\n"
    "       limbeck config show CONFIG.yaml [--set key=value ...]                   with every default of split, launch and train filled in\n"
    "       limbeck config keys                                                     every key, its default and range\n";

static lmb_status show_stage(const char *name, const lmb_tree *t, lmb_str *s, lmb_error *err)
{
    lmb_stage_config stage;

    if (!t)
        return LMB_OK;
    LMB_TRY(lmb_fields_bind(lmb_stage_fields, t, &stage, err));
    lmb_str_addf(s, "%s:%s", name, lmb_tree_get(t, "train") ? "\n" : "");
    if (!lmb_tree_get(t, "train")) /* none is something else than defaults: a teacher as it is */
        return lmb_tree_dump(t, 2, s) == LMB_OK ? LMB_OK : lmb_str_check(s, err);
    return lmb_fields_dump(lmb_stage_fields, &stage, 2, s) == LMB_OK ? LMB_OK : lmb_str_check(s, err);
}

static lmb_status show(const lmb_args *a, lmb_error *err)
{
    lmb_config *c;
    lmb_job_config job;
    lmb_str s = LMB_STR_INIT;

    LMB_TRY(lmb_config_read(a->word[1], &c, err));
    lmb_status st = LMB_OK;
    for (int i = 0; i < a->n_sets && st == LMB_OK; i++)
        st = lmb_config_set(c, a->set[i], err);
    if (st == LMB_OK)
        st = lmb_fields_bind(lmb_job_fields, lmb_config_root(c), &job, err);
    if (st == LMB_OK) {
        const lmb_tree *teacher = job.teacher, *student = job.student;
        job.teacher = job.student = NULL; /* theirs have rows of their own */
        st = lmb_fields_dump(lmb_job_fields, &job, 0, &s) == LMB_OK ? LMB_OK : lmb_str_check(&s, err);
        if (st == LMB_OK)
            st = show_stage("teacher", teacher, &s, err);
        if (st == LMB_OK)
            st = show_stage("student", student, &s, err);
    }
    if (st == LMB_OK)
        printf("%s", s.text);
    lmb_str_free(&s);
    lmb_config_destroy(c);
    return st;
}

/* Rows below a key of the configuration; those of `train` are the same everywhere and shown once. */
static void print_keys(const char *below, const lmb_field *rows)
{
    lmb_str s = LMB_STR_INIT;
    lmb_field row[2] = { { 0 } };

    if (*below)
        printf("\nbelow %s\n", below);
    for (; rows->key; rows++) {
        row[0] = *rows;
        if (*below &&
            (strcmp(row[0].key, "train") == 0 || strcmp(row[0].key, "tune") == 0 || strcmp(row[0].key, "finish") == 0))
            row[0].kind = LMB_FIELD_TREE;
        lmb_fields_help(row, *below ? 2 : 0, &s);
    }
    printf("%s", s.text ? s.text : "");
    lmb_str_free(&s);
}

static lmb_status keys(void)
{
    print_keys("", lmb_job_fields);
    print_keys("`model`, beside what `limbeck list models` shows for each name:", lmb_model_common_fields);
    print_keys("`teacher` and `student`:", lmb_stage_fields);
    print_keys("`student.distill`:", lmb_distill_fields);
    print_keys("`student.prune`:", lmb_prune_fields);
    print_keys("`student.prune`, with method channels:", lmb_prune_channel_fields);
    print_keys("`student.prune`, with method magnitude:", lmb_prune_magnitude_fields);
    print_keys("`student.lowrank`:", lmb_lowrank_fields);
    print_keys("`student.lowrank`, too:", lmb_ranks_fields);
    print_keys("`student.quantize`:", lmb_distill_quantize_fields());
    print_keys("`compress` (`tune` and `finish` hold keys of `train`):", lmb_compress_fields);
    print_keys("`compress`, of the search:", lmb_search_fields);
    print_keys("`tune` (methods: `limbeck list methods`):", lmb_tune_fields);
    print_keys("`update`, for `limbeck train --continue`:", lmb_update_fields);
    print_keys("`federation` (`local` holds keys of `train`):", lmb_federation_fields);
    print_keys("`federation.server` (aggregators and codecs: `limbeck list`):", lmb_server_fields);
    print_keys("`federation.server.privacy`:", lmb_privacy_fields);
    print_keys("`federation.server.privacy.clip`, with name adaptive:", lmb_privacy_adaptive_fields);
    return LMB_OK;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", NULL };
    lmb_args a;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words == 2 && strcmp(a.word[0], "check") == 0)
        return lmb_job_check(a.word[1], &a, lmb_args_get(&a, "stage", NULL), false, err);
    if (a.n_words == 2 && strcmp(a.word[0], "show") == 0)
        return show(&a, err);
    if (a.n_words == 1 && strcmp(a.word[0], "keys") == 0)
        return keys();
    return LMB_FAIL(err, LMB_E_ARG, "write `limbeck config check FILE`, `show FILE` or `keys`");
}

const lmb_cmd lmb_cmd_config = { "config", "check a configuration, list its keys", usage, run };
