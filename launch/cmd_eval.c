/* launch/cmd_eval.c - `limbeck eval`: what a model file is worth. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "launch/answers.h"
#include "launch/integers.h"
#include "launch/job.h"
#include "launch/stage.h"
#include "launch/with_model.h"

static const char usage[] =
    "usage: limbeck eval CONFIG.yaml [MODEL.onnx|MODEL.lmb] [--part test|validation|train] [--logits FILE.npy]\n"
    "       [--kernels NAME] [--backend NAME] [--set key=value ...]\n\n"
    "Accuracy with its 95 % interval, precision, recall and F1 of each class, the confusion matrix, and the time of one prediction,\n"
    "on a part of the configuration's data. Any ONNX classifier that uses our operators will do. A .lmb, or an ONNX model with\n"
    "QuantizeLinear and DequantizeLinear, is computed in integers by the device runtime. --backend cuda (default: train.backend):\n"
    "on a GPU, the same integers, or f32; the time and --logits (every answer) of an f32 model are always the processor's;\n"
    "without MODEL, what the configuration's `model` section describes ({name: onnx, path: ..., mean: ...} adds a normalisation).\n";

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

    LMB_TRY(lmb_part_of(j, a, &d, err));
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

    lmb_stage_result r = { .name = lmb_args_get(a, "part", "test"), .metrics = &m };
    r.part = r.name;
    LMB_TRY(lmb_part_of(j, a, &d, err));
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

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "part", "logits", "kernels", "backend", NULL };
    static const lmb_model_use use = { 2, evaluate, evaluate_integers };
    return lmb_with_model(argc, argv, known, &use, err);
}

const lmb_cmd lmb_cmd_eval = { "eval", "accuracy, F1, confusion and latency of a model file", usage, run };
