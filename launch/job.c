/* launch/job.c - see job.h. */
#include "launch/job.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/threads.h"
#include "datasets/split.h"

static const lmb_field split_fields[] = {
    LMB_INT(lmb_split_config, train, 0, 0, 1e9, "samples", "the cluster trains on; 0: what the others leave"),
    LMB_INT(lmb_split_config, validation, 0, 0, 1e9, "samples", "by which epochs and rounds are chosen"),
    LMB_INT(lmb_split_config, clients, 0, 0, 1e9, "samples", "only the clients of a federation see"),
    LMB_INT(lmb_split_config, seed, 1, 0, 9e15, "", "of the shuffle before the cut"), LMB_FIELD_END
};

static const lmb_field launch_fields[] = { LMB_INT(lmb_launch_config, ranks, 2, 1, 4096, "",
                                                   "processes that `limbeck run` starts for training, by mpirun"),
                                           LMB_FIELD_END };

const lmb_field lmb_job_fields[] = {
    LMB_TEXT(lmb_job_config, run, "runs/default", "folder for everything the run leaves"),
    LMB_TEXT(
        lmb_job_config, plan_cache, "off",
        "kernels of trainings: off: a fixed choice; on: measured once, kept in the user's cache folder; or a folder for them"),
    LMB_SECTION(lmb_job_config, launch, launch_fields, "how `limbeck run` starts the stages"),
    LMB_TREE(lmb_job_config, data, "the data set: name and options; `limbeck list datasets`"),
    LMB_SECTION(lmb_job_config, split, split_fields, "how the training part is divided"),
    LMB_TREE(lmb_job_config, model, "name and options; `limbeck list models`"),
    LMB_SECTION(lmb_job_config, train, lmb_train_fields, "how it is trained"),
    LMB_TREE(lmb_job_config, teacher,
             "a stage: model, train; a model from an ONNX file, without train, is taken as it is"),
    LMB_TREE(lmb_job_config, student, "a stage: model, train, distill, prune, lowrank, quantize"),
    LMB_TREE(lmb_job_config, federation, "server and clients"),
    LMB_TREE(lmb_job_config, update, "new samples for `limbeck train --continue`: data, list, share, train"),
    LMB_TREE(lmb_job_config, compress, "the search for the fastest student: docs/compress.md"),
    LMB_TREE(lmb_job_config, tune, "the search for the best settings: docs/tune.md"),
    LMB_FIELD_END
};

/* What every stage's weights depend on. */
static const lmb_field shared_fields[] = { LMB_TREE(lmb_job_config, data, "the data set: name and options"),
                                           LMB_SECTION(lmb_job_config, split, split_fields, "how it is divided"),
                                           LMB_FIELD_END };

const lmb_field lmb_stage_fields[] = {
    LMB_TREE(lmb_stage_config, model, "name and options; `limbeck list models`"),
    LMB_SECTION(lmb_stage_config, train, lmb_train_fields, "how it is trained"),
    LMB_TREE(lmb_stage_config, distill, "loss against a teacher"),
    LMB_TREE(lmb_stage_config, prune, "what is taken away"),
    LMB_TREE(lmb_stage_config, lowrank, "layers as thinner ones"),
    LMB_TREE(lmb_stage_config, quantize, "integers"), LMB_FIELD_END
};

/* What only a student does would be passed over in silence. */
static lmb_status check_teacher(const lmb_stage_config *s, lmb_error *err)
{
    const lmb_tree *foreign = s->distill   ? s->distill
                              : s->prune   ? s->prune
                              : s->lowrank ? s->lowrank
                                           : s->quantize;
    return foreign ? lmb_tree_fail(foreign, err, LMB_E_ARG, "a teacher is trained, no more: move `%s` to `student`",
                                   foreign->key)
                   : LMB_OK;
}

static lmb_status bind_stage(lmb_job *j, const char *stage, lmb_error *err)
{
    bool update = stage && strcmp(stage, LMB_JOB_UPDATE) == 0;

    if (update)
        stage = !j->c.model && j->c.compress && j->c.teacher ? "teacher" : NULL;
    j->stage_name = stage ? stage : "model";
    if (!*j->c.run)
        return LMB_FAIL(err, LMB_E_ARG, "`run` is empty; name the folder for everything that the run leaves");
    if (!j->c.data)
        return LMB_FAIL(err, LMB_E_ARG, "the configuration has no `data`; `limbeck list datasets` shows what there is");
    if (stage && strcmp(stage, LMB_JOB_DATA_ONLY) == 0)
        return LMB_OK;
    if (!stage && !j->c.model && j->c.teacher)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the configuration has stages; choose one with --stage teacher or --stage student, or run them "
                        "all with `limbeck run`");
    if (!stage) {
        lmb_fields_default(lmb_stage_fields, &j->stage);
        j->stage.model = j->c.model;
        j->stage.train = j->c.train;
    } else {
        const lmb_tree *t = strcmp(stage, "teacher") == 0   ? j->c.teacher
                            : strcmp(stage, "student") == 0 ? j->c.student
                                                            : NULL;
        if (!t)
            return LMB_FAIL(err, LMB_E_ARG, "the configuration has no stage '%s'", stage);
        LMB_TRY(lmb_fields_bind(lmb_stage_fields, t, &j->stage, err));
        if (t == j->c.teacher)
            LMB_TRY(check_teacher(&j->stage, err));
    }
    if (!j->stage.model && !(update && j->c.compress))
        return LMB_FAIL(err, LMB_E_ARG, "the configuration has no `model`; `limbeck list models` shows what there is");
    return LMB_OK;
}

lmb_status lmb_job_open(const char *path, const lmb_args *args, const char *stage, lmb_job *j, lmb_error *err)
{
    lmb_config *yaml;

    LMB_TRY(lmb_config_read(path, &yaml, err));
    return lmb_job_of(yaml, args, stage, j, err);
}

lmb_status lmb_job_of(lmb_config *yaml, const lmb_args *args, const char *stage, lmb_job *j, lmb_error *err)
{
    lmb_status st;

    memset(j, 0, sizeof *j);
    j->yaml = yaml;
    j->began = lmb_seconds();
    for (int i = 0; i < args->n_sets; i++)
        LMB_TRY_GOTO(st, failed, lmb_config_set(j->yaml, args->set[i], err));
    LMB_TRY_GOTO(st, failed, lmb_fields_bind(lmb_job_fields, lmb_config_root(j->yaml), &j->c, err));
    LMB_TRY_GOTO(st, failed, bind_stage(j, stage, err));
    return LMB_OK;
failed:
    lmb_job_close(j);
    return st;
}

static lmb_status cut(lmb_job *j, int64_t *at, int64_t n, lmb_dataset **out, lmb_error *err)
{
    if (n == 0)
        return LMB_OK;
    LMB_TRY(lmb_dataset_subset(j->all, j->order + *at, n, out, err));
    *at += n;
    return LMB_OK;
}

lmb_status lmb_job_data(lmb_job *j, lmb_error *err)
{
    lmb_split_config *s = &j->c.split;
    int64_t at = 0;

    LMB_TRY(lmb_dataset_open(j->c.data, LMB_PART_TRAIN, &j->all, err));
    LMB_TRY(lmb_dataset_open(j->c.data, LMB_PART_TEST, &j->test, err));
    if (j->all->classes < 2)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "the samples of `data` have no labels (one class): name them in distill.unlabelled of a student, and in "
            "`data` labelled ones to validate and test on");
    if (s->train + s->validation + s->clients > j->all->n)
        return LMB_FAIL(err, LMB_E_ARG, "split asks for %lld + %lld + %lld samples; the data set has %lld",
                        (long long)s->train, (long long)s->validation, (long long)s->clients, (long long)j->all->n);
    if (s->train == 0)
        s->train = j->all->n - s->validation - s->clients;
    if (s->train == 0 && !s->clients)
        return LMB_FAIL(err, LMB_E_ARG, "split leaves nothing to train on");
    j->order = malloc(sizeof *j->order * (size_t)j->all->n);
    if (!j->order)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to split %lld samples", (long long)j->all->n);
    lmb_split((uint64_t)s->seed, (uint32_t)j->all->n, j->order);
    LMB_TRY(cut(j, &at, s->train, &j->train, err));
    LMB_TRY(cut(j, &at, s->validation, &j->validation, err));
    return cut(j, &at, s->clients, &j->clients, err);
}

lmb_status lmb_job_training(const lmb_job *j, lmb_error *err)
{
    return j->train ? LMB_OK
                    : LMB_FAIL(err, LMB_E_ARG,
                               "split leaves nothing to train on: all %lld samples are validation's or clients'",
                               (long long)j->all->n);
}

void lmb_job_close(lmb_job *j)
{
    lmb_dataset_destroy(j->train);
    lmb_dataset_destroy(j->validation);
    lmb_dataset_destroy(j->clients);
    lmb_dataset_destroy(j->test);
    lmb_dataset_destroy(j->all);
    free(j->order);
    lmb_config_destroy(j->yaml);
    memset(j, 0, sizeof *j);
}

lmb_status lmb_job_dump(const lmb_job *j, lmb_str *out, lmb_error *err)
{
    if (lmb_fields_dump(lmb_job_fields, &j->c, 0, out) != LMB_OK)
        return lmb_str_check(out, err);
    return LMB_OK;
}

lmb_status lmb_job_dump_stage(const lmb_job *j, lmb_str *out, lmb_error *err)
{
    if (lmb_fields_dump_marked(shared_fields, &j->c, 0, out) != LMB_OK ||
        lmb_fields_dump_marked(lmb_stage_fields, &j->stage, 0, out) != LMB_OK)
        return lmb_str_check(out, err);
    return LMB_OK;
}
