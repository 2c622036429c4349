/* train/layers.h - models written as a list of layers in YAML, one table row a kind of layer.
 *
 *   model:
 *     name: layers
 *     activation: relu                              what follows conv, depthwise and residual where they say nothing
 *     layers:
 *       - conv: {channels: 16, kernel: 3}           BatchNormalization and activation included
 *       - pool: max                                 a kind's main option may stand alone
 *       - residual:                                 x + layers(x); x is projected where the shapes differ
 *           - conv: {channels: 32, stride: 2}
 *           - conv: {channels: 32, activation: none}
 *       - concat: [[{conv: 16}], [{conv: {channels: 16, kernel: 5}}]]
 *       - pool: global
 *       - dense                                     without a number: one output a class
 *
 * Idea: an item is the name of a kind, with options bound by that kind's rows. Tensors are named by kind and place in
 * the list ("conv1.conv.weight", inside a block "residual3.conv1..."), or by the layer's own `name`. Whatever does not
 * fit is refused with the line of the layer, the shape that reached it, and what to change.
 *
 *   limits   LMB_LAYERS_MAX layers once repeats are unrolled, LMB_LAYER_MAX_WEIGHTS numbers in one layer
 *   source   residual blocks: He et al. 2016, section 3.2, option B; concatenation: Szegedy et al. 2015
 */
#ifndef LMB_TRAIN_LAYERS_H
#define LMB_TRAIN_LAYERS_H

#include "core/base/config.h"
#include "train/model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_LAYERS_MAX = 4096, LMB_LAYER_MAX_WEIGHTS = 1 << 28, LMB_LAYER_MAX_NAME = 40 };

/* A list being built. */
typedef struct lmb_layers {
    lmb_net *net;
    int classes;
    const char *activation;
    int built;   /* layers so far                                  */
    bool placed; /* the message of the error already has its place */
} lmb_layers;

/* One layer of the list: where it stands, what it is called, what reaches it. */
typedef struct lmb_layer {
    lmb_layers *list;
    const lmb_tree *at;
    const char *name;
    lmb_vid x;
} lmb_layer;

typedef struct lmb_layer_kind {
    const char *name, *summary;
    const char *main; /* the option that may stand alone: `dense: 10`; NULL: none                       */
    const lmb_field *fields;
    size_t config_size; /* of a struct that begins with `const char *name`                              */
    lmb_vid (*build)(const lmb_layer *l, const void *config); /* LMB_NONE after an error, which sticks in the net */
} lmb_layer_kind;
extern const lmb_layer_kind *const lmb_layer_kinds[]; /* NULL-terminated */

/* ---- for kinds ---- */
/* Append the items of `list` behind x; names are prefixed with `scope` and a dot. */
lmb_vid lmb_layers_append(lmb_layers *l, const lmb_tree *list, const char *scope, lmb_vid x);
/* Refuse a layer: "file:line:column: conv3: ..."; returns LMB_NONE. */
lmb_vid lmb_layer_refuse(const lmb_layer *l, lmb_status s, const char *fmt, ...) LMB_PRINTF(3, 4);
const lmb_shape *lmb_layer_shape(const lmb_layer *l, lmb_vid v);
/* A residual's, a convolution's activation: its own, else the list's; "" for none. */
const char *lmb_layer_activation(const lmb_layer *l, const char *own);
extern const lmb_layer_kind lmb_layer_residual, lmb_layer_concat, lmb_layer_repeat; /* train/layers_blocks.c */

#ifdef __cplusplus
}
#endif
#endif
