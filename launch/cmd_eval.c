/* launch/cmd_eval.c - `limbeck eval` and `limbeck infer`: what a model file is worth, and what it says of one
 * sample. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "core/onnx/onnx.h"
#include "datasets/image.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/qdq.h"
#include "launch/answers.h"
#include "launch/integers.h"
#include "launch/job.h"
#include "launch/stage.h"
#include "train/model.h"
#include "train/predictor.h"

static const char eval_usage[] =
    "usage: limbeck eval CONFIG.yaml [MODEL.onnx|MODEL.lmb] [--part test|validation|train] [--logits FILE.npy]\n"
    "       [--kernels NAME] [--backend NAME] [--set key=value ...]\n\n"
    "Accuracy with its 95 % interval, precision, recall and F1 of each class, the confusion matrix, and the time of one prediction,\n"
    "on a part of the configuration's data. Any ONNX classifier that uses our operators will do. A .lmb, or an ONNX model with\n"
    "QuantizeLinear and DequantizeLinear, is computed in integers by the device runtime. --backend cuda (default: train.backend):\n"
    "on a GPU, the same integers, or f32; the time and --logits (every answer) of an f32 model are always the processor's;\n"
    "without MODEL, what the configuration's `model` section describes ({name: onnx, path: ...} adds a normalisation).\n";
static const char infer_usage[] =
    "usage: limbeck infer CONFIG.yaml MODEL.onnx|MODEL.lmb IMAGE.png|.jpg ... [--set key=value ...]\n"
    "       limbeck infer CONFIG.yaml MODEL.onnx|MODEL.lmb --index N [--part test|validation|train]\n\n"
    "Classes and their probabilities, best first, for image files or for a sample of the data set. A .lmb, or an ONNX model with\n"
    "QuantizeLinear and DequantizeLinear, is computed in integers by the device runtime.\n";

static lmb_status part_of(const lmb_job *j, const char *name, const lmb_dataset **out, lmb_error *err)
{
    const lmb_dataset *d = !strcmp(name, "test")         ? j->test
                           : !strcmp(name, "validation") ? j->validation
                           : !strcmp(name, "train")      ? j->train
                                                         : NULL;
    if (!d)
        return LMB_FAIL(err, LMB_E_ARG, "--part %s; it must be test, validation or train, and not empty", name);
    *out = d;
    return LMB_OK;
}

static void print_classes(const lmb_metrics *m, const lmb_dataset *d)
{
    printf("%-16s %9s %9s %9s   confusion: rows are true classes\n", "class", "precision", "recall", "F1");
    for (int c = 0; c < m->classes; c++) {
        char name[24];
        snprintf(name, sizeof name, "%d", c);
        printf("%-16.16s %9.4f %9.4f %9.4f  ", d->class_names ? d->class_names[c] : name, lmb_metrics_precision(m, c),
               lmb_metrics_recall(m, c), lmb_metrics_f1(m, c));
        for (int k = 0; k < m->classes && m->classes <= 20; k++)
            printf(" %5lld", (long long)m->confusion[c * m->classes + k]);
        printf("\n");
    }
}

static lmb_status write_logits(const lmb_args *a, const float *logits, const lmb_dataset *d, lmb_error *err)
{
    const char *path = lmb_args_get(a, "logits", NULL);
    return path ? lmb_answers_write(path, logits, d->n, d->classes, err) : LMB_OK;
}

/* A .lmb's bytes, by the runtime of devices. */
static lmb_status evaluate_integers(const lmb_job *j, const lmb_args *a, const void *file, size_t n, lmb_error *err)
{
    const char *part = lmb_args_get(a, "part", "test");
    const lmb_dataset *d = NULL;
    lmb_deploy_figures f = { 0 };
    lmb_metrics m;

    LMB_TRY(part_of(j, part, &d, err));
    LMB_TRY(lmb_metrics_init(&m, d->classes, err));
    float *logits = malloc(sizeof *logits * (size_t)(d->n * d->classes + 1));
    lmb_status st = logits ? lmb_integers_evaluate(a, j->c.train.backend, file, n, d, &m, logits, &f, err)
                           : LMB_FAIL(err, LMB_E_NOMEM, "no memory for logits");
    if (st == LMB_OK) {
        lmb_stage_print(&(lmb_stage_result){ .name = part,
                                             .part = part,
                                             .data = d,
                                             .metrics = &m,
                                             .parameters = f.parameters,
                                             .macs = f.macs,
                                             .bytes = f.bytes,
                                             .latency_us = f.latency_us });
        print_classes(&m, d);
        st = write_logits(a, logits, d, err);
    }
    lmb_metrics_deinit(&m);
    free(logits);
    return st;
}

typedef lmb_status integers_fn(const lmb_job *j, const lmb_args *a, const void *file, size_t n, lmb_error *err);

static lmb_status with_lmb(const lmb_job *j, const lmb_args *a, integers_fn *fn, lmb_error *err)
{
    enum { MOST = 1 << 28 };
    void *file;
    size_t n;

    LMB_TRY(lmb_file_read(a->word[1], MOST, &file, &n, err));
    lmb_status st = fn(j, a, file, n, err);
    free(file);
    return st == LMB_E_FORMAT ? lmb_error_context(err, "%s", a->word[1]) : st;
}

static lmb_status with_qdq(const lmb_job *j, const lmb_args *a, const lmb_graph *model, integers_fn *fn, lmb_error *err)
{
    lmb_str file = LMB_STR_INIT;
    lmb_status st = lmb_lower(model, &file, err);
    if (st == LMB_OK)
        st = fn(j, a, file.text, file.n, err);
    lmb_str_free(&file);
    return st;
}

/* Of the file; a model that only the configuration describes has the bytes of its numbers. */
static lmb_status model_bytes(const lmb_args *a, const lmb_graph *model, double *out, lmb_error *err)
{
    uint64_t file = 0;

    *out = 0;
    for (int v = 0; v < model->n_values; v++)
        if (lmb_role_is_state(model->value[v].role) || model->value[v].role == LMB_ROLE_CONSTANT)
            *out += (double)lmb_shape_bytes(&model->value[v].shape, model->value[v].dtype);
    if (a->n_words < 2)
        return LMB_OK;
    LMB_TRY(lmb_file_size(a->word[1], &file, err));
    *out = (double)file;
    return LMB_OK;
}

static lmb_status evaluate(lmb_job *j, const lmb_args *a, const lmb_graph *model, lmb_error *err)
{
    const lmb_dataset *d = NULL;
    lmb_metrics m;

    if (lmb_is_qdq(model))
        return with_qdq(j, a, model, evaluate_integers, err);
    lmb_stage_result r = { .name = lmb_args_get(a, "part", "test"), .metrics = &m };
    r.part = r.name;
    LMB_TRY(part_of(j, r.name, &d, err));
    LMB_TRY(model_bytes(a, model, &r.bytes, err));
    LMB_TRY(lmb_metrics_init(&m, d->classes, err));
    bool asked = lmb_args_get(a, "backend", NULL) != NULL;
    lmb_status st = lmb_stage_evaluate(model, d, j->stage.train.backend, asked, &m, err);
    if (st == LMB_OK)
        st = lmb_stage_measure(model, NULL, d, j->stage.train.backend, &r, err);
    if (st == LMB_OK)
        lmb_stage_print(&r);
    if (st == LMB_OK && !isfinite(lmb_metrics_loss(&m)))
        fprintf(stderr, "limbeck eval: outputs of the model are not finite; what follows is without meaning\n");
    if (st == LMB_OK)
        print_classes(&m, d);
    lmb_metrics_deinit(&m);
    if (st != LMB_OK || !lmb_args_get(a, "logits", NULL))
        return st;
    float *logits = malloc(sizeof *logits * (size_t)(d->n * d->classes + 1));
    st = logits ? lmb_answers(model, d, j->stage.train.backend, logits, err)
                : LMB_FAIL(err, LMB_E_NOMEM, "no memory for logits");
    if (st == LMB_OK)
        st = write_logits(a, logits, d, err);
    free(logits);
    return st;
}

/* ---- infer ---- */

static void print_answer(const char *what, const float *logits, int classes, const lmb_dataset *d)
{
    double sum = 0;
    int best = lmb_argmax(logits, classes);
    bool *done = calloc((size_t)classes, sizeof *done);

    for (int k = 0; k < classes; k++)
        sum += exp((double)logits[k] - logits[best]);
    printf("%s:", what);
    for (int i = 0; done && i < 3 && i < classes; i++) {
        int next = -1;
        for (int k = 0; k < classes; k++)
            if (!done[k] && (next < 0 || logits[k] > logits[next]))
                next = k;
        done[next] = true;
        double p = exp((double)logits[next] - logits[best]) / sum;
        if (d->class_names)
            printf("  %s %.2f %%", d->class_names[next], 100 * p);
        else
            printf("  class %d %.2f %%", next, 100 * p);
    }
    printf("\n");
    free(done);
}

/* What answers: a predictor, or the bytes of a .lmb. */
typedef struct answerer {
    lmb_predictor *p;
    const void *file;
    size_t n;
} answerer;

/* One sample through the runtime of devices. */
static lmb_status answer_integers(const answerer *w, const lmb_dataset *d, const char *what, const uint8_t *raw,
                                  lmb_error *err)
{
    size_t bytes = lmb_shape_bytes(&d->shape, d->dtype);
    lmb_dataset_arrays one = { .samples = malloc(bytes + 1),
                               .labels = calloc(1, sizeof(int32_t)),
                               .n = 1,
                               .shape = d->shape,
                               .dtype = d->dtype,
                               .classes = d->classes };
    float *logits = malloc(sizeof *logits * (size_t)d->classes);
    lmb_dataset *data = NULL;
    lmb_metrics m = { 0 };
    lmb_status st = LMB_OK;

    if (!one.samples || !one.labels || !logits) {
        free(one.samples);
        free(one.labels);
        free(logits);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a sample");
    }
    memcpy(one.samples, raw, bytes);
    LMB_TRY_GOTO(st, done, lmb_dataset_memory(&one, what, &data, err));
    LMB_TRY_GOTO(st, done, lmb_metrics_init(&m, d->classes, err));
    st = lmb_deploy_evaluate(w->file, w->n, data, NULL, 1, &m, logits, NULL, err);
    if (st == LMB_OK)
        print_answer(what, logits, d->classes, d);
done:
    lmb_metrics_deinit(&m);
    lmb_dataset_destroy(data);
    free(logits);
    return st;
}

static lmb_status answer(lmb_predictor *p, const lmb_dataset *d, const char *what, const uint8_t *raw, lmb_error *err)
{
    int64_t n = lmb_shape_count(&d->shape);
    float *x = malloc(sizeof *x * (size_t)(n + 1));
    const float *logits;

    if (!x)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a sample");
    for (int64_t i = 0; i < n; i++)
        x[i] = d->dtype == LMB_F32 ? ((const float *)(const void *)raw)[i] : (float)raw[i];
    lmb_status st = lmb_predictor_run(p, x, 1, &logits, err);
    for (int k = 0; k < d->classes && st == LMB_OK; k++)
        if (!isfinite(logits[k]))
            st = LMB_FAIL(err, LMB_E_NUMERIC, "%s: output %d of the model is not finite", what, k);
    if (st == LMB_OK)
        print_answer(what, logits, d->classes, d);
    free(x);
    return st;
}

static lmb_status answer_by(const answerer *w, const lmb_dataset *d, const char *what, const uint8_t *raw,
                            lmb_error *err)
{
    return w->p ? answer(w->p, d, what, raw, err) : answer_integers(w, d, what, raw, err);
}

static lmb_status infer_all(const lmb_args *a, const lmb_dataset *d, const answerer *w, lmb_error *err)
{
    const char *index = lmb_args_get(a, "index", NULL);
    uint8_t *raw = malloc(lmb_shape_bytes(&d->shape, d->dtype) + 1);
    lmb_status st = raw ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a sample");
    char what[64];
    int32_t label;

    if (st == LMB_OK && index) {
        char *end;
        long long i = strtoll(index, &end, 10);
        if (*end || i < 0 || i >= d->n)
            LMB_TRY_GOTO(
                st, done,
                LMB_FAIL(err, LMB_E_ARG, "--index %s; the part has samples 0 to %lld", index, (long long)d->n - 1));
        LMB_TRY_GOTO(st, done, d->read(d, i, raw, &label, err));
        snprintf(what, sizeof what, "sample %lld (label %d)", i, label);
        LMB_TRY_GOTO(st, done, answer_by(w, d, what, raw, err));
    }
    for (int i = 2; st == LMB_OK && i < a->n_words; i++) {
        if (d->shape.n != 3 || d->dtype != LMB_U8)
            LMB_TRY_GOTO(st, done, LMB_FAIL(err, LMB_E_ARG, "the data set holds signals; image files do not fit"));
        LMB_TRY_GOTO(st, done,
                     lmb_image_load(a->word[i], (int)d->shape.d[0], (int)d->shape.d[1], (int)d->shape.d[2], raw, err));
        LMB_TRY_GOTO(st, done, answer_by(w, d, a->word[i], raw, err));
    }
    if (st == LMB_OK && !index && a->n_words <= 2)
        st = LMB_FAIL(err, LMB_E_ARG, "give image files or --index N");
done:
    free(raw);
    return st;
}

static lmb_status infer_integers(const lmb_job *j, const lmb_args *a, const void *file, size_t n, lmb_error *err)
{
    const lmb_dataset *d = NULL;
    answerer w = { NULL, file, n };

    LMB_TRY(part_of(j, lmb_args_get(a, "part", "test"), &d, err));
    return infer_all(a, d, &w, err);
}

static lmb_status infer(lmb_job *j, const lmb_args *a, const lmb_graph *model, lmb_error *err)
{
    const lmb_backend *backends[3];
    const lmb_dataset *d = NULL;
    lmb_predictor *p;

    if (lmb_is_qdq(model))
        return with_qdq(j, a, model, infer_integers, err);
    LMB_TRY(part_of(j, lmb_args_get(a, "part", "test"), &d, err));
    LMB_TRY(lmb_cpu_backends(j->stage.train.backend, backends, err));
    const lmb_shape *in = &model->value[lmb_graph_input(model, 0)].shape;
    if (in->n < 1 || in->d[0] < 1)
        return LMB_FAIL(err, LMB_E_SHAPE, "the model's input has no batch dimension");
    if (lmb_shape_count(in) / in->d[0] != lmb_shape_count(&d->shape))
        return LMB_FAIL(err, LMB_E_SHAPE,
                        "the model takes samples of %lld numbers, those of the configuration's data have %lld",
                        (long long)(lmb_shape_count(in) / in->d[0]), (long long)lmb_shape_count(&d->shape));
    LMB_TRY(lmb_predictor_create(model, NULL, backends, 1, &p, err));
    if (lmb_predictor_classes(p) != d->classes) {
        int outputs = lmb_predictor_classes(p);
        lmb_predictor_destroy(p);
        return LMB_FAIL(err, LMB_E_SHAPE, "the model has %d outputs, the data %d classes", outputs, d->classes);
    }
    lmb_status st = infer_all(a, d, &(answerer){ .p = p }, err);
    lmb_predictor_destroy(p);
    return st;
}

static bool is_lmb(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".lmb") == 0;
}

/* Both commands: a configuration for the data, a model file. */
static lmb_status with_model(int argc, char **argv, const char *const *known,
                             lmb_status (*fn)(lmb_job *, const lmb_args *, const lmb_graph *, lmb_error *),
                             lmb_error *err)
{
    lmb_graph *model = NULL;
    lmb_args a;
    lmb_job j;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words < 1 || (fn == evaluate && a.n_words > 2))
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
        st = with_lmb(&j, &a, fn == evaluate ? evaluate_integers : infer_integers, err);
        lmb_job_close(&j);
        return st;
    }
    if (st == LMB_OK)
        st = a.n_words > 1 ? lmb_onnx_read(a.word[1], NULL, &model, err)
                           : lmb_model_build(j.stage.model, &j.train->shape, j.train->classes,
                                             (uint64_t)j.stage.train.seed, &model, err);
    if (st == LMB_OK && (lmb_graph_input(model, 0) == LMB_NONE || model->n_outputs < 1))
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s: has no input or no output", a.word[a.n_words > 1]);
    if (st == LMB_OK)
        st = fn(&j, &a, model, err);
    lmb_graph_destroy(model);
    lmb_job_close(&j);
    return st;
}

static lmb_status run_eval(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "part", "logits", "kernels", "backend", NULL };
    return with_model(argc, argv, known, evaluate, err);
}

static lmb_status run_infer(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "part", "index", NULL };
    return with_model(argc, argv, known, infer, err);
}

const lmb_cmd lmb_cmd_eval = { "eval", "accuracy, F1, confusion and latency of a model file", eval_usage, run_eval };
const lmb_cmd lmb_cmd_infer = { "infer", "classes of an image file or a sample", infer_usage, run_infer };
