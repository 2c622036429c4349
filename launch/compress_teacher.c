/* launch/compress_teacher.c - what a search compresses, and who teaches it. See compress.h. */
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/file.h"
#include "launch/compress.h"
#include "launch/softmax.h"
#include "launch/stage.h"
#include "launch/teacher.h"
#include "train/model.h"

/* Those of the list, as one; path: the first of them. */
static lmb_status read_all(const lmb_job *j, const lmb_tree *list, bool say, char path[LMB_STAGE_PATH], lmb_graph **out,
                           lmb_error *err)
{
    const lmb_distill_config d = { .teacher = "", .teachers = list };
    char all[LMB_TEACHERS_MAX][LMB_STAGE_PATH];
    int n;

    LMB_TRY(lmb_teacher_files(j, &d, all, &n, err));
    memcpy(path, all[0], LMB_STAGE_PATH);
    return lmb_teacher_read(j, &d, say, out, err);
}

/* A search makes the integers itself: what has some already is refused for that, not for its first node. */
static lmb_status check_floats(const char *name, const lmb_graph *g, lmb_error *err)
{
    static const char *const made[] = { "QuantizeLinear", "DequantizeLinear", "FakeQuant", "WeightScale" };

    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < LMB_COUNT(made); k++)
            if (strcmp(g->node[i].op->name, made[k]) == 0)
                return LMB_FAIL(err, LMB_E_ARG,
                                "%s is made of integers (node %s: %s), and a search begins with floats: give the model "
                                "that it was made from; of a search's point that is model.onnx in its folder",
                                name, g->node[i].name, made[k]);
    return LMB_OK;
}

static lmb_status build(const lmb_job *j, const lmb_tree *model, bool say, lmb_graph **out, lmb_error *err)
{
    LMB_TRY(lmb_model_build(model, &j->all->shape, j->all->classes, 1, out, err));
    LMB_TRY(check_floats("compress.teacher", *out, err));
    return lmb_without_softmax("compress.teacher", say, out, err);
}

lmb_status lmb_compress_teacher(const lmb_job *j, const lmb_tree *teacher, const lmb_tree *teachers, bool say,
                                lmb_graph **compressed, lmb_graph **several, lmb_error *err)
{
    char first[LMB_STAGE_PATH];
    const char *path = first;

    LMB_TRY(teachers ? read_all(j, teachers, say, first, several, err)
                     : lmb_stage_path(first, j->c.run, "teacher", "model.onnx", err));
    if (teacher && teacher->kind == LMB_TREE_MAP)
        return build(j, teacher, say, compressed, err);
    if (teacher)
        LMB_TRY(lmb_tree_text(teacher, &path, err));
    else if (!lmb_file_exists(path))
        return LMB_FAIL(err, LMB_E_ARG, "there is no teacher: %s is not there; name one with compress.teacher", path);
    bool said = teachers && !teacher; /* it is the first of those that teach */
    LMB_TRY(lmb_teacher_read_file(j, path, say && !said, compressed, err));
    return check_floats(path, *compressed, err);
}

static bool names_teachers(const lmb_job *j)
{
    return lmb_tree_has(lmb_tree_get(j->c.compress, "distill"), "teachers");
}

bool lmb_compress_has_origin(const lmb_job *j)
{
    return j->c.compress && strcmp(j->stage_name, "student") != 0 &&
           (!j->stage.model || lmb_tree_has(j->c.compress, "teacher") || names_teachers(j));
}

lmb_status lmb_compress_origin(const lmb_job *j, bool say, lmb_graph **out, lmb_error *err)
{
    const lmb_tree *c = j->c.compress;
    lmb_graph *several = NULL;
    lmb_status st = lmb_compress_teacher(
        j, lmb_tree_has(c, "teacher") ? lmb_tree_get(c, "teacher") : NULL,
        names_teachers(j) ? lmb_tree_get(lmb_tree_get(c, "distill"), "teachers") : NULL, say, out, &several, err);

    lmb_graph_destroy(several);
    return st;
}
