/* core/onnx/internal.h - what the files of the importer share. */
#ifndef LMB_CORE_ONNX_INTERNAL_H
#define LMB_CORE_ONNX_INTERNAL_H

#include "core/base/str.h"
#include "core/graph/op.h"
#include "core/onnx/onnx.h"
#include "onnx.pb-c.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ONNX raw_data is little-endian; this reader copies it as it is"
#endif

#define LMBI_FORM_KEY "limbeck.form"   /* metadata: our own graph form, taken literally */
#define LMBI_BATCH_KEY "limbeck.batch" /* metadata: the value of N when it was written  */

/* ---- proto.c: bytes -> messages, within bounds ---- */

/* Everything protobuf-c allocates, so that bytes cannot ask for more than their size justifies. */
typedef struct lmbi_proto { ProtobufCAllocator allocator; size_t left; } lmbi_proto;

lmb_status lmbi_proto_model(lmbi_proto *p, const void *bytes, size_t n, size_t max_bytes, Onnx__ModelProto **out,
                            lmb_error *err);
void lmbi_proto_free(lmbi_proto *p, Onnx__ModelProto *m);
/* Type and shape; the length of the content is checked against them. */
lmb_status lmbi_tensor_type(const Onnx__TensorProto *t, lmb_dtype *dtype, lmb_shape *shape, lmb_error *err);
/* Copy the content (after lmbi_tensor_type) to `out`. */
void lmbi_tensor_copy(const Onnx__TensorProto *t, lmb_dtype dtype, int64_t count, void *out);
const char *lmbi_metadata(const Onnx__ModelProto *m, const char *key); /* NULL if absent */
int64_t lmbi_opset(const Onnx__ModelProto *m); /* of the domain ""; 0 if not imported */

/* ---- import.c: the state of one import ---- */

typedef struct lmbi_name { const char *text; int32_t v; } lmbi_name;
/* Open hash table from names to numbers; texts are borrowed. */
typedef struct lmbi_names { lmbi_name *slot; size_t n_slots; } lmbi_names;
lmb_status lmbi_names_create(lmbi_names *t, size_t count, lmb_error *err); /* room for `count` names */
bool lmbi_names_put(lmbi_names *t, const char *text, int32_t v);           /* false: was there already */
int32_t lmbi_names_get(const lmbi_names *t, const char *text);             /* LMB_NONE if absent */
void lmbi_names_free(lmbi_names *t);

typedef struct lmbi_import {
    const Onnx__ModelProto *model;
    const lmb_onnx_import_options *o;
    lmb_graph *g;
    int64_t opset, batch;
    size_t folded;    /* bytes of constants that fold.c made */
    bool literal;     /* our own form: no rewriting, no folding */
    lmbi_names names; /* ONNX name -> value */
} lmbi_import;

/* `name` is value v from here on; E_FORMAT if it is another's. */
lmb_status lmbi_declare(lmbi_import *m, const char *name, lmb_vid v, lmb_error *err);

/* ---- import_node.c ---- */

enum { LMBI_MIN_OPSET = 6, LMBI_MAX_OPSET = 21 };
lmb_status lmbi_import_node(lmbi_import *m, const Onnx__NodeProto *p, lmb_error *err);
/* All operators that we lack, in one sentence. */
lmb_status lmbi_check_operators(const lmbi_import *m, lmb_error *err);

enum { LMBI_MAX_ATTRS = 24, LMBI_TEXT = 48 };
/* A node being imported. Converters look at it, take attributes away and emit something else. */
typedef struct lmbi_node {
    const Onnx__NodeProto *p;
    const char *type, *domain, *name;
    int n_in, n_out, n_attr;
    lmb_vid in[LMB_MAX_IN], out[LMB_MAX_OUT];
    lmb_attr attr[LMBI_MAX_ATTRS + 2]; /* room for what converters add */
    char text[LMBI_MAX_ATTRS][LMBI_TEXT];
} lmbi_node;

/* Emit `n` as op `type` with the attributes it still has; fills n->out. */
lmb_status lmbi_emit(lmbi_import *m, lmbi_node *n, const char *type, lmb_error *err);
/* The same after rewriting the form of the file's opset into ours. */
lmb_status lmbi_emit_form(lmbi_import *m, lmbi_node *n, lmb_error *err);
/* Remove an attribute. False if absent or of another kind; *out is then untouched. */
bool lmbi_take(lmbi_node *n, const char *name, lmb_attr_kind kind, lmb_attr *out);
const Onnx__AttributeProto *lmbi_attribute(const lmbi_node *n, const char *name); /* NULL if absent */
/* The content of input i if it is a constant, else NULL. */
const lmb_value *lmbi_constant(const lmbi_import *m, const lmbi_node *n, int i);
/* Constant list of s32 or s64 at input i -> list; absent: *present false. E_UNSUPPORTED if it is not constant. */
lmb_status lmbi_int_list(const lmbi_import *m, const lmbi_node *n, int i, lmb_ints *list, bool *present,
                         lmb_error *err);
/* A builder that names helper values after the node. */
lmb_builder lmbi_builder(lmbi_import *m, const lmbi_node *n, lmb_error *err);
lmb_status lmbi_tensor_value(lmbi_import *m, const Onnx__TensorProto *t, lmb_role role, const char *name, lmb_vid *out,
                             lmb_error *err);

/* ---- convert.c: forms of other opsets ---- */
typedef lmb_status (*lmbi_convert)(lmbi_import *m, lmbi_node *n, lmb_error *err);
lmbi_convert lmbi_converter(const char *type, int64_t opset); /* NULL: the node is taken as it is */
lmb_status lmbi_conv(lmbi_import *m, lmbi_node *n, lmb_error *err); /* conv3d.c: three dimensions by two */

/* ---- fold.c: shape arithmetic ---- */
bool lmbi_fold_knows(const char *type);
/* *done: the node was evaluated; n->out[0] is a constant. */
lmb_status lmbi_fold(lmbi_import *m, lmbi_node *n, bool *done, lmb_error *err);

/* ---- int4.c: constants of four bits ---- */
enum { LMBI_ONNX_INT4 = 22 };
/* narrow [n_values]: which s8 constants can be written as INT4. E_UNSUPPORTED for an operator that opset 21 changed. */
lmb_status lmbi_int4_find(const lmb_graph *g, bool *narrow, lmb_error *err);
void lmbi_int4_pack(const lmb_value *v, lmb_str *out);
void lmbi_int4_unpack(const uint8_t *raw, size_t n, int8_t *out);
/* E_UNSUPPORTED names what reads INT4 and is no DequantizeLinear. */
lmb_status lmbi_int4_check(const Onnx__GraphProto *g, lmb_error *err);

/* ---- roles.c: which initializer is what ---- */
typedef struct lmbi_role { lmb_role role; bool no_decay; } lmbi_role;
/* roles [n_initializer]; by the way they are used. */
lmb_status lmbi_roles(const Onnx__GraphProto *g, lmbi_role *roles, lmb_error *err);

/* wire.c: fields of a message, appended. A message within it lies between `begin` and `end`, which gets what `begin`
 * gave. */
void lmbi_wire_int(lmb_str *s, unsigned field, int64_t v);
void lmbi_wire_bytes(lmb_str *s, unsigned field, const void *bytes, size_t n);
void lmbi_wire_text(lmb_str *s, unsigned field, const char *text);
void lmbi_wire_float(lmb_str *s, unsigned field, float v);
size_t lmbi_wire_begin(lmb_str *s, unsigned field);
void lmbi_wire_end(lmb_str *s, size_t start);
/* export_names.c: a name like this that is not taken, the caller's to free, or NULL. */
char *lmbi_export_name(bool strict, const lmbi_names *taken, const char *want);
/* name[v] of every value that has none, the caller's to free. `strict`: a value is named after the output that
 * shows it, for ONNX has one name for both. */
lmb_status lmbi_export_names(const lmb_graph *g, bool strict, lmbi_names *taken, char **name, lmb_error *err);
/* name[i] of nodes whose name an earlier one has, the caller's to free; `value`: names of values in the file. */
lmb_status lmbi_export_nodes(const lmb_graph *g, char *const *value, char **name, lmb_error *err);

/* ---- portable.c: what opset 13 can say ---- */
bool lmbi_is_default(const lmb_attr_row *row, const char *attr);
int lmbi_opset_of(const lmb_node *n);
lmb_status lmbi_check_strict(const lmb_graph *g, lmb_error *err);

#endif
