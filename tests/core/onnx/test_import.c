/* Mirrors core/onnx/import.c, roles.c, fold.c: models as other programs write them. The forms of each operator are
 * covered by interop/onnx_conformance. */
#include "core/onnx/onnx.h"

#include <stdlib.h>
#include <string.h>

#include "core/onnx/internal.h"
#include "core/plan/plan.h"
#include "tests/check_main.h"

static lmb_error err;

/* ---- a small writer: messages live in one arena per test, packed by protobuf-c ---- */

static struct { char bytes[1 << 16]; size_t used; } arena;

static void *make(size_t n)
{
    arena.used = (arena.used + 15) & ~(size_t)15;
    void *p = arena.bytes + arena.used;
    arena.used += n;
    ck_assert_uint_le(arena.used, sizeof arena.bytes);
    memset(p, 0, n);
    return p;
}

#define PUSH(list, n, item)                             \
    do {                                                \
        void *bigger_ = make(sizeof *(list) * ((n) + 1)); \
        if (n)                                          \
            memcpy(bigger_, (list), sizeof *(list) * (n)); \
        (list) = bigger_;                               \
        (list)[(n)++] = (item);                         \
    } while (0)
#define NEW(type, init) memcpy(make(sizeof(type)), &(type)init, sizeof(type))

static Onnx__ModelProto *model(int64_t opset)
{
    arena.used = 0;
    err = (lmb_error)LMB_ERROR_INIT;
    Onnx__ModelProto *m = NEW(Onnx__ModelProto, ONNX__MODEL_PROTO__INIT);
    Onnx__OperatorSetIdProto *o = NEW(Onnx__OperatorSetIdProto, ONNX__OPERATOR_SET_ID_PROTO__INIT);
    m->has_ir_version = 1, m->ir_version = 7;
    o->has_version = 1, o->version = opset;
    PUSH(m->opset_import, m->n_opset_import, o);
    m->graph = NEW(Onnx__GraphProto, ONNX__GRAPH_PROTO__INIT);
    return m;
}

/* Dimension -1: the symbol "N". */
static void input(Onnx__ModelProto *m, const char *name, int n, const int64_t *d)
{
    Onnx__ValueInfoProto *v = NEW(Onnx__ValueInfoProto, ONNX__VALUE_INFO_PROTO__INIT);
    v->name = (char *)name;
    v->type = NEW(Onnx__TypeProto, ONNX__TYPE_PROTO__INIT);
    v->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    v->type->tensor_type = NEW(Onnx__TypeProto__Tensor, ONNX__TYPE_PROTO__TENSOR__INIT);
    v->type->tensor_type->has_elem_type = 1, v->type->tensor_type->elem_type = 1;
    v->type->tensor_type->shape = NEW(Onnx__TensorShapeProto, ONNX__TENSOR_SHAPE_PROTO__INIT);
    for (int i = 0; i < n; i++) {
        Onnx__TensorShapeProto__Dimension *e =
            NEW(Onnx__TensorShapeProto__Dimension, ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT);
        e->value_case = d[i] < 0 ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                 : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (d[i] < 0)
            e->dim_param = (char *)"N";
        else
            e->dim_value = d[i];
        PUSH(v->type->tensor_type->shape->dim, v->type->tensor_type->shape->n_dim, e);
    }
    PUSH(m->graph->input, m->graph->n_input, v);
}

static void output(Onnx__ModelProto *m, const char *name)
{
    Onnx__ValueInfoProto *v = NEW(Onnx__ValueInfoProto, ONNX__VALUE_INFO_PROTO__INIT);
    v->name = (char *)name;
    PUSH(m->graph->output, m->graph->n_output, v);
}

static Onnx__TensorProto *tensor(Onnx__ModelProto *m, const char *name, int type, int n, const int64_t *d)
{
    Onnx__TensorProto *t = NEW(Onnx__TensorProto, ONNX__TENSOR_PROTO__INIT);
    int64_t count = 1;
    t->name = (char *)name;
    t->has_data_type = 1, t->data_type = type;
    for (int i = 0; i < n; i++) {
        PUSH(t->dims, t->n_dims, d[i]);
        count *= d[i];
    }
    t->has_raw_data = 1;
    t->raw_data.len = (size_t)count * (type == 1 ? 4 : 8);
    t->raw_data.data = make(t->raw_data.len);
    if (m)
        PUSH(m->graph->initializer, m->graph->n_initializer, t);
    return t;
}

static void ints(Onnx__ModelProto *m, const char *name, int n, const int64_t *v)
{
    Onnx__TensorProto *t = tensor(m, name, 7, 1, (int64_t[]){ n });
    memcpy(t->raw_data.data, v, sizeof *v * (size_t)n);
}
#define INTS(m, name, ...) \
    ints(m, name, (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ })
#define DIMS(...) (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ }

/* "Type a b -> y" */
static Onnx__NodeProto *node(Onnx__ModelProto *m, const char *text)
{
    Onnx__NodeProto *n = NEW(Onnx__NodeProto, ONNX__NODE_PROTO__INIT);
    char *copy = make(strlen(text) + 1), *save = NULL;
    bool out = false;
    strcpy(copy, text);
    n->op_type = strtok_r(copy, " ", &save);
    for (char *w; (w = strtok_r(NULL, " ", &save));) {
        if (strcmp(w, "->") == 0)
            out = true;
        else if (out)
            PUSH(n->output, n->n_output, w);
        else
            PUSH(n->input, n->n_input, w);
    }
    PUSH(m->graph->node, m->graph->n_node, n);
    return n;
}

static Onnx__AttributeProto *attribute(Onnx__NodeProto *n, const char *name, int type)
{
    Onnx__AttributeProto *a = NEW(Onnx__AttributeProto, ONNX__ATTRIBUTE_PROTO__INIT);
    a->name = (char *)name;
    a->has_type = 1, a->type = (Onnx__AttributeProto__AttributeType)type;
    PUSH(n->attribute, n->n_attribute, a);
    return a;
}

static void attribute_int(Onnx__NodeProto *n, const char *name, int64_t v)
{
    Onnx__AttributeProto *a = attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = 1, a->i = v;
}

static lmb_status import(const Onnx__ModelProto *m, const lmb_onnx_import_options *o, lmb_graph **g)
{
    size_t n = onnx__model_proto__get_packed_size(m);
    uint8_t *bytes = malloc(n);
    onnx__model_proto__pack(m, bytes);
    lmb_error_clear(&err);
    lmb_status st = lmb_onnx_import(bytes, n, o, g, &err);
    free(bytes);
    return st;
}

static void refused(const Onnx__ModelProto *m, lmb_status want, const char *says)
{
    lmb_graph *g;
    ck_assert_int_eq(import(m, NULL, &g), want);
    ck_assert_msg(strstr(err.msg, says), "'%s' does not say '%s'", err.msg, says);
}

/* What torch.onnx writes for F.pad(x, (1, 2, 3, 4)) at opset 11: ten nodes for eight numbers. */
START_TEST(a_chain_of_whole_numbers_becomes_a_constant)
{
    Onnx__ModelProto *m = model(11);
    lmb_graph *g;

    input(m, "x", DIMS(2, 3, 5, 6));
    INTS(m, "given", 1, 2, 3, 4);
    INTS(m, "four", 4);
    INTS(m, "pairs", -1, 2);
    INTS(m, "flat", -1);
    INTS(m, "last", -1);
    INTS(m, "far", INT64_MIN + 1);
    INTS(m, "zero", 0);
    Onnx__AttributeProto *v = attribute(node(m, "ConstantOfShape four -> rest"), "value",
                                        ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR);
    v->t = tensor(NULL, "v", 7, DIMS(1));
    attribute_int(node(m, "Concat given rest -> all"), "axis", 0);
    node(m, "Reshape all pairs -> table");
    node(m, "Slice table last far zero last -> reversed");
    Onnx__AttributeProto *perm = attribute(node(m, "Transpose reversed -> turned"), "perm",
                                           ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    PUSH(perm->ints, perm->n_ints, 1);
    PUSH(perm->ints, perm->n_ints, 0);
    node(m, "Reshape turned flat -> row");
    attribute_int(node(m, "Cast row -> pads"), "to", 7);
    node(m, "Pad x pads -> y");
    output(m, "y");
    ck_ok(import(m, NULL, &g));
    ck_assert_int_eq(g->n_nodes, 1);
    lmb_shape want = LMB_SHAPE(2, 3, 5 + 3 + 4, 6 + 1 + 2);
    ck_assert(lmb_shape_equal(&g->value[lmb_graph_find(g, "y")].shape, &want));
    int64_t pads[] = { 0, 0, 3, 1, 0, 0, 4, 2 };
    ck_assert_mem_eq(g->value[lmb_graph_find(g, "pads")].data, pads, sizeof pads);
    lmb_graph_destroy(g);
}
END_TEST

/* x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat, Reshape; with an open batch. */
START_TEST(a_shape_computed_from_the_input)
{
    Onnx__ModelProto *m = model(9);
    lmb_onnx_import_options o = { .batch = 7 };
    lmb_graph *g;

    input(m, "x", DIMS(-1, 3, 4));
    INTS(m, "rest", -1);
    tensor(m, "index", 7, 0, NULL);
    node(m, "Shape x -> shape");
    attribute_int(node(m, "Gather shape index -> n"), "axis", 0);
    Onnx__AttributeProto *axes =
        attribute(node(m, "Unsqueeze n -> n1"), "axes", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    PUSH(axes->ints, axes->n_ints, 0);
    attribute_int(node(m, "Concat n1 rest -> to"), "axis", 0);
    node(m, "Reshape x to -> y");
    output(m, "y");
    ck_ok(import(m, &o, &g));
    ck_assert_int_eq(g->n_nodes, 1);
    lmb_shape want = LMB_SHAPE(7, 12);
    ck_assert(lmb_shape_equal(&g->value[lmb_graph_find(g, "y")].shape, &want));
    lmb_graph_destroy(g);
    node(m, "Cast x -> z"); /* not a constant: refused by name */
    attribute_int(m->graph->node[m->graph->n_node - 1], "to", 7);
    refused(m, LMB_E_UNSUPPORTED, "Cast");
}
END_TEST

static void role_is(const lmb_graph *g, const char *name, lmb_role role, float decay)
{
    const lmb_value *v = &g->value[lmb_graph_find(g, name)];
    ck_assert_msg(v->role == role && v->decay == decay, "%s is %s with decay %g", name, lmb_role_name(v->role),
                  v->decay);
}

START_TEST(roles_follow_use)
{
    Onnx__ModelProto *m = model(13);
    lmb_graph *g;

    input(m, "x", DIMS(-1, 4));
    tensor(m, "wt", 1, DIMS(3, 4));
    tensor(m, "bias", 1, DIMS(3));
    tensor(m, "scale", 1, DIMS(3));
    tensor(m, "shift", 1, DIMS(3));
    tensor(m, "mean", 1, DIMS(3));
    tensor(m, "var", 1, DIMS(3));
    tensor(m, "offset", 1, DIMS(3));
    tensor(m, "w2", 1, DIMS(3, 2));
    tensor(m, "c2", 1, DIMS(2));
    node(m, "Transpose wt -> w");
    node(m, "MatMul x w -> xw");
    node(m, "Add bias xw -> z");
    node(m, "BatchNormalization z scale shift mean var -> n");
    node(m, "Add n offset -> o");
    node(m, "Gemm o w2 c2 -> y");
    output(m, "y");
    ck_ok(import(m, NULL, &g));
    role_is(g, "wt", LMB_ROLE_PARAMETER, 1);
    role_is(g, "bias", LMB_ROLE_PARAMETER, 0);
    role_is(g, "scale", LMB_ROLE_PARAMETER, 0);
    role_is(g, "shift", LMB_ROLE_PARAMETER, 0);
    role_is(g, "mean", LMB_ROLE_STATISTIC, 0);
    role_is(g, "var", LMB_ROLE_STATISTIC, 0);
    role_is(g, "offset", LMB_ROLE_CONSTANT, 1);
    role_is(g, "w2", LMB_ROLE_PARAMETER, 1);
    role_is(g, "c2", LMB_ROLE_PARAMETER, 0);
    lmb_graph_destroy(g);
}
END_TEST

START_TEST(inputs_can_be_fixed)
{
    Onnx__ModelProto *m = model(13);
    int64_t to[] = { 2, 6 };
    lmb_onnx_constant c = { "to", { LMB_S64, LMB_SHAPE(2), to } };
    lmb_onnx_import_options o = { .constants = &c, .n_constants = 1 };
    lmb_graph *g;

    input(m, "x", DIMS(3, 4));
    input(m, "to", DIMS(2));
    node(m, "Reshape x to -> y");
    output(m, "y");
    refused(m, LMB_E_UNSUPPORTED, "constant");
    ck_ok(import(m, &o, &g));
    ck_assert_int_eq(lmb_graph_input(g, 1), LMB_NONE);
    lmb_graph_destroy(g);
    c.name = "nothing";
    ck_assert_int_eq(import(m, &o, &g), LMB_E_ARG);
}
END_TEST

START_TEST(what_is_missing_is_named)
{
    Onnx__ModelProto *m = model(13);

    input(m, "x", DIMS(1, 4));
    node(m, "Foo x -> a")->name = (char *)"first";
    node(m, "Relu a -> b");
    node(m, "Einsum b -> c");
    output(m, "c");
    refused(m, LMB_E_UNSUPPORTED, "2 of 3 nodes use operators that are not supported (opset 13): Foo (node 'first'), "
                                  "Einsum (node 'c')");
}
END_TEST

START_TEST(unsound_models_are_refused)
{
    Onnx__ModelProto *m = model(13);

    input(m, "x", DIMS(1, -1));
    refused(m, LMB_E_UNSUPPORTED, "dimension 1 is open");
    m = model(99);
    refused(m, LMB_E_UNSUPPORTED, "opset 99");
    m = model(13);
    m->ir_version = 2;
    refused(m, LMB_E_UNSUPPORTED, "IR version 2");
    m = model(13);
    Onnx__TensorProto *t = tensor(m, "w", 1, DIMS(2, 2));
    t->raw_data.len--;
    refused(m, LMB_E_FORMAT, "tensor 'w' should have 4 numbers (16 bytes) but holds 15 bytes");
    t->raw_data.len = 16;
    char *name = t->name;
    t->name = NULL;
    refused(m, LMB_E_FORMAT, "initializer: number 0 of 1 has no name");
    t->name = name;
    t->dims[0] = -2;
    refused(m, LMB_E_SHAPE, "tensor 'w'");
    t->dims[0] = INT64_MAX;
    refused(m, LMB_E_SHAPE, "tensor 'w'");
    t->dims[0] = 2;
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    refused(m, LMB_E_UNSUPPORTED, "another file");
    m = model(13);
    input(m, "x", DIMS(1, 4));
    node(m, "Relu ghost -> y");
    refused(m, LMB_E_FORMAT, "'ghost', which nothing before it makes");
    m = model(13);
    input(m, "x", DIMS(1, 4));
    node(m, "Relu x -> x");
    refused(m, LMB_E_FORMAT, "given to two values");
    m = model(13);
    input(m, "x", DIMS(1, 4));
    attribute_int(node(m, "Relu x -> y"), "speed", 3);
    refused(m, LMB_E_ARG, "speed");
    m = model(13);
    output(m, "y");
    refused(m, LMB_E_FORMAT, "output 'y'");
    m->graph = NULL;
    refused(m, LMB_E_FORMAT, "no graph");
}
END_TEST

LMB_TEST_MAIN("core/onnx/import",
              add(a_chain_of_whole_numbers_becomes_a_constant);
              add(a_shape_computed_from_the_input);
              add(roles_follow_use);
              add(inputs_can_be_fixed);
              add(what_is_missing_is_named);
              add(unsound_models_are_refused);)
