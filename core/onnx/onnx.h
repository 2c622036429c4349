/* core/onnx/onnx.h - models as ONNX files: reading, writing, and what a file says about itself.
 *
 * Idea: our operators mean what ONNX (opset 13) says, so reading and writing is a change of notation. Older
 * and newer forms are rewritten on import (convert.c), chains of whole numbers that only compute shapes are
 * evaluated (fold.c). Two kinds of files are written:
 *
 *   portable   strict = true: only ONNX operators of opset 13, for other runtimes. What ONNX of that opset
 *              cannot say is spelled out in older operators or refused. With int4: of opset 21, and s8 constants in
 *              -8 .. 7 behind a DequantizeLinear are INT4, with their zero points, two to a byte
 *   graph      the default: any graph, also a training graph, our own operators in the domain "limbeck", and
 *              what ONNX has no word for in the initializers' doc_string:
 *                "role=observer;reduce=min;frozen=0;decay=1;bits=4;next=<value name>"
 *              Reading it back gives the same nodes, attributes, names, roles and state layout. The metadata
 *              key "limbeck.form" marks such files: their nodes are taken literally.
 *
 *   names    of values and nodes are kept; strict files have them in [A-Za-z0-9_./]. No two nodes of a file have one name: a
 *            later one is called as what it makes, and says "name=<its own>" in its doc_string in the graph form. Bytes
 *            that are no file (they are hashed, or sent) keep names as they are
 *   batch    dimension 0 of inputs and outputs that equals the batch is written as the symbol "N"
 *   input    is hostile: sizes, nesting and memory are bounded, external data is refused
 *   errors   E_FORMAT for bytes that are not a sound model, E_UNSUPPORTED naming node and operator
 *   source   onnx.proto of IR version 3 to 10; operator changelog of opsets 6 to 21
 */
#ifndef LMB_CORE_ONNX_ONNX_H
#define LMB_CORE_ONNX_ONNX_H

#include "core/base/str.h"
#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An input fixed to a value: "fix inputs to values" makes shapes and axes given at run time constants. */
typedef struct lmb_onnx_constant { const char *name; lmb_tensor value; } lmb_onnx_constant;

typedef struct lmb_onnx_import_options {
    int64_t batch;    /* for a symbolic or unknown dimension 0; 0: as written by us, else 1 */
    size_t max_bytes; /* refuse larger files; 0: LMB_ONNX_MAX_BYTES                         */
    const lmb_onnx_constant *constants;
    int n_constants;
} lmb_onnx_import_options;
enum { LMB_ONNX_MAX_BYTES = 512 * 1024 * 1024 };

/* Bytes of a ModelProto -> graph (the caller's). `o` NULL: defaults.
 * Weights and biases of Conv, Gemm and MatMul and scale and bias of BatchNormalization become PARAMETER, the
 * running statistics STATISTIC; other initializers are constants. Biases and BatchNormalization decay 0. */
LMB_MUST_CHECK lmb_status lmb_onnx_import(const void *bytes, size_t n, const lmb_onnx_import_options *o,
                                          lmb_graph **out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_onnx_read(const char *path, const lmb_onnx_import_options *o, lmb_graph **out,
                                        lmb_error *err);

typedef struct lmb_onnx_property { const char *key, *value; } lmb_onnx_property;

typedef struct lmb_onnx_export_options {
    bool strict;         /* portable file: opset 13, operators of ONNX only             */
    int ir_version;      /* 0: 7, the pairing of opset 13 that old loaders take         */
    bool int4;           /* strict only: s8 weights of 4 bits as INT4, opset 21 and IR version 10 */
    bool distinct;       /* graph form: nodes of one name are told apart, as ONNX Runtime wants it; strict does so */
    const char *name;    /* of the graph; NULL: "limbeck"                               */
    const lmb_onnx_property *properties; /* metadata_props: class names, normalisation  */
    int n_properties;
} lmb_onnx_export_options;

/* Append the bytes of the ModelProto to `out`. `o` NULL: defaults. */
LMB_MUST_CHECK lmb_status lmb_onnx_export(const lmb_graph *g, const lmb_onnx_export_options *o, lmb_str *out,
                                          lmb_error *err);
/* The same as a file, always `distinct`. */
LMB_MUST_CHECK lmb_status lmb_onnx_write(const char *path, const lmb_graph *g, const lmb_onnx_export_options *o,
                                         lmb_error *err);

/* What a file says about itself, without building its graph. */
typedef struct lmb_onnx_info {
    int64_t ir_version, opset;       /* opset of ONNX's own operators; 0: none imported */
    char producer[64], graph_name[64];
    int n_properties;
    lmb_onnx_property *properties;
    int n_inputs, n_outputs, n_operators;
    const char **inputs;    /* names of what is given at each run: without initializers */
    const char **outputs;
    const char **operators; /* distinct; "limbeck.FakeQuant" for other domains than ONNX's */
    void *memory;           /* private */
} lmb_onnx_info;
LMB_MUST_CHECK lmb_status lmb_onnx_describe(const void *bytes, size_t n, lmb_onnx_info **out, lmb_error *err);
void lmb_onnx_info_destroy(lmb_onnx_info *info); /* NULL is a no-op */
const char *lmb_onnx_property_get(const lmb_onnx_info *info, const char *key); /* NULL if absent */

/* A TensorProto (as in the .pb files of ONNX test sets). *out is malloc'd: free(out->data). */
LMB_MUST_CHECK lmb_status lmb_onnx_tensor(const void *bytes, size_t n, lmb_tensor *out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
