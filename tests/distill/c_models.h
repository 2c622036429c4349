/* tests/distill/c_models.h - networks of the zoo as .lmb files: random weights, ranges from a few synthetic images. */
#ifndef LMB_TESTS_DISTILL_C_MODELS_H
#define LMB_TESTS_DISTILL_C_MODELS_H

#include "distill/quantize/lower.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/qdq.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"

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

/* Append the .lmb to `file`. */
static inline void c_model_build(const c_model *which, lmb_str *file)
{
    const lmb_ptq_config c = { 48, 7, NULL, "cpu", 1 };
    lmb_error err = LMB_ERROR_INIT;
    lmb_dataset *data = dataset_of(which->data, LMB_PART_TRAIN);
    lmb_graph *model = model_of(which->model, data, 5), *frozen, *qdq;
    ck_ok(lmb_ptq(model, &c, data, &frozen, &err));
    ck_ok(lmb_pass_qdq(frozen, &qdq, &err));
    ck_ok(lmb_lower(qdq, file, &err));
    lmb_graph_destroy(model);
    lmb_graph_destroy(frozen);
    lmb_graph_destroy(qdq);
    lmb_dataset_destroy(data);
}

#endif
