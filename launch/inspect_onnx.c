/* launch/inspect_onnx.c - into an .onnx file: what it says about itself, and its graph if our operators can run it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/onnx/onnx.h"
#include "launch/inspect.h"
#include "train/trainer.h"

static bool is_onnx(const char *path, const unsigned char *head, size_t n)
{
    size_t k = strlen(path);
    return (n >= 2 && head[0] == 0x08 && head[1] < 32) ||
           (k > 5 && strcmp(path + k - 5, ".onnx") == 0); /* ir_version comes first */
}

static void print_names(const char *what, const char **names, int n)
{
    printf("%s:", what);
    for (int i = 0; i < n && i < 40; i++)
        printf(" %s", names[i]);
    printf(n > 40 ? " ...\n" : "\n");
}

static lmb_status print(const char *path, const lmb_args *a, lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;
    lmb_onnx_info *info = NULL;
    lmb_graph *g = NULL;
    void *file;
    size_t n;

    LMB_TRY(lmb_file_read(path, LMB_ONNX_MAX_BYTES, &file, &n, err));
    lmb_status st = lmb_onnx_describe(file, n, &info, err);
    if (st == LMB_OK && info->ir_version == 0)
        st = LMB_FAIL(err, LMB_E_FORMAT, "this is no ONNX model: it has no IR version");
    if (st != LMB_OK) {
        lmb_onnx_info_destroy(info);
        free(file);
        return lmb_error_context(err, "%s", path);
    }
    printf("%s: ONNX, IR version %lld, opset %lld, producer %s, graph %s, %zu bytes\n", path,
           (long long)info->ir_version, (long long)info->opset, info->producer[0] ? info->producer : "unnamed",
           info->graph_name[0] ? info->graph_name : "unnamed", n);
    print_names("inputs", info->inputs, info->n_inputs);
    print_names("outputs", info->outputs, info->n_outputs);
    print_names("operators", info->operators, info->n_operators);
    for (int i = 0; i < info->n_properties; i++)
        printf("  %s = %s\n", info->properties[i].key, info->properties[i].value);
    if (lmb_onnx_import(file, n, NULL, &g, &why) == LMB_OK)
        st = lmbi_inspect_graph(g, "cpu", LMB_TRAIN_F32, a, err);
    else
        printf("this program can not run it: %s\n", why.msg);
    lmb_graph_destroy(g);
    lmb_onnx_info_destroy(info);
    free(file);
    return st;
}

const lmb_inspector lmbi_inspect_onnx = { "onnx", is_onnx, print };
