/* Mirrors core/onnx/export.c and import.c: what is written reads back the same, and damage is refused. */
#include "core/onnx/onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/graph/autodiff.h"
#include "core/graph/state.h"
#include "core/onnx/internal.h"
#include "core/plan/plan.h"
#include "tests/check_main.h"

static lmb_error err;

static void set_next(lmb_graph *g, const char *state, lmb_vid next, lmb_reduce reduce)
{
    lmb_value *v = &g->value[lmb_graph_find(g, state)];
    v->next = next;
    v->reduce = reduce;
}

/* A step of quantisation-aware training with everything that ONNX has no word for: observers with their own
 * reductions, a mask, a frozen weight, running statistics, names that are no identifiers, and gradients. */
static lmb_graph *training_graph(void)
{
    lmb_graph *g, *out;
    lmb_vid bn[3], range[2], scale[2], wrt[2], grads[2];
    float w[8 * 3 * 3 * 3], one[8], zero[8] = { 0 }, mask[5 * 8];
    int64_t flat[] = { 4, -1 };

    err = (lmb_error)LMB_ERROR_INIT;
    for (int i = 0; i < 216; i++)
        w[i] = (float)((i * 37) % 23 - 11) / 16.0f;
    for (int i = 0; i < 8; i++)
        one[i] = 1.0f;
    for (int i = 0; i < 40; i++)
        mask[i] = (float)(i % 3 != 0);
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "image", LMB_F32, LMB_SHAPE(4, 3, 6, 6), NULL);
    lmb_vid label = lmb_emit_value(&b, LMB_ROLE_INPUT, "label", LMB_S64, LMB_SHAPE(4), NULL);
    lmb_vid cw = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "stem.conv:w", LMB_F32, LMB_SHAPE(8, 3, 3, 3), w);
    lmb_vid s = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "bn/scale", LMB_F32, LMB_SHAPE(8), one);
    lmb_vid sb = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "bn/bias", LMB_F32, LMB_SHAPE(8), zero);
    lmb_vid mean = lmb_emit_value(&b, LMB_ROLE_STATISTIC, "bn/mean", LMB_F32, LMB_SHAPE(8), zero);
    lmb_vid var = lmb_emit_value(&b, LMB_ROLE_STATISTIC, "bn/var", LMB_F32, LMB_SHAPE(8), one);
    lmb_vid lo = lmb_emit_value(&b, LMB_ROLE_OBSERVER, "act.lo", LMB_F32, (lmb_shape){ 0 }, zero);
    lmb_vid hi = lmb_emit_value(&b, LMB_ROLE_OBSERVER, "act.hi", LMB_F32, (lmb_shape){ 0 }, one);
    lmb_vid fw = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "head.weight", LMB_F32, LMB_SHAPE(5, 8), w);
    lmb_vid fm = lmb_emit_value(&b, LMB_ROLE_MASK, "head.mask", LMB_F32, LMB_SHAPE(5, 8), mask);
    lmb_vid y = lmb_emit(&b, "Conv", "stem", LMB_IN(x, cw), LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1)));
    lmb_emit_n(&b, "BatchNormalization", "bn", LMB_IN(y, s, sb, mean, var),
               LMB_ATTRS(LMB_AINT("training_mode", 1), LMB_AREAL("momentum", 0.875f)), bn, 3);
    y = lmb_emit(&b, "Relu", "same name", LMB_IN(bn[0]), LMB_NO_ATTRS);
    lmb_emit_n(&b, "ObserveRange", "observe", LMB_IN(y, lo, hi), LMB_ATTRS(LMB_ATEXT("mode", "minmax")), range, 2);
    lmb_emit_n(&b, "RangeToScale", "grid", LMB_IN(range[0], range[1]), LMB_NO_ATTRS, scale, 2);
    y = lmb_emit(&b, "FakeQuant", "same name", LMB_IN(y, scale[0], scale[1]), LMB_NO_ATTRS);
    y = lmb_emit(&b, "GlobalAveragePool", NULL, LMB_IN(y), LMB_NO_ATTRS);
    y = lmb_emit(&b, "Reshape", NULL, LMB_IN(y, lmb_emit_ints(&b, flat, 2)), LMB_NO_ATTRS);
    lmb_vid masked = lmb_emit(&b, "Mul", NULL, LMB_IN(fw, fm), LMB_NO_ATTRS);
    lmb_vid logits = lmb_emit(&b, "Gemm", "head", LMB_IN(y, masked, LMB_NONE), LMB_ATTRS(LMB_AINT("transB", 1)));
    lmb_vid loss = lmb_emit(&b, "SoftmaxCrossEntropyLoss", "ce", LMB_IN(logits, label), LMB_NO_ATTRS);
    lmb_emit_output(&b, "logits", logits);
    lmb_emit_output(&b, "the loss", loss);
    ck_ok(lmb_builder_status(&b));
    set_next(g, "bn/mean", bn[1], LMB_REDUCE_MEAN);
    set_next(g, "bn/var", bn[2], LMB_REDUCE_MEAN);
    set_next(g, "act.lo", range[0], LMB_REDUCE_MIN);
    set_next(g, "act.hi", range[1], LMB_REDUCE_MAX);
    g->value[cw].frozen = true;
    g->value[s].decay = g->value[sb].decay = 0;
    g->value[fw].decay = 0.1f;
    wrt[0] = cw, wrt[1] = fw;
    ck_ok(lmb_autodiff(g, loss, wrt, 2, &out, grads, &err));
    ck_ok(lmb_graph_output_add(out, "d stem", grads[0], &err));
    ck_ok(lmb_graph_output_add(out, "d head", grads[1], &err));
    lmb_graph_destroy(g);
    return out;
}

static const char *name_of(const lmb_graph *g, lmb_vid v) { return v == LMB_NONE ? "" : g->value[v].name; }

static void same_attributes(const lmb_node *a, const lmb_node *b)
{
    for (const lmb_attr_row *r = a->op->attrs; r && r->name; r++) {
        const char *x = (const char *)a->attr + r->offset, *y = (const char *)b->attr + r->offset, *s, *t;
        switch (r->kind) {
        case LMB_ATTR_TEXT:
            memcpy(&s, x, sizeof s);
            memcpy(&t, y, sizeof t);
            ck_assert_str_eq(s, t);
            break;
        case LMB_ATTR_INT: ck_assert_mem_eq(x, y, sizeof(int64_t)); break;
        case LMB_ATTR_REAL: ck_assert_mem_eq(x, y, sizeof(float)); break;
        case LMB_ATTR_INTS: ck_assert_mem_eq(x, y, sizeof(lmb_ints)); break;
        }
    }
}

static void same_value(const lmb_graph *a, const lmb_value *x, const lmb_graph *b)
{
    lmb_vid v = lmb_graph_find(b, x->name);
    ck_assert_msg(v != LMB_NONE, "%s is lost", x->name);
    const lmb_value *y = &b->value[v];
    ck_assert_int_eq(x->dtype, y->dtype);
    ck_assert(lmb_shape_equal(&x->shape, &y->shape));
    ck_assert_int_eq(x->role, y->role);
    ck_assert_str_eq(name_of(a, x->next), name_of(b, y->next));
    ck_assert_int_eq(x->reduce, y->reduce);
    ck_assert_int_eq(x->frozen, y->frozen);
    ck_assert(x->decay == y->decay);
    ck_assert(!x->data == !y->data);
    if (x->data)
        ck_assert_mem_eq(x->data, y->data, lmb_shape_bytes(&x->shape, x->dtype));
}

static void same_graph(const lmb_graph *a, const lmb_graph *b)
{
    lmb_state_layout *la, *lb;

    ck_assert_int_eq(a->n_values, b->n_values);
    for (int v = 0; v < a->n_values; v++)
        same_value(a, &a->value[v], b);
    ck_assert_int_eq(a->n_nodes, b->n_nodes);
    for (int i = 0; i < a->n_nodes; i++) {
        const lmb_node *x = &a->node[i], *y = &b->node[i];
        ck_assert_ptr_eq(x->op, y->op);
        ck_assert_str_eq(x->name, y->name);
        ck_assert_int_eq(x->n_in, y->n_in);
        ck_assert_int_eq(x->n_out, y->n_out);
        for (int k = 0; k < x->n_in; k++)
            ck_assert_str_eq(name_of(a, x->in[k]), name_of(b, y->in[k]));
        for (int k = 0; k < x->n_out; k++)
            ck_assert_str_eq(name_of(a, x->out[k]), name_of(b, y->out[k]));
        same_attributes(x, y);
    }
    ck_assert_int_eq(a->n_outputs, b->n_outputs);
    for (int i = 0; i < a->n_outputs; i++) {
        ck_assert_str_eq(a->output[i].name, b->output[i].name);
        ck_assert_str_eq(name_of(a, a->output[i].value), name_of(b, b->output[i].value));
    }
    for (int i = 0; lmb_graph_input(a, i) != LMB_NONE; i++)
        ck_assert_str_eq(name_of(a, lmb_graph_input(a, i)), name_of(b, lmb_graph_input(b, i)));
    ck_ok(lmb_state_layout_create(a, &la, &err));
    ck_ok(lmb_state_layout_create(b, &lb, &err));
    ck_assert_mem_eq(la->hash.b, lb->hash.b, LMB_HASH_BYTES);
    lmb_state_layout_destroy(la);
    lmb_state_layout_destroy(lb);
}

START_TEST(a_training_graph_comes_back_the_same)
{
    lmb_graph *g = training_graph(), *back;
    lmb_str bytes = LMB_STR_INIT, again = LMB_STR_INIT;

    ck_ok(lmb_onnx_export(g, NULL, &bytes, &err));
    ck_ok(lmb_onnx_import(bytes.text, bytes.n, NULL, &back, &err));
    same_graph(g, back);
    lmb_graph_destroy(g);
    g = back;
    ck_ok(lmb_onnx_export(g, NULL, &again, &err));
    ck_ok(lmb_onnx_import(again.text, again.n, NULL, &back, &err));
    same_graph(g, back);
    lmb_graph_destroy(g);
    lmb_graph_destroy(back);
    lmb_str_free(&bytes);
    lmb_str_free(&again);
}
END_TEST

/* x is clamped five times by nodes of these names; the values that they make are named otherwise. */
static lmb_graph *namesakes(const char *const *name, int n)
{
    lmb_graph *g;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 3), NULL);
    for (int i = 0; i < n; i++)
        x = lmb_emit(&b, "Relu", name[i], LMB_IN(x), LMB_NO_ATTRS);
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_graph_output_add(g, "y", x, &err));
    return g;
}

/* ONNX Runtime refuses a file with two nodes of one name. Names that are one node's alone stay, also where they look
 * like what another would be called; reading gives back what the graph had, and so the bytes that are hashed. */
START_TEST(files_have_no_namesakes)
{
    static const char *const own[] = { "relu", "relu", "relu_2", "relu", "last" };
    const char *path = "namesakes.onnx";
    lmb_graph *g = namesakes(own, 5), *back;
    lmb_str bytes = LMB_STR_INIT, again = LMB_STR_INIT;
    void *file;
    size_t n;
    lmbi_proto p;
    Onnx__ModelProto *m;

    ck_ok(lmb_onnx_write(path, g, NULL, &err));
    ck_ok(lmb_file_read(path, 1 << 20, &file, &n, &err));
    ck_ok(lmbi_proto_model(&p, file, n, 1 << 20, &m, &err));
    ck_assert_uint_eq(m->graph->n_node, 5);
    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < i; k++)
            ck_assert_str_ne(m->graph->node[i]->name, m->graph->node[k]->name);
    for (size_t i = 0; i < 5; i++)
        ck_assert_int_eq(strcmp(m->graph->node[i]->name, own[i]) == 0, i != 1 && i != 3);
    lmbi_proto_free(&p, m);
    ck_ok(lmb_onnx_read(path, NULL, &back, &err));
    same_graph(g, back);
    ck_ok(lmb_onnx_export(g, NULL, &bytes, &err));
    ck_ok(lmb_onnx_export(back, NULL, &again, &err));
    ck_assert_uint_eq(bytes.n, again.n);
    ck_assert_mem_eq(bytes.text, again.text, bytes.n);
    remove(path);
    free(file);
    lmb_str_free(&bytes);
    lmb_str_free(&again);
    lmb_graph_destroy(back);
    lmb_graph_destroy(g);
}
END_TEST

START_TEST(properties_and_description)
{
    lmb_graph *g = training_graph();
    lmb_onnx_property p[] = { { "classes", "cat\ndog" }, { "empty", "" } };
    lmb_onnx_export_options o = { .name = "resnet", .properties = p, .n_properties = 2, .ir_version = 8 };
    lmb_str bytes = LMB_STR_INIT;
    lmb_onnx_info *info;

    ck_ok(lmb_onnx_export(g, &o, &bytes, &err));
    ck_ok(lmb_onnx_describe(bytes.text, bytes.n, &info, &err));
    ck_assert_int_eq(info->ir_version, 8);
    ck_assert_int_eq(info->opset, 15); /* BatchNormalization in training mode */
    ck_assert_str_eq(info->producer, "limbeck");
    ck_assert_str_eq(info->graph_name, "resnet");
    ck_assert_str_eq(lmb_onnx_property_get(info, "classes"), "cat\ndog");
    ck_assert_str_eq(lmb_onnx_property_get(info, "empty"), "");
    ck_assert_ptr_null(lmb_onnx_property_get(info, "none"));
    lmb_onnx_info_destroy(info);
    lmb_str_free(&bytes);
    lmb_graph_destroy(g);
}
END_TEST

/* x [2, 3] -> HardSwish -> Reshape [2, 3, 1] */
static lmb_graph *small_graph(void)
{
    lmb_graph *g;
    int64_t shape[] = { 2, 3, 1 };

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "an input", LMB_F32, LMB_SHAPE(2, 3), NULL);
    lmb_vid y = lmb_emit(&b, "HardSwish", "h", LMB_IN(x), LMB_NO_ATTRS);
    y = lmb_emit(&b, "Reshape", "r", LMB_IN(y, lmb_emit_ints(&b, shape, 3)), LMB_NO_ATTRS);
    lmb_emit_output(&b, "y", y);
    ck_ok(lmb_builder_status(&b));
    return g;
}

/* A name that would steer the terminal it is shown in, at any depth of the file. */
START_TEST(names_cannot_steer_a_terminal)
{
    lmb_graph *g = small_graph(), *back;
    lmb_onnx_export_options o = { .name = "pic\033ture" };
    lmb_str bytes = LMB_STR_INIT;
    lmb_onnx_info *info;

    ck_ok(lmb_onnx_export(g, &o, &bytes, &err));
    for (size_t i = 0; i + 8 <= bytes.n; i++)
        if (memcmp(bytes.text + i, "an input", 8) == 0)
            memcpy(bytes.text + i, "an\033[2Jx\177", 8);
    ck_ok(lmb_onnx_describe(bytes.text, bytes.n, &info, &err));
    ck_assert_str_eq(info->graph_name, "pic?ture");
    ck_assert_str_eq(info->inputs[0], "an?[2Jx?");
    lmb_onnx_info_destroy(info);
    ck_ok(lmb_onnx_import(bytes.text, bytes.n, NULL, &back, &err));
    ck_assert_str_eq(back->value[lmb_graph_input(back, 0)].name, "an?[2Jx?");
    lmb_graph_destroy(back);
    lmb_graph_destroy(g);
    lmb_str_free(&bytes);
}
END_TEST

START_TEST(strict_files_are_opset_13_and_open_in_the_batch)
{
    lmb_graph *g = small_graph(), *back;
    lmb_onnx_export_options strict = { .strict = true };
    lmb_onnx_import_options batch = { .batch = 5 };
    lmb_str bytes = LMB_STR_INIT;
    lmb_onnx_info *info;

    ck_ok(lmb_onnx_export(g, &strict, &bytes, &err));
    ck_ok(lmb_onnx_describe(bytes.text, bytes.n, &info, &err));
    ck_assert_int_eq(info->opset, 13);
    ck_assert_int_eq(info->ir_version, 7);
    ck_assert_int_eq(info->n_properties, 0);
    lmb_onnx_info_destroy(info);
    ck_ok(lmb_onnx_import(bytes.text, bytes.n, &batch, &back, &err));
    ck_assert_int_eq(back->n_nodes, 3);
    ck_assert_str_eq(back->node[0].op->name, "HardSigmoid");
    ck_assert_str_eq(back->node[1].op->name, "Mul");
    ck_assert_str_eq(back->value[lmb_graph_input(back, 0)].name, "an_input");
    const lmb_value *y = &back->value[lmb_graph_find_output(back, "y")];
    lmb_shape want = LMB_SHAPE(5, 3, 1);
    ck_assert(lmb_shape_equal(&y->shape, &want));
    lmb_graph_destroy(back);
    lmb_str_clear(&bytes);
    ck_ok(lmb_onnx_export(g, NULL, &bytes, &err)); /* our own form keeps HardSwish and the batch */
    ck_ok(lmb_onnx_import(bytes.text, bytes.n, NULL, &back, &err));
    same_graph(g, back);
    lmb_graph_destroy(back);
    lmb_graph_destroy(g);
    lmb_str_free(&bytes);
}
END_TEST

START_TEST(strict_refuses_what_others_lack)
{
    lmb_graph *g = training_graph();
    lmb_onnx_export_options strict = { .strict = true };
    lmb_str bytes = LMB_STR_INIT;

    ck_assert_int_eq(lmb_onnx_export(g, &strict, &bytes, &err), LMB_E_UNSUPPORTED);
    ck_assert_msg(strstr(err.msg, "BatchNormalization") || strstr(err.msg, "ObserveRange"), "%s", err.msg);
    ck_assert_uint_eq(bytes.n, 0);
    lmb_graph_destroy(g);
    lmb_str_free(&bytes);
}
END_TEST

/* Every prefix, and single bytes changed by a fixed rule: refused or read, never a crash (run under ASan). */
START_TEST(damaged_bytes_are_refused)
{
    lmb_graph *g = training_graph(), *back;
    lmb_str bytes = LMB_STR_INIT;
    uint32_t rng = 12345;
    int read = 0, refused = 0;

    ck_ok(lmb_onnx_export(g, NULL, &bytes, &err));
    for (size_t n = 0; n < bytes.n; n += 1 + n / 64) {
        char *cut = malloc(n + 1); /* exact size, so that reading beyond it is seen */
        memcpy(cut, bytes.text, n);
        lmb_error_clear(&err);
        ck_assert_int_ne(lmb_onnx_import(cut, n, NULL, &back, &err), LMB_OK);
        ck_assert_int_gt((int)strlen(err.msg), 10);
        free(cut);
    }
    for (int i = 0; i < 3000; i++) {
        rng = rng * 1664525u + 1013904223u;
        size_t at = (rng >> 8) % bytes.n;
        char was = bytes.text[at];
        rng = rng * 1664525u + 1013904223u;
        bytes.text[at] = (char)(rng >> 24);
        lmb_error_clear(&err);
        if (lmb_onnx_import(bytes.text, bytes.n, NULL, &back, &err) == LMB_OK) {
            lmb_graph_destroy(back);
            read++;
        } else {
            refused++;
        }
        bytes.text[at] = was;
    }
    ck_assert_int_gt(read, 100);
    ck_assert_int_gt(refused, 100);
    lmb_graph_destroy(g);
    lmb_str_free(&bytes);
}
END_TEST

/* Graph in attribute in node in graph, 100000 deep: 700 kB that would need a stack of many megabytes. */
START_TEST(deep_nesting_is_refused)
{
    enum { DEPTH = 100000 };
    uint8_t *buf = malloc(DEPTH * 20), *p = buf + DEPTH * 20;
    size_t n = 0;
    lmb_graph *back;
    static const uint8_t tags[] = { 6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2 }; /* g, attribute, node */

    for (int i = 0; i < DEPTH; i++) {
        uint8_t len[10];
        int k = 0;
        for (size_t v = n; k == 0 || v; v >>= 7, k++)
            len[k] = (uint8_t)((v & 0x7f) | (v >> 7 ? 0x80 : 0));
        p -= k;
        memcpy(p, len, (size_t)k);
        *--p = i == DEPTH - 1 ? 7 << 3 | 2 : tags[i % 3];
        n += (size_t)k + 1;
    }
    lmb_error_clear(&err);
    ck_assert_int_eq(lmb_onnx_import(p, n, NULL, &back, &err), LMB_E_FORMAT);
    free(buf);
}
END_TEST

LMB_TEST_MAIN("core/onnx/export",
              add(a_training_graph_comes_back_the_same); add(files_have_no_namesakes);
              add(properties_and_description);
              add(names_cannot_steer_a_terminal);
              add(strict_files_are_opset_13_and_open_in_the_batch);
              add(strict_refuses_what_others_lack);
              add(damaged_bytes_are_refused);
              add(deep_nesting_is_refused);)
