/* launch/model_file.c - see model_file.h. */
#include "launch/model_file.h"

#include <stdlib.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/onnx/onnx.h"

enum { LIMIT = 1 << 30 };

lmb_status lmb_model_file_write(const char *path, const lmb_graph *model, lmb_error *err)
{
    lmb_str bytes = LMB_STR_INIT;
    lmb_status st = lmb_onnx_export(model, NULL, &bytes, err);
    if (st == LMB_OK)
        st = lmb_file_write(path, bytes.text, bytes.n, err);
    lmb_str_free(&bytes);
    return st;
}

lmb_status lmb_model_file_read(const char *path, lmb_graph **out, lmb_error *err)
{
    void *bytes;
    size_t n;
    LMB_TRY(lmb_file_read(path, LIMIT, &bytes, &n, err));
    lmb_status st = lmb_onnx_import(bytes, n, NULL, out, err);
    free(bytes);
    if (st != LMB_OK)
        lmb_error_context(err, "%s", path);
    return st;
}
