/* The public ONNX operator tests, as Debian ships them (libonnx-testdata): every stored case whose model uses
 * only the operators below, with the reference kernels and again with the CPU backend.
 *
 * Floats must agree to 1e-3 relative or 1e-5 absolute, whole numbers exactly. Where a case gives shapes or axes as
 * inputs, which are constants to us, all inputs but the first are fixed to the case's values. Cases that do
 * not pass are named in onnx_left_out.txt with the reason; the list is checked in both directions.
 */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/cpu/cpu.h"
#include "core/onnx/onnx.h"
#include "core/plan/plan.h"
#include "tests/check_main.h"

#define DATA "/usr/share/libonnx-testdata/data"
enum { MAX_CASES = 2000, MAX_TENSORS = 16, MAX_FILE = 64 << 20 };

static lmb_error err;

static const char *const operators[] = {
    "Conv", "Gemm", "MatMul", "BatchNormalization", "Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish",
    "Tanh", "Softmax", "LogSoftmax", "Add", "Sub", "Mul", "Div", "Concat", "Reshape", "Flatten", "Transpose", "Pad",
    "Slice", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Dropout", "ReduceMean", "ReduceSum",
    "Identity", "SoftmaxCrossEntropyLoss", "QuantizeLinear", "DequantizeLinear",
};

typedef struct tensors { int n; lmb_tensor t[MAX_TENSORS]; } tensors;

static void free_tensors(tensors *s)
{
    for (int i = 0; i < s->n; i++)
        free(s->t[i].data);
    s->n = 0;
}

/* dir/test_data_set_0/<kind>_0.pb, _1.pb, ... */
static lmb_status read_tensors(const char *dir, int set, const char *kind, tensors *out)
{
    for (out->n = 0; out->n < MAX_TENSORS; out->n++) {
        char path[512];
        void *bytes;
        size_t n;
        snprintf(path, sizeof path, "%s/test_data_set_%d/%s_%d.pb", dir, set, kind, out->n);
        if (!lmb_file_exists(path))
            return LMB_OK;
        LMB_TRY(lmb_file_read(path, MAX_FILE, &bytes, &n, &err));
        lmb_status st = lmb_onnx_tensor(bytes, n, &out->t[out->n], &err);
        free(bytes);
        LMB_TRY(st);
    }
    return LMB_OK;
}

static bool close_enough(const lmb_tensor *want, const void *got, char *why, size_t cap)
{
    int64_t n = lmb_shape_count(&want->shape);

    if (want->dtype != LMB_F32 && want->dtype != LMB_F64) {
        if (memcmp(want->data, got, lmb_shape_bytes(&want->shape, want->dtype)) == 0)
            return true;
        snprintf(why, cap, "whole numbers differ");
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        double w = want->dtype == LMB_F32 ? ((const float *)want->data)[i] : ((const double *)want->data)[i];
        double g = want->dtype == LMB_F32 ? ((const float *)got)[i] : ((const double *)got)[i];
        if (w == g || (isnan(w) && isnan(g)) || fabs(w - g) <= 1e-5 + 1e-3 * fabs(w))
            continue;
        snprintf(why, cap, "element %lld is %.9g; %.9g is expected", (long long)i, g, w);
        return false;
    }
    return true;
}

static lmb_status run_graph(const lmb_graph *g, const char *backend, const lmb_onnx_info *info, const tensors *in,
                            const tensors *want, char *why, size_t cap)
{
    const lmb_backend *backends[3];
    lmb_plan_options o = { .backends = backends };
    lmb_plan *p;
    lmb_status st;

    LMB_TRY(lmb_cpu_backends(backend, backends, &err));
    LMB_TRY(lmb_plan_compile(g, &o, &p, &err));
    for (int i = 0; i < in->n && i < info->n_inputs; i++) {
        lmb_vid v = lmb_graph_find(g, info->inputs[i]);
        if (v != LMB_NONE && g->value[v].role == LMB_ROLE_INPUT)
            LMB_TRY_GOTO(st, done, lmb_plan_bind(p, v, in->t[i].data, &err));
    }
    LMB_TRY_GOTO(st, done, lmb_plan_run(p, NULL, &err));
    for (int i = 0; i < want->n; i++) {
        const lmb_value *v = &g->value[g->output[i].value];
        if (v->dtype != want->t[i].dtype || !lmb_shape_equal(&v->shape, &want->t[i].shape)) {
            char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];
            snprintf(why, cap, "output %d is %s %s; %s %s is expected", i, lmb_dtype_name(v->dtype),
                     lmb_shape_text(&v->shape, a, sizeof a), lmb_dtype_name(want->t[i].dtype),
                     lmb_shape_text(&want->t[i].shape, b, sizeof b));
            break;
        }
        if (!close_enough(&want->t[i], lmb_plan_data(p, g->output[i].value), why, cap))
            break;
    }
done:
    lmb_plan_destroy(p);
    return st;
}

static lmb_status import(const void *bytes, size_t n, const lmb_onnx_info *info, const tensors *in, lmb_graph **g)
{
    lmb_onnx_constant fixed[MAX_TENSORS];
    lmb_onnx_import_options o = { .constants = fixed };
    lmb_status st = lmb_onnx_import(bytes, n, NULL, g, &err);

    if (st == LMB_OK || in->n < 2)
        return st;
    lmb_error_clear(&err);
    for (int i = 1; i < in->n && i < info->n_inputs; i++)
        fixed[o.n_constants++] = (lmb_onnx_constant){ info->inputs[i], in->t[i] };
    return lmb_onnx_import(bytes, n, &o, g, &err);
}

/* Leaves `why` empty when all data sets of the case pass on all backends. */
static lmb_status run_case(const char *dir, const void *bytes, size_t n, const lmb_onnx_info *info, char *why,
                           size_t cap)
{
    static const char *const backends[] = { "reference", "portable", "onednn" };
    tensors in = { 0 }, want = { 0 };
    lmb_graph *g = NULL;
    lmb_status st = LMB_OK;

    for (int set = 0; st == LMB_OK && !*why; set++) {
        LMB_TRY_GOTO(st, done, read_tensors(dir, set, "input", &in));
        LMB_TRY_GOTO(st, done, read_tensors(dir, set, "output", &want));
        if (want.n == 0 && set > 0)
            break;
        if (want.n == 0 || want.n > info->n_outputs)
            snprintf(why, cap, "%d expected outputs for %d of the model", want.n, info->n_outputs);
        LMB_TRY_GOTO(st, done, import(bytes, n, info, &in, &g));
        for (size_t i = 0; !*why && i < sizeof backends / sizeof *backends; i++)
            LMB_TRY_GOTO(st, done, run_graph(g, backends[i], info, &in, &want, why, cap));
    done:
        free_tensors(&in);
        free_tensors(&want);
        lmb_graph_destroy(g);
        g = NULL;
    }
    free_tensors(&in);
    return st;
}

static bool only_ours(const lmb_onnx_info *info)
{
    for (int i = 0; i < info->n_operators; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof operators / sizeof *operators && !found; k++)
            found = strcmp(operators[k], info->operators[i]) == 0;
        if (!found)
            return false;
    }
    return info->n_operators > 0;
}

/* "group/case<space>reason" a line; # begins a comment. */
static bool listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = list; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) == 0 && line[n] == ' ')
            return true;
    }
    return false;
}

static int lines_of(const char *list)
{
    int n = 0;
    for (const char *line = list; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        n += *line && *line != '#' && *line != '\n';
    }
    return n;
}

typedef struct tally { int total, passed, left_out, wrong; } tally;

static void one_case(const char *group, const char *name, const char *list, tally *t)
{
    char dir[400], path[480], id[300], why[600] = "";
    void *bytes;
    size_t n;
    lmb_onnx_info *info;

    snprintf(dir, sizeof dir, DATA "/%s/%s", group, name);
    snprintf(path, sizeof path, "%s/model.onnx", dir);
    snprintf(id, sizeof id, "%s/%s", group, name);
    lmb_error_clear(&err);
    if (!lmb_file_exists(path) || lmb_file_read(path, MAX_FILE, &bytes, &n, &err) != LMB_OK)
        return;
    if (lmb_onnx_describe(bytes, n, &info, &err) == LMB_OK) {
        if (only_ours(info)) {
            bool out = listed(list, id);
            lmb_status st = run_case(dir, bytes, n, info, why, sizeof why);
            bool pass = st == LMB_OK && !*why;
            t->total++;
            t->passed += pass;
            t->left_out += out;
            if (pass == out) {
                t->wrong++;
                printf("%s: %s\n", id, pass ? "passes, but is listed as left out" : *why ? why : err.msg);
            }
        }
        lmb_onnx_info_destroy(info);
    }
    free(bytes);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void one_group(const char *group, const char *list, tally *t)
{
    char dir[400], *names[MAX_CASES];
    int n = 0;

    snprintf(dir, sizeof dir, DATA "/%s", group);
    DIR *d = opendir(dir);
    if (!d)
        return;
    for (struct dirent *e; n < MAX_CASES && (e = readdir(d));)
        if (e->d_name[0] != '.')
            names[n++] = strdup(e->d_name);
    closedir(d);
    qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) {
        one_case(group, names[i], list, t);
        free(names[i]);
    }
}

START_TEST(stored_cases)
{
    static const char *const groups[] = { "node", "pytorch-converted", "pytorch-operator", "simple" };
    void *list;
    size_t n;
    tally t = { 0 };

    err = (lmb_error)LMB_ERROR_INIT;
    if (!lmb_file_exists(DATA)) {
        printf("skipped: " DATA " is absent; install libonnx-testdata\n");
        return;
    }
    ck_ok(lmb_file_read(LMB_SOURCE_DIR "/tests/interop/onnx_left_out.txt", 1 << 20, &list, &n, &err));
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        one_group(groups[i], list, &t);
    int lines = lines_of(list);
    free(list);
    printf("passed %d / left out %d of %d\n", t.passed, t.left_out, t.total);
    ck_assert_int_eq(t.wrong, 0);
    ck_assert_int_eq(t.left_out, lines); /* every line names a case that exists */
    ck_assert_int_gt(t.total, 300);
}
END_TEST

LMB_TEST_MAIN("interop/onnx_conformance", add(stored_cases);)
