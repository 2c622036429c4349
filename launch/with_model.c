/* launch/with_model.c - see with_model.h. */
#include "launch/with_model.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/cpu/cpu.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/qdq.h"
#include "launch/model_file.h"

lmb_status lmb_part_of(const lmb_job *j, const lmb_args *a, const lmb_dataset **out, lmb_error *err)
{
    const char *name = lmb_args_get(a, "part", "test");
    const lmb_dataset *d = !strcmp(name, "test")         ? j->test
                           : !strcmp(name, "validation") ? j->validation
                           : !strcmp(name, "train")      ? j->train
                                                         : NULL;
    if (!d)
        return LMB_FAIL(err, LMB_E_ARG, "--part %s; it must be test, validation or train, and not empty", name);
    *out = d;
    return LMB_OK;
}

static lmb_status with_lmb(const lmb_job *j, const lmb_args *a, const lmb_model_use *use, lmb_error *err)
{
    enum { MOST = 1 << 28 };
    void *file;
    size_t n;

    LMB_TRY(lmb_file_read(a->word[1], MOST, &file, &n, err));
    lmb_status st = use->integers(j, a, file, n, err);
    free(file);
    return st == LMB_E_FORMAT ? lmb_error_context(err, "%s", a->word[1]) : st;
}

static lmb_status with_qdq(const lmb_job *j, const lmb_args *a, const lmb_graph *model, const lmb_model_use *use,
                           lmb_error *err)
{
    lmb_str file = LMB_STR_INIT;
    lmb_status st = lmb_lower(model, &file, err);
    if (st == LMB_OK)
        st = use->integers(j, a, file.text, file.n, err);
    lmb_str_free(&file);
    return st;
}

static bool is_lmb(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".lmb") == 0;
}

lmb_status lmb_with_model(int argc, char **argv, const char *const *known, const lmb_model_use *use, lmb_error *err)
{
    lmb_graph *model = NULL;
    lmb_args a;
    lmb_job j;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words < 1 || (use->most_words && a.n_words > use->most_words))
        return LMB_FAIL(err, LMB_E_ARG, "give a configuration (for the data) and a model file; --help explains");
    if (lmb_args_get(&a, "backend", NULL)) {
        const lmb_backend *backends[3];
        LMB_TRY(lmb_cpu_backends(lmb_args_get(&a, "backend", NULL), backends, err)); /* is there one of that name? */
    }
    LMB_TRY(lmb_job_open(a.word[0], &a, LMB_JOB_DATA_ONLY, &j, err));
    j.stage.model = j.c.model;
    j.stage.train = j.c.train; /* for its backend */
    j.stage.train.backend = lmb_args_get(&a, "backend", j.stage.train.backend);
    lmb_status st = a.n_words > 1 || j.c.model
                        ? lmb_job_data(&j, err)
                        : LMB_FAIL(err, LMB_E_ARG, "give a model file too: %s has no `model` of its own", a.word[0]);
    if (st == LMB_OK && a.n_words > 1 && is_lmb(a.word[1])) {
        st = with_lmb(&j, &a, use, err);
        lmb_job_close(&j);
        return st;
    }
    if (st == LMB_OK)
        st = a.n_words > 1 ? lmb_model_file(&j, a.word[1], &model, err)
                           : lmb_model_of(&j, j.stage.model, (uint64_t)j.stage.train.seed, true, &model, err);
    if (st == LMB_OK)
        st = lmb_is_qdq(model) ? with_qdq(&j, &a, model, use, err) : use->floats(&j, &a, model, err);
    lmb_graph_destroy(model);
    lmb_job_close(&j);
    return st;
}
