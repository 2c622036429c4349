/* tests/fuzz/test_models.c - models of others, and a search's files that somebody has touched: whatever their bytes,
 * they are refused with a sentence, or what comes of them can be run.
 *
 * A model's bytes are changed where they mean something: the input is a list of edits { u8 what, u8 where, u8 which,
 * u8 value } of one that is sound. Then it goes the way of `limbeck compress`: import, run, integer form, lowering, and
 * each kernel set of the runtime. Pruning and factorising come between, and writing it as ONNX again.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/onnx/internal.h"
#include "core/plan/plan.h"
#include "distill/prune/channels.h"
#include "distill/quantize/integer_form.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/qdq.h"
#include "distill/quantize/softmax.h"
#include "distill/search/deployed.h"
#include "distill/search/points.h"
#include "tests/core/edge/hostile.h"
#include "tests/train/from_text.h"

#define FUZZ_SUITE "models"
#include "tests/fuzz/fuzz.h"

enum { EDITS = 2, EDIT_ROUNDS = 4000, FILE_ROUNDS = 600, SMALL = 1 << 18 /* numbers of all values of a model that is run */ };

/* ---- models ---- */

/* Of 3 x 8 x 8, five classes. */
static const char *const described[] = {
    "{name: resnet, depth: 8, width: 2, mean: 120, scale: 0.02}",
    "{name: layers, mean: 120, scale: 0.02, layers: [{conv: 3}, {concat: [[{conv: {channels: 2, kernel: 1}}], [{conv: "
    "2}]]}, {pool: max}, {conv: {channels: 3, kernel: 3, norm: false}}, {activation: relu}, {pool: global}, dense]}",
    "{name: layers, mean: 120, scale: 0.02, layers: [{conv: 3}, {concat: [[{dropout: 0.1}], [norm, {activation: relu}, "
    "{conv: {channels: 2, norm: false}}]]}, norm, {activation: relu}, {pool: global}, dense]}",
    "{name: mobilenet_v2, width: 0.05}",
    "{name: mlp, hidden: [6]}",
};
enum { N_DESCRIBED = sizeof described / sizeof *described, N_MODELS = N_DESCRIBED + 1 };
static lmb_str sound[N_MODELS]; /* as ONNX; the last is one of integers */

static lmb_graph *integers_of(const lmb_graph *g)
{
    static const char text[] = "{name: synthetic, train: 40, channels: 3, height: 8, width: 8, classes: 5}";
    const lmb_ptq_config how = { .calibration = 32, .seed = 1, .backend = "cpu", .threads = 1 };
    lmb_error err = LMB_ERROR_INIT;
    lmb_graph *form, *frozen, *qdq;
    lmb_dataset *data = dataset_of(text, LMB_PART_TRAIN);

    ck_ok(lmb_pass_integer_form(g, &form, &err));
    ck_ok(lmb_ptq(form, &how, data, &frozen, &err));
    ck_ok(lmb_pass_qdq(frozen, &qdq, &err));
    lmb_graph_destroy(form);
    lmb_graph_destroy(frozen);
    lmb_dataset_destroy(data);
    return qdq;
}

static void models_begin(void)
{
    static const lmb_onnx_export_options strict = { .strict = true };
    lmb_error err = LMB_ERROR_INIT;

    for (int i = 0; i < N_DESCRIBED; i++) {
        lmb_graph *g = graph_of(described[i], LMB_SHAPE(3, 8, 8), 5, 3), *qdq = i == 1 ? integers_of(g) : NULL;
        ck_ok(lmb_onnx_export(g, &strict, &sound[i], &err));
        if (qdq)
            ck_ok(lmb_onnx_export(qdq, &strict, &sound[N_DESCRIBED], &err));
        lmb_graph_destroy(g);
        lmb_graph_destroy(qdq);
    }
}

static bool is_small(const lmb_graph *g)
{
    int64_t numbers = 0;
    for (int v = 0; v < g->n_values; v++) {
        int64_t n = lmb_shape_count(&g->value[v].shape);
        if (n > SMALL || (numbers += n) > SMALL)
            return false;
    }
    return true;
}

static void run(const lmb_graph *g)
{
    const lmb_plan_options o = { .max_bytes = 1 << 24 };
    lmb_error err = LMB_ERROR_INIT;
    lmb_plan *p;

    if (lmb_plan_compile(g, &o, &p, &err) != LMB_OK) {
        ck_assert_uint_gt(strlen(err.msg), 10);
        return;
    }
    if (lmb_plan_run(p, NULL, &err) != LMB_OK)
        ck_assert_uint_gt(strlen(err.msg), 10);
    lmb_plan_destroy(p);
}

static void become_integers(const lmb_graph *g)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_deployed d;

    if (lmb_deployed_sketch(g, NULL, &d, &err) != LMB_OK) {
        ck_assert_uint_gt(strlen(err.msg), 10);
        return;
    }
    try_file((const uint8_t *)d.file.text, d.file.n);
    lmb_deployed_free(&d);
}

static void lower(const lmb_graph *g)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_str file = LMB_STR_INIT;

    if (lmb_lower(g, &file, &err) == LMB_OK)
        try_file((const uint8_t *)file.text, file.n);
    else
        ck_assert_uint_gt(strlen(err.msg), 10);
    lmb_str_free(&file);
}

/* *g with a pass behind it, if that takes it. */
static void follow(lmb_graph **g, lmb_status st, lmb_graph *next, const lmb_error *err)
{
    if (st != LMB_OK)
        ck_assert_uint_gt(strlen(err->msg), 10);
    if (st != LMB_OK || !next)
        return;
    lmb_graph_destroy(*g);
    *g = next;
}

static void compress(lmb_graph *g)
{
    const lmb_prune_channels half = { .criterion = "l1", .keep = 0.5, .min_channels = 1, .round_to = 1 };
    const lmb_onnx_export_options strict = { .strict = true };
    lmb_error err = LMB_ERROR_INIT;
    lmb_str text = LMB_STR_INIT;
    lmb_graph *next = NULL;

    run(g);
    lower(g);
    lmb_status st = lmb_pass_logits(g, &next, &err);
    follow(&g, st, next, &err);
    st = lmb_pass_integer_form(g, &next, &err);
    follow(&g, st, next, &err);
    if (st == LMB_OK)
        become_integers(g);
    st = lmb_pass_prune_channels(g, &half, &next, NULL, &err);
    follow(&g, st, next, &err);
    if (st == LMB_OK) {
        run(g);
        become_integers(g);
    }
    if (lmb_onnx_export(g, &strict, &text, &err) != LMB_OK)
        ck_assert_uint_gt(strlen(err.msg), 10);
    lmb_str_free(&text);
    lmb_graph_destroy(g);
}

static void import(const void *bytes, size_t n)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_graph *g;

    if (lmb_onnx_import(bytes, n, NULL, &g, &err) != LMB_OK)
        ck_assert_uint_gt(strlen(err.msg), 10);
    else if (!is_small(g))
        lmb_graph_destroy(g);
    else
        compress(g);
}

/* ---- edits ---- */

static int64_t extreme(uint8_t v)
{
    static const int64_t values[] = { 0, 1, 2, 3, -1, -2, 4, 5, 7, 8, 9, 16, 63, 64, 255, 256, 65535, 65536, INT32_MAX,
                                      (int64_t)INT32_MAX + 1, (int64_t)1 << 40, INT64_MAX, INT64_MIN };
    return values[v % (sizeof values / sizeof *values)];
}

static void edit_attribute(Onnx__NodeProto *n, uint8_t which, uint8_t value)
{
    Onnx__AttributeProto *a = n->n_attribute ? n->attribute[which % n->n_attribute] : NULL;

    if (a && a->n_ints)
        a->ints[which / 4 % a->n_ints] = extreme(value);
    else if (a && a->has_i)
        a->i = extreme(value);
    else if (a)
        a->f = (float)extreme(value);
}

/* A length that its content keeps, where that is possible: two sides change places. */
static void edit_tensor(Onnx__TensorProto *t, uint8_t which, uint8_t value)
{
    if (!t->n_dims)
        return;
    int64_t *a = &t->dims[which % t->n_dims], *b = &t->dims[value % t->n_dims], was = *a;
    if (a == b)
        *a = extreme(value);
    else
        *a = *b, *b = was;
}

/* One edit. Texts change places and are not made: protobuf-c frees them. */
static void edit(Onnx__GraphProto *g, const uint8_t e[4])
{
    Onnx__NodeProto *n = g->node[e[1] % g->n_node], *m = g->node[e[3] % g->n_node];
    char **in = n->n_input ? &n->input[e[2] % n->n_input] : NULL, **other = m->n_input ? m->input : NULL, *text;

    switch (e[0] % 7) {
    case 0:
    case 1: edit_attribute(n, e[2], e[3]); break;
    case 2:
        if (g->n_initializer)
            edit_tensor(g->initializer[e[1] % g->n_initializer], e[2], e[3]);
        break;
    case 3:
        if (in && other)
            text = *in, *in = *other, *other = text;
        break;
    case 4: text = n->op_type, n->op_type = m->op_type, m->op_type = text; break;
    case 5:
        if (g->n_input && g->input[0]->type && g->input[0]->type->tensor_type && g->input[0]->type->tensor_type->shape &&
            g->input[0]->type->tensor_type->shape->n_dim) {
            Onnx__TensorShapeProto *s = g->input[0]->type->tensor_type->shape;
            if (s->dim[e[2] % s->n_dim]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE)
                s->dim[e[2] % s->n_dim]->dim_value = extreme(e[3]);
        }
        break;
    default: g->node[e[1] % g->n_node] = m, g->node[e[3] % g->n_node] = n;
    }
}

static void edited_target(const uint8_t *data, size_t bytes)
{
    lmb_error err = LMB_ERROR_INIT;
    Onnx__ModelProto *model;
    lmbi_proto p;

    if (!bytes)
        return;
    const lmb_str *from = &sound[data[0] % N_MODELS];
    ck_ok(lmbi_proto_model(&p, from->text, from->n, LMB_ONNX_MAX_BYTES, &model, &err));
    for (size_t i = 1; i + 4 <= bytes && i < 1 + 4 * EDITS; i += 4)
        edit(model->graph, data + i);
    size_t n = onnx__model_proto__get_packed_size(model);
    uint8_t *packed = malloc(n);
    ck_assert_ptr_nonnull(packed);
    ck_assert_uint_eq(onnx__model_proto__pack(model, packed), n);
    lmbi_proto_free(&p, model);
    import(packed, n);
    free(packed);
}

START_TEST(edited)
{
    uint8_t edits[N_MODELS][17];
    fuzz_seed seeds[N_MODELS];

    for (int i = 0; i < N_MODELS; i++) {
        for (int k = 0; k < 17; k++)
            edits[i][k] = (uint8_t)(k ? 37 * i + 11 * k : i);
        seeds[i] = (fuzz_seed){ edits[i], sizeof edits[i] };
    }
    models_begin();
    for (int i = 0; i < N_MODELS; i++)
        import(sound[i].text, sound[i].n);
    fuzz_run(edited_target, seeds, N_MODELS, EDIT_ROUNDS);
    for (int i = 0; i < N_MODELS; i++)
        lmb_str_free(&sound[i]);
}
END_TEST

/* ---- files of a search ---- */

static char path[64];
static void begin(void) { snprintf(path, sizeof path, "/tmp/limbeck-fuzz-%ld", (long)getpid()); }

static void put_file(const uint8_t *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, bytes, f), bytes);
    fclose(f);
}

static void points_target(const uint8_t *data, size_t bytes)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_points all;

    put_file(data, bytes);
    if (lmb_points_read(path, "me", &all, &err) != LMB_OK) {
        ck_assert_ptr_nonnull(strstr(err.msg, path));
        return;
    }
    lmb_points_front(&all);
    for (int i = 0; i < all.n; i++) {
        ck_assert_int_eq(all.point[i].id, i);
        ck_assert_int_lt(all.point[i].parent, i);
        if (i)
            ck_assert(lmb_point_slowness(&all, &all.point[i]) >= 1);
        for (int k = 0; k < all.point[i].n_moves; k++) {
            lmb_str text = LMB_STR_INIT;
            lmb_move_text(&all.point[i].move[k], &text);
            lmb_str_free(&text);
        }
    }
    lmb_points_free(&all);
}

static void table_target(const uint8_t *data, size_t bytes)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_latency *t;

    put_file(data, bytes);
    if (lmb_latency_open(path, true, NULL, &t, &err) != LMB_OK) {
        ck_assert_ptr_nonnull(strstr(err.msg, path));
        return;
    }
    lmb_latency_close(t);
}

#define SEED(text) { (const uint8_t *)(text), sizeof(text) - 1 }
#define FIGURES                                                                                                        \
    "\"predicted\": {\"latency\": 9, \"bytes\": 5, \"macs\": 7}, \"cost\": {\"latency\": 8.25, \"bytes\": 5, \"macs\": 7}, "  \
    "\"p99\": 9, \"throughput\": 1000, \"missed\": 0, \"energy\": 0, \"parameters\": 12, \"arena\": 64, \"n\": 1000, "   \
    "\"right\": 900, \"lost\": 3, \"won\": 4, \"limit\": 0.5, \"accepted\": true, \"beaten\": false}"
#define TEACHER                                                                                                        \
    "{\"search\": \"me\"}\n{\"points\": [{\"point\": 0, \"parent\": -1, \"round\": 0, \"kind\": \"teacher\", \"goal\": "  \
    "\"latency\", \"step\": 0, \"moves\": [], " FIGURES "]}\n"
#define STEP                                                                                                           \
    "{\"points\": [{\"point\": 1, \"parent\": 0, \"round\": 1, \"kind\": \"step\", \"goal\": \"bytes\", \"step\": 0.1, "      \
    "\"beside\": 8, \"penalty\": {\"accuracy\": 1, \"latency\": 1, \"bytes\": 2, \"macs\": 0}, \"moves\": [{\"kind\": "        \
    "\"factor\", \"what\": \"a layer\", \"from\": 64, \"to\": 16, \"rank_in\": 24, \"loss\": 0.1, \"gain\": {\"latency\": "   \
    "1e-9, \"bytes\": 2, \"macs\": 3}}], " FIGURES "]}\n"

START_TEST(points)
{
    static const fuzz_seed seeds[] = { SEED(TEACHER), SEED(TEACHER STEP), SEED(TEACHER STEP "{\"points\": [{\"poi") };
    lmb_error err = LMB_ERROR_INIT;
    lmb_points all;

    put_file(seeds[1].data, seeds[1].bytes);
    ck_ok(lmb_points_read(path, "me", &all, &err)); /* sound, to begin with */
    ck_assert_int_eq(all.n, 2);
    lmb_points_free(&all);
    fuzz_run(points_target, seeds, sizeof seeds / sizeof *seeds, FILE_ROUNDS);
    (void)remove(path);
}
END_TEST

START_TEST(tables)
{
    static const fuzz_seed seeds[] = {
        SEED("{\"kernels\": \"avx2\"}\n{\"op\": \"conv 32x32x16 to 32x32x16 k3x3\", \"us\": 3.25}\n{\"doubted\": true}\n"),
        SEED("{\"kernels\": \"neon\", \"device\": \"phone\", \"processor\": \"x\", \"no_energy\": \"none\"}\n"
             "{\"op\": \"add 8x8x4\", \"us\": 1e-3}\n{\"op\": \"add 8x8x4\", \"us\": 2}\n"),
    };
    fuzz_run(table_target, seeds, sizeof seeds / sizeof *seeds, FILE_ROUNDS);
    (void)remove(path);
}
END_TEST

#ifndef LMB_LIBFUZZER
LMB_TEST_MAIN("fuzz/models", begin(); add(edited); add(points); add(tables);)
#endif
