/* launch/model_file.c - see model_file.h. A bare file and the same file behind its authors' normalisation are two
 * models, and the first of them answers like a guess: what is written in a configuration holds for the command line,
 * too. */
#include "launch/model_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/compiler.h"
#include "core/onnx/onnx.h"
#include "launch/softmax.h"
#include "train/model.h"

/* Bundles have the same magic, but where those say how long they are (bytes 24 to 31), a .lmb has its number of
 * sections and a 1 (core/edge/lmb.h). */
static bool is_lmb(const char *file)
{
    static const unsigned char magic[] = { 0x89, 'L', 'M', 'B' }, one[] = { 0, 0, 0, 1, 0, 0, 0 };
    unsigned char head[32];
    FILE *f = fopen(file, "rb");
    bool whole = f && fread(head, 1, sizeof head, f) == sizeof head;

    if (f)
        fclose(f);
    return whole && memcmp(head, magic, sizeof magic) == 0 && head[24] >= 1 && head[24] <= 32 &&
           memcmp(head + 25, one, sizeof one) == 0;
}

lmb_status lmb_no_lmb(const char *file, lmb_error *err)
{
    if (is_lmb(file))
        return LMB_FAIL(err, LMB_E_ARG,
                        "%s is a .lmb, made of integers for a device, and floats are wanted: give the .onnx file or "
                        "checkpoint that "
                        "it was made from; of a search's point that is model.onnx in its folder",
                        file);
    return LMB_OK;
}

bool lmb_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The text below a key; "" without. */
static const char *text_of(const lmb_tree *section, const char *key)
{
    const lmb_tree *t = lmb_tree_get(section, key);
    lmb_error none = LMB_ERROR_INIT;
    const char *text = "";

    return t && lmb_tree_text(t, &text, &none) == LMB_OK ? text : "";
}

static bool describes(const lmb_tree *section, const char *path)
{
    const lmb_tree *head = lmb_tree_get(section, "new_head");
    lmb_error none = LMB_ERROR_INIT;
    bool other = false;

    return strcmp(text_of(section, "name"), "onnx") == 0 && lmb_same_file(text_of(section, "path"), path) &&
           (!head || lmb_tree_bool(head, &other, &none) != LMB_OK || !other);
}

/* Takes *g on failure. */
static lmb_status to_logits(const char *name, bool say, lmb_graph **g, lmb_error *err)
{
    if (say)
        lmb_say_outputs(name, *g);
    lmb_status st = lmb_without_softmax(name, say, g, err);

    if (st != LMB_OK) {
        lmb_graph_destroy(*g);
        *g = NULL;
    }
    return st;
}

lmb_status lmb_model_of(const lmb_job *j, const lmb_tree *section, uint64_t seed, bool say, lmb_graph **out,
                        lmb_error *err)
{
    const char *path = text_of(section, "path");

    LMB_TRY(lmb_model_build(section, &j->all->shape, j->all->classes, seed, out, err));
    return to_logits(*path ? path : "the model", say, out, err);
}

lmb_status lmb_model_file(const lmb_job *j, const char *path, lmb_graph **out, lmb_error *err)
{
    const struct {
        const char *name;
        const lmb_tree *section;
    } all[] = { { "model", j->c.model },
                { "teacher.model", lmb_tree_get(j->c.teacher, "model") },
                { "student.model", lmb_tree_get(j->c.student, "model") },
                { "compress.teacher", lmb_tree_get(j->c.compress, "teacher") } };

    for (int i = 0; i < LMB_COUNT(all); i++)
        if (describes(all[i].section, path)) {
            fprintf(stderr, "%s: pixels go into it as %s of the configuration says\n", path, all[i].name);
            return lmb_model_of(j, all[i].section, 1, true, out, err);
        }
    LMB_TRY(lmb_no_lmb(path, err));
    LMB_TRY(lmb_onnx_read(path, NULL, out, err));
    if (lmb_graph_input(*out, 0) != LMB_NONE && (*out)->n_outputs >= 1)
        return to_logits(path, true, out, err);
    lmb_graph_destroy(*out);
    *out = NULL;
    return LMB_FAIL(err, LMB_E_FORMAT, "%s: has no input or no output", path);
}
