/* launch/export_c.c - `limbeck export MODEL.lmb --to c`: a model as C source for a device without an operating system.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/edge/c_source.h"
#include "distill/quantize/packed_file.h"
#include "launch/export.h"

enum { LONGEST_PATH = 4096, MOST_NUMBERS = 1 << 25 /* of weights, input and output: more than any flash has */ };

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

/* Of the files that belong together: the text, and where it goes. */
typedef struct part {
    const char *ending;
    lmb_edge_buffer text;
    char path[LONGEST_PATH], new_path[LONGEST_PATH + 8];
} part;

enum { PARTS = 3 };

/* All beside their places, then into them: a full disk leaves what was there as it was. */
static lmb_status write_parts(const char *folder, const char *name, part p[PARTS], lmb_error *err)
{
    char file[LMB_EDGE_MAX_NAME + 8];
    lmb_status st = LMB_OK;
    int n = 0;

    for (; n < PARTS && st == LMB_OK; n++) {
        snprintf(file, sizeof file, "%s%s", name, p[n].ending);
        st = lmb_path_join(p[n].path, sizeof p[n].path, folder, file, err);
        snprintf(p[n].new_path, sizeof p[n].new_path, "%s.new", p[n].path);
        if (st == LMB_OK)
            st = lmb_file_replaceable(p[n].path, err);
        if (st == LMB_OK)
            st = lmb_file_write(p[n].new_path, p[n].text.data, p[n].text.size, err);
    }
    for (int i = 0; i < PARTS && st == LMB_OK; i++) {
        st = lmb_file_publish(p[i].new_path, p[i].path, err);
        if (st == LMB_OK)
            printf("%s\n", p[i].path);
    }
    for (int i = 0; i < n && st != LMB_OK; i++)
        (void)remove(p[i].new_path);
    return st;
}

static lmb_status write_all(const lmb_edge_model *m, const char *folder, const char *name, lmb_error *err)
{
    part p[PARTS] = { { .ending = ".h" }, { .ending = ".c" }, { .ending = "_test.c" } };
    char why[200] = "";
    lmb_edge_status s = lmb_edge_write_c(m, name, &p[1].text, &p[0].text, why, sizeof why);
    if (s == LMB_EDGE_OK)
        s = lmb_edge_write_c_test(m, name, &p[2].text, why, sizeof why);
    lmb_status st = s == LMB_EDGE_OK ? LMB_OK
                                     : LMB_FAIL(err, s == LMB_EDGE_E_NOMEM ? LMB_E_NOMEM : LMB_E_ARG,
                                                "%s; choose one with --name", why);

    if (st == LMB_OK)
        st = lmb_file_make_dirs(folder, err);
    if (st == LMB_OK)
        st = write_parts(folder, name, p, err);
    for (int i = 0; i < PARTS; i++)
        free(p[i].text.data);
    return st;
}

/* Its text would be several times its size, and its self-test is run here. */
static lmb_status check_size(const lmb_edge_model *m, const char *path, lmb_error *err)
{
    lmb_edge_tensor x, y;

    lmb_edge_tensor_at(m, 0, &x);
    lmb_edge_tensor_at(m, m->n_ops, &y);
    uint64_t numbers = lmb_edge_parameters(m) + x.count + y.count;
    if (numbers > MOST_NUMBERS)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "%s has %llu numbers as weights, input and output; C source is written of at most %d: deploy the .lmb",
                        path, (unsigned long long)numbers, MOST_NUMBERS);
    if (lmb_edge_work(m) > LMB_EDGE_WORK_MOST >> 4)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "%s: one answer takes %llu operations; C source is written for at most %llu", path,
                        (unsigned long long)lmb_edge_work(m), (unsigned long long)LMB_EDGE_WORK_MOST >> 4);
    return LMB_OK;
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
    lmb_status st = lmb_edge_open(file, n, &m, why, sizeof why) == LMB_EDGE_OK
                        ? check_size(&m, path, err)
                        : LMB_FAIL(err, LMB_E_FORMAT, "%s: %s", path, why);
    if (st == LMB_OK)
        st = write_all(&m, folder, lmb_args_get(a, "name", name), err);
    free(file);
    return st;
}
