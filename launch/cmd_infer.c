/* launch/cmd_infer.c - `limbeck infer`: what a model file says of one sample. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/cpu.h"
#include "datasets/image.h"
#include "distill/quantize/lower.h"
#include "launch/job.h"
#include "launch/with_model.h"
#include "train/predictor.h"

static const char usage[] =
    "usage: limbeck infer CONFIG.yaml MODEL.onnx|MODEL.lmb IMAGE.png|.jpg ... [--set key=value ...]\n"
    "       limbeck infer CONFIG.yaml MODEL.onnx|MODEL.lmb --index N [--part test|validation|train]\n\n"
    "Classes and their probabilities, best first, for image files or for a sample of the data set. A .lmb, or an ONNX model with\n"
    "QuantizeLinear and DequantizeLinear, is computed in integers by the device runtime.\n";

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
            LMB_TRY_GOTO(st, done,
                         LMB_FAIL(err, LMB_E_ARG, "--index %s; the part has samples 0 to %lld", index,
                                  (long long)d->n - 1));
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

    LMB_TRY(lmb_part_of(j, a, &d, err));
    return infer_all(a, d, &w, err);
}

static lmb_status infer(lmb_job *j, const lmb_args *a, const lmb_graph *model, lmb_error *err)
{
    const lmb_backend *backends[3];
    const lmb_dataset *d = NULL;
    lmb_predictor *p;

    LMB_TRY(lmb_part_of(j, a, &d, err));
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

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "part", "index", NULL };
    static const lmb_model_use use = { 0, infer, infer_integers };
    return lmb_with_model(argc, argv, known, &use, err);
}

const lmb_cmd lmb_cmd_infer = { "infer", "classes of an image file or a sample", usage, run };
