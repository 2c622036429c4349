/* launch/cmd_export.c - `limbeck export`: the deployable file of a quantised student, and what it is worth. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "core/onnx/onnx.h"
#include "distill/quantize/lower.h"
#include "launch/job.h"
#include "launch/stage.h"

static const char usage[] =
    "usage: limbeck export CONFIG.yaml [--from student|federation] [--kernels scalar|avx512vnni] [--set key=value ...]\n\n"
    "Lowers the quantised student to integers: <run>/student-int8/model.lmb or, from the federation's best round,\n"
    "<run>/federated-int8/model.lmb. Evaluates the file itself on the test part, with the runtime that devices use, and says how\n"
    "many answers differ from the simulation that training saw.\n";

/* Answers of the simulation (the FakeQuant graph) that differ from the file's. */
static lmb_status count_flips(const lmb_graph *qat, const lmb_dataset *test, const float *logits, int classes, int64_t *flips, lmb_error *err)
{
    const lmb_backend *backends[3];
    int64_t n = lmb_shape_count(&test->shape);
    lmb_predictor *p = NULL;
    uint8_t *raw = malloc((size_t)n + 1);
    float *x = malloc(sizeof *x * (size_t)(n * 100));
    int32_t label;
    lmb_status st = raw && x ? lmb_cpu_backends("cpu", backends, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare");

    if (st == LMB_OK)
        st = lmb_predictor_create(qat, backends, 100, &p, err);
    *flips = 0;
    for (int64_t at = 0; at < test->n && st == LMB_OK; at += 100) {
        int64_t m = test->n - at < 100 ? test->n - at : 100;
        const float *y;
        for (int64_t i = 0; i < m && st == LMB_OK; i++) {
            st = test->read(test, at + i, raw, &label, err);
            for (int64_t k = 0; k < n; k++)
                x[i * n + k] = raw[k];
        }
        if (st == LMB_OK)
            st = lmb_predictor_run(p, NULL, x, m, &y, err);
        for (int64_t i = 0; i < m && st == LMB_OK; i++)
            *flips += lmb_argmax(y + i * classes, classes) != lmb_argmax(logits + (at + i) * classes, classes);
    }
    lmb_predictor_destroy(p);
    free(raw);
    free(x);
    return st;
}

static lmb_status evaluate(const lmb_job *j, const char *stage, const lmb_graph *qat, const lmb_str *file, const char *kernels, lmb_error *err)
{
    lmb_stage_result r = { .name = stage, .data = j->test };
    lmb_deploy_figures f = { 0 };
    char note[160];
    lmb_metrics m;
    int64_t flips = 0;
    float *logits = malloc(sizeof *logits * (size_t)(j->test->n * j->test->classes));

    if (!logits)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for logits");
    lmb_status st = lmb_metrics_init(&m, j->test->classes, err);
    if (st != LMB_OK) {
        free(logits);
        return st;
    }
    st = lmb_deploy_evaluate(file->text, file->n, j->test, kernels, lmb_cpu_count(), &m, logits, &f, err);
    if (st == LMB_OK)
        st = count_flips(qat, j->test, logits, j->test->classes, &flips, err);
    snprintf(note, sizeof note, "%lld of %lld answers differ from the simulation; %.0f bytes of working memory", (long long)flips,
             (long long)j->test->n, f.arena_bytes);
    r.metrics = &m;
    r.parameters = f.parameters, r.macs = f.macs, r.bytes = f.bytes, r.latency_us = f.latency_us, r.note = note;
    if (st == LMB_OK)
        st = lmb_stage_write(j->c.run, &r, err);
    if (st == LMB_OK) {
        lmb_stage_print(&r);
        printf("%s: %s\n", stage, note);
    }
    lmb_metrics_deinit(&m);
    free(logits);
    return st;
}

static lmb_status export(lmb_job *j, const lmb_args *a, lmb_error *err)
{
    const char *from = lmb_args_get(a, "from", "student");
    bool federated = strcmp(from, "federation") == 0;
    const char *stage = federated ? "federated-int8" : "student-int8";
    char path[LMB_STAGE_PATH];
    lmb_graph *qat = NULL;
    lmb_str file = LMB_STR_INIT;

    if (!federated && strcmp(from, "student") != 0)
        return LMB_FAIL(err, LMB_E_ARG, "--from %s; it must be student or federation", from);
    LMB_TRY(lmb_job_data(j, err));
    LMB_TRY(lmb_stage_path(path, j->c.run, federated ? "federation" : stage, federated ? "model.onnx" : "qat.onnx", err));
    LMB_TRY(lmb_onnx_read(path, NULL, &qat, err));
    lmb_status st = lmb_lower(qat, &file, err);
    if (st == LMB_OK)
        st = lmb_stage_path(path, j->c.run, stage, "model.lmb", err);
    if (st == LMB_OK)
        st = lmb_file_write(path, file.text, file.n, err);
    if (st == LMB_OK)
        st = evaluate(j, stage, qat, &file, lmb_args_get(a, "kernels", NULL), err);
    if (st == LMB_OK)
        printf("%s\n", path);
    lmb_str_free(&file);
    lmb_graph_destroy(qat);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "from", "kernels", NULL };
    lmb_args a;
    lmb_job j;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_job_open(a.word[0], &a, LMB_JOB_DATA_ONLY, &j, err));
    lmb_status st = export(&j, &a, err);
    lmb_job_close(&j);
    return st;
}

const lmb_cmd lmb_cmd_export = { "export", "the deployable file of a quantised student", usage, run };
