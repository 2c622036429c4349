/* launch/export_c.c - `limbeck export MODEL.lmb --to c`: a model as C source for a device without an operating system.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/edge/c_source.h"
#include "distill/quantize/packed_file.h"
#include "launch/export.h"

enum { LONGEST_PATH = 4096 };

/* "runs/a/my-model.lmb" to "my_model". */
static void name_from(const char *path, char out[LMB_EDGE_MAX_NAME + 1])
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    size_t n = dot && dot > base ? (size_t)(dot - base) : strlen(base);

    if (n > LMB_EDGE_MAX_NAME)
        n = LMB_EDGE_MAX_NAME;
    memcpy(out, base, n);
    out[n] = 0;
    for (char *c = out; *c; c++)
        if (*c == '-' || *c == '.' || *c == ' ')
            *c = '_';
}

static lmb_status write_one(const char *folder, const char *name, const char *ending, const lmb_edge_buffer *text,
                            lmb_error *err)
{
    char path[LONGEST_PATH], file[LMB_EDGE_MAX_NAME + 8];

    snprintf(file, sizeof file, "%s%s", name, ending);
    LMB_TRY(lmb_path_join(path, sizeof path, folder, file, err));
    LMB_TRY(lmb_file_write(path, text->data, text->size, err));
    printf("%s\n", path);
    return LMB_OK;
}

static lmb_status write_all(const lmb_edge_model *m, const char *folder, const char *name, lmb_error *err)
{
    lmb_edge_buffer source = { NULL, 0, 0 }, header = { NULL, 0, 0 }, test = { NULL, 0, 0 };
    char why[200] = "";
    lmb_edge_status s = lmb_edge_write_c(m, name, &source, &header, why, sizeof why);
    if (s == LMB_EDGE_OK)
        s = lmb_edge_write_c_test(m, name, &test, why, sizeof why);
    lmb_status st = s == LMB_EDGE_OK ? LMB_OK
                                     : LMB_FAIL(err, s == LMB_EDGE_E_NOMEM ? LMB_E_NOMEM : LMB_E_ARG,
                                                "%s; choose one with --name", why);

    if (st == LMB_OK)
        st = lmb_file_make_dirs(folder, err);
    if (st == LMB_OK)
        st = write_one(folder, name, ".h", &header, err);
    if (st == LMB_OK)
        st = write_one(folder, name, ".c", &source, err);
    if (st == LMB_OK)
        st = write_one(folder, name, "_test.c", &test, err);
    free(source.data);
    free(header.data);
    free(test.data);
    return st;
}

lmb_status lmbi_export_c(const lmb_args *a, lmb_error *err)
{
    const char *to = lmb_args_get(a, "to", ""), *folder = lmb_args_get(a, "out", NULL), *path = a->word[0];
    char name[LMB_EDGE_MAX_NAME + 1], why[200] = "";
    lmb_edge_model m;
    void *file;
    size_t n;

    if (strcmp(to, "c") != 0)
        return LMB_FAIL(err, LMB_E_ARG, "--to %s; it must be c", to);
    if (!folder)
        return LMB_FAIL(err, LMB_E_ARG, "--to c needs --out FOLDER, where the files go");
    if (lmb_packed_read(path, &file, &n, NULL, err) != LMB_OK)
        return lmb_error_context(err, "`limbeck export MODEL.onnx --out FILE.lmb` makes what --to c takes");
    name_from(path, name);
    lmb_status st =
        lmb_edge_open(file, n, &m, why, sizeof why) == LMB_EDGE_OK
            ? write_all(&m, folder, lmb_args_get(a, "name", name), err)
            : LMB_FAIL(err, LMB_E_FORMAT, "%s: %s", path, why);
    free(file);
    return st;
}
