/* train/model.h - the model zoo: graphs from a few lines of YAML.
 *
 * Idea: a family is a row with option rows and a function that appends its layers. The input is raw numbers
 * (pixels 0 .. 255); normalisation is part of the graph, as one scalar mean and scale, so that it folds into a
 * quantised input. The graph is in inference form with batch 1; passes make other batches and training forms.
 *   input "x" f32 [1, sample shape], output "logits" [1, classes]
 */
#ifndef LMB_TRAIN_MODEL_H
#define LMB_TRAIN_MODEL_H

#include "core/base/field.h"
#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_tree;

/* What builders share: layers that know how their weights start. */
typedef struct lmb_net {
    lmb_builder b;
    uint64_t seed;
    uint64_t draws; /* weights tensors made so far: each has a random stream of its own */
    int64_t dropouts;
    double bn_momentum, numbers; /* numbers: of the weights so far */
} lmb_net;

typedef struct lmb_model_family {
    const char *name, *summary, *source;
    const lmb_field *fields;
    size_t config_size;
    lmb_vid (*build)(lmb_net *n, const void *config, lmb_vid x, int classes); /* -> logits */
    bool raw; /* pixels come as they are: mean is 0 and scale 1 where the section does not name them */
} lmb_model_family;

extern const lmb_field lmb_model_common_fields[]; /* options that every family has beside its own */
extern const lmb_model_family *const lmb_model_families[]; /* NULL-terminated */

/* Build what the section `model` describes: {name: resnet, depth: 8, width: 16, mean: 72.9, scale: 0.011}.
 *   errors  E_ARG with the place for an unknown family or option; E_SHAPE when layers do not fit the sample */
LMB_MUST_CHECK lmb_status lmb_model_build(const struct lmb_tree *model, const lmb_shape *sample, int classes,
                                          uint64_t seed, lmb_graph **out, lmb_error *err);

/* ---- layers ---- */
typedef struct lmb_conv_layer { int64_t out, kernel, stride, groups; bool bias, unpadded; } lmb_conv_layer;
lmb_vid lmb_net_conv(lmb_net *n, const char *name, lmb_vid x, lmb_conv_layer l); /* padding kernel / 2, or none */
lmb_vid lmb_net_norm(lmb_net *n, const char *name, lmb_vid x);
lmb_vid lmb_net_activation(lmb_net *n, const char *kind, lmb_vid x);   /* "relu", "relu6", "hardswish", ... or "" */
lmb_vid lmb_net_linear(lmb_net *n, const char *name, lmb_vid x, int64_t out);
lmb_vid lmb_net_max_pool(lmb_net *n, lmb_vid x, int64_t kernel, int64_t stride, int64_t padding);
lmb_vid lmb_net_average_pool(lmb_net *n, lmb_vid x, int64_t kernel, int64_t stride, int64_t padding);
lmb_vid lmb_net_global_pool(lmb_net *n, lmb_vid x); /* -> [N, C] */
lmb_vid lmb_net_flatten(lmb_net *n, lmb_vid x);
lmb_vid lmb_net_dropout(lmb_net *n, lmb_vid x, double ratio);
/* Convolution without bias, BatchNormalization, activation. */
lmb_vid lmb_net_conv_norm(lmb_net *n, const char *name, lmb_vid x, lmb_conv_layer l, const char *activation);

#ifdef __cplusplus
}
#endif
#endif
