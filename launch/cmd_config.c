/* launch/cmd_config.c - `limbeck config`: check a configuration, show what it resolves to, list all keys. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "launch/job.h"
#include "train/model.h"

static const char usage[] =
    "usage: limbeck config check CONFIG.yaml [--stage NAME] [--set key=value ...]   is it sound? builds the model, opens the data\n"
    "       limbeck config show CONFIG.yaml [--set key=value ...]                   with every default filled in\n"
    "       limbeck config keys                                                     every key, its default and range\n";

static lmb_status check_stage(const char *path, const lmb_args *a, const char *stage, lmb_error *err)
{
    lmb_graph *model = NULL;
    lmb_job j;

    LMB_TRY(lmb_job_open(path, a, stage, &j, err));
    lmb_status st = lmb_job_data(&j, err);
    if (st == LMB_OK)
        st = lmb_model_build(j.stage.model, &j.train->shape, j.train->classes, 1, &model, err);
    if (st == LMB_OK)
        printf("%s: %s is sound: %d nodes, %lld training samples\n", path, j.stage_name, model->n_nodes, (long long)j.train->n);
    lmb_graph_destroy(model);
    lmb_job_close(&j);
    return st;
}

static lmb_status check(const lmb_args *a, lmb_error *err)
{
    const char *stage = lmb_args_get(a, "stage", NULL);
    lmb_config *c;

    LMB_TRY(lmb_config_read(a->word[1], &c, err));
    bool stages = !lmb_tree_get(lmb_config_root(c), "model") && lmb_tree_get(lmb_config_root(c), "teacher");
    lmb_config_destroy(c);
    if (stage || !stages)
        return check_stage(a->word[1], a, stage, err);
    LMB_TRY(check_stage(a->word[1], a, "teacher", err));
    return check_stage(a->word[1], a, "student", err);
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
    if (st == LMB_OK)
        st = lmb_fields_dump(lmb_job_fields, &job, 0, &s);
    if (st == LMB_OK)
        printf("%s", s.text);
    lmb_str_free(&s);
    lmb_config_destroy(c);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", NULL };
    lmb_args a;
    lmb_str s = LMB_STR_INIT;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words == 2 && strcmp(a.word[0], "check") == 0)
        return check(&a, err);
    if (a.n_words == 2 && strcmp(a.word[0], "show") == 0)
        return show(&a, err);
    if (a.n_words == 1 && strcmp(a.word[0], "keys") == 0) {
        lmb_fields_help(lmb_job_fields, 0, &s);
        printf("%s", s.text ? s.text : "");
        lmb_str_free(&s);
        return LMB_OK;
    }
    return LMB_FAIL(err, LMB_E_ARG, "write `limbeck config check FILE`, `show FILE` or `keys`");
}

const lmb_cmd lmb_cmd_config = { "config", "check a configuration, list its keys", usage, run };
