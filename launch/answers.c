/* launch/answers.c - see answers.h. */
#include "launch/answers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/cpu/cpu.h"
#include "train/predictor.h"

enum { BATCH = 100 };

static lmb_status read_batch(const lmb_dataset *d, int64_t first, int64_t n, uint8_t *raw, float *x, lmb_error *err)
{
    int64_t numbers = lmb_shape_count(&d->shape);
    int32_t label;

    for (int64_t i = 0; i < n; i++) {
        LMB_TRY(d->read(d, first + i, raw, &label, err));
        if (d->dtype == LMB_F32)
            memcpy(x + i * numbers, raw, sizeof *x * (size_t)numbers);
        for (int64_t k = 0; d->dtype != LMB_F32 && k < numbers; k++)
            x[i * numbers + k] = raw[k];
    }
    return LMB_OK;
}

lmb_status lmb_answers(const lmb_graph *model, const lmb_dataset *data, const char *backend, float *logits,
                       lmb_error *err)
{
    const lmb_backend *backends[3];
    const lmb_value *in = &model->value[lmb_graph_input(model, 0)];
    int64_t numbers = lmb_shape_count(&data->shape);
    lmb_predictor *p = NULL;
    const float *y;

    if (in->shape.n < 1 || in->shape.d[0] < 1 || lmb_shape_count(&in->shape) / in->shape.d[0] != numbers)
        return LMB_FAIL(err, LMB_E_SHAPE, "the model takes other samples than the data's of %lld numbers",
                        (long long)numbers);
    uint8_t *raw = malloc(lmb_shape_bytes(&data->shape, data->dtype) + 1);
    float *x = malloc(sizeof *x * (size_t)(numbers * BATCH + 1));
    lmb_status st = raw && x ? lmb_cpu_backends(backend, backends, err)
                             : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a batch of samples");

    if (st == LMB_OK)
        st = lmb_predictor_create(model, NULL, backends, BATCH, &p, err);
    if (st == LMB_OK && lmb_predictor_classes(p) != data->classes)
        st = LMB_FAIL(err, LMB_E_SHAPE, "the model has %d outputs, the data %d classes", lmb_predictor_classes(p),
                      data->classes);
    for (int64_t at = 0; at < data->n && st == LMB_OK; at += BATCH) {
        int64_t n = data->n - at < BATCH ? data->n - at : BATCH;
        st = read_batch(data, at, n, raw, x, err);
        if (st == LMB_OK)
            st = lmb_predictor_run(p, x, n, &y, err);
        if (st == LMB_OK)
            memcpy(logits + at * data->classes, y, sizeof *y * (size_t)(n * data->classes));
    }
    lmb_predictor_destroy(p);
    free(raw);
    free(x);
    return st;
}

lmb_status lmb_answers_write(const char *path, const float *logits, int64_t n, int64_t classes, lmb_error *err)
{
    enum { HEAD = 128 }; /* magic, version, length, a dictionary filled up with spaces */
    lmb_str file = LMB_STR_INIT;
    char head[HEAD] = "\x93NUMPY\x01", dict[HEAD];

    snprintf(dict, sizeof dict, "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }", (long long)n,
             (long long)classes);
    memset(head + 10, ' ', HEAD - 11);
    memcpy(head + 10, dict, strlen(dict));
    head[8] = HEAD - 10;
    head[HEAD - 1] = '\n';
    lmb_str_add_n(&file, head, HEAD);
    lmb_str_add_n(&file, logits, sizeof *logits * (size_t)(n * classes));
    lmb_status st = lmb_str_check(&file, err);
    if (st == LMB_OK)
        st = lmb_file_write(path, file.text, file.n, err);
    lmb_str_free(&file);
    return st;
}
