/* tests/distill/c_models.h - networks of the zoo as .lmb files: random weights, ranges from a few synthetic images. */
#ifndef LMB_TESTS_DISTILL_C_MODELS_H
#define LMB_TESTS_DISTILL_C_MODELS_H

#include "core/base/config.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/qdq.h"
#include "tests/check_main.h"
#include "train/model.h"

typedef struct c_model {
    const char *name, *data, *model;
} c_model;

static const c_model c_models[] = {
    { "resnet8", "{name: synthetic, train: 48, classes: 10, channels: 3, height: 32, width: 32, noise: 0.4}",
      "{name: resnet, depth: 8, width: 16, mean: 120, scale: 0.016}" },
    { "mobilenet_v1", "{name: synthetic, train: 48, classes: 10, channels: 3, height: 32, width: 32, noise: 0.4}",
      "{name: mobilenet_v1, width: 0.25, mean: 120, scale: 0.016}" },
    { "mobilenet_v2", "{name: synthetic, train: 48, classes: 10, channels: 3, height: 32, width: 32, noise: 0.4}",
      "{name: mobilenet_v2, width: 0.25, mean: 120, scale: 0.016}" },
    { "lenet", "{name: synthetic, train: 48, classes: 10, channels: 1, height: 28, width: 28, noise: 0.4}",
      "{name: lenet, mean: 120, scale: 0.016}" },
    { "mlp", "{name: synthetic, train: 48, classes: 10, channels: 1, height: 28, width: 28, noise: 0.4}",
      "{name: mlp, hidden: [40, 20], mean: 120, scale: 0.016}" },
};
enum { C_MODELS = sizeof c_models / sizeof c_models[0] };

static inline lmb_config *c_parse(const char *text)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_config *c;
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", &c, &err));
    return c;
}

/* Append the .lmb to `file`. */
static inline void c_model_build(const c_model *which, lmb_str *file)
{
    const lmb_ptq_config c = { 48, 7, NULL, "cpu", 1 };
    lmb_error err = LMB_ERROR_INIT;
    lmb_config *d = c_parse(which->data), *m = c_parse(which->model);
    lmb_graph *model, *frozen, *qdq;
    lmb_dataset *data;
    ck_ok(lmb_dataset_open(lmb_config_root(d), LMB_PART_TRAIN, &data, &err));
    ck_ok(lmb_model_build(lmb_config_root(m), &data->shape, data->classes, 5, &model, &err));
    ck_ok(lmb_ptq(model, &c, data, &frozen, &err));
    ck_ok(lmb_pass_qdq(frozen, &qdq, &err));
    ck_ok(lmb_lower(qdq, file, &err));
    lmb_graph_destroy(model);
    lmb_graph_destroy(frozen);
    lmb_graph_destroy(qdq);
    lmb_dataset_destroy(data);
    lmb_config_destroy(d);
    lmb_config_destroy(m);
}

#endif
