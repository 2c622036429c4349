/* tests/distill/data_logits.h - what a model answers to a whole data set at once. */
#ifndef LMB_TESTS_DISTILL_DATA_LOGITS_H
#define LMB_TESTS_DISTILL_DATA_LOGITS_H

#include <stdlib.h>
#include <string.h>

#include "core/cpu/cpu.h"
#include "datasets/dataset.h"
#include "tests/check_main.h"
#include "train/predictor.h"

/* Logits of all samples of bytes, [n, classes]; the caller's. */
static inline float *data_logits(const lmb_dataset *data, const lmb_graph *g)
{
    const lmb_backend *backends[3];
    lmb_error err = LMB_ERROR_INIT;
    int64_t n = lmb_shape_count(&data->shape);
    float *x = malloc(sizeof *x * (size_t)(data->n * n)),
          *all = malloc(sizeof *all * (size_t)(data->n * data->classes));
    uint8_t *raw = malloc((size_t)n);
    const float *y;
    lmb_predictor *p;
    int32_t label;

    for (int64_t i = 0; i < data->n; i++) {
        ck_ok(data->read(data, i, raw, &label, &err));
        for (int64_t k = 0; k < n; k++)
            x[i * n + k] = raw[k];
    }
    ck_ok(lmb_cpu_backends("cpu", backends, &err));
    ck_ok(lmb_predictor_create(g, NULL, backends, data->n, &p, &err));
    ck_ok(lmb_predictor_run(p, x, data->n, &y, &err));
    memcpy(all, y, sizeof *all * (size_t)(data->n * data->classes));
    lmb_predictor_destroy(p);
    free(raw);
    free(x);
    return all;
}

#endif
