/* train/heads.c - weights that are trained along with a student and thrown away after: regressors and projections of
 * losses, and their memory.
 *
 * They stand behind the student's own state, so that whatever is as long as that (masks, a lineage) still fits its
 * beginning. Their first weights are normal, with the variance 1 / inputs (LeCun).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/random.h"
#include "train/lesson.h"
#include "train/memory.h"

void lmb_lesson_head_name(int i, int k, char out[LMB_HEAD_NAME])
{
    snprintf(out, LMB_HEAD_NAME, "limbeck.lesson%d.head%d", i, k);
}

static lmb_status add_head(lmb_graph *g, const char *name, const lmb_shape *s, lmb_rand *r, lmb_error *err)
{
    int64_t n = lmb_shape_count(s), inputs = n / s->d[0];
    float *w = malloc(sizeof *w * (size_t)(n + 1));
    lmb_vid v;

    if (!w)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld weights of %s", (long long)n, name);
    for (int64_t i = 0; i < n; i++)
        w[i] = lmb_rand_normal(r, (uint32_t)i) / sqrtf((float)inputs);
    lmb_status st = lmb_graph_value(g, LMB_ROLE_PARAMETER, name, LMB_F32, s, w, &v, err);
    free(w);
    return st;
}

static lmb_status add_heads(const lmb_objective *o, int i, const lmb_graph *student, uint64_t seed, lmb_graph *g,
                            lmb_error *err)
{
    const lmb_taught *with = &o->taught[i];
    lmb_vid s[LMB_LESSON_PAIRS], t[LMB_LESSON_PAIRS];
    lmb_shape shape[LMB_LESSON_HEADS];
    char name[LMB_HEAD_NAME];
    int n;

    LMB_TRY(lmb_lesson_pairs(with, student, o->teacher, s, t, &n, err));
    n = with->term->heads(with, &student->value[s[0]].shape, &o->teacher->value[t[0]].shape, shape);
    for (int k = 0; k < n; k++) {
        lmb_rand r = lmb_rand_at(seed, LMB_RAND_INIT, (uint32_t)(1 + i), (uint64_t)k);
        lmb_lesson_head_name(i, k, name);
        LMB_TRY(add_head(g, name, &shape[k], &r, err));
    }
    for (int k = 0; k < 2 && with->memory > 0; k++)
        LMB_TRY(lmb_memory_add(g, k, with->memory, with->width, seed, err));
    return LMB_OK;
}

lmb_status lmb_objective_prepare(const lmb_objective *o, const lmb_graph *student, uint64_t seed, lmb_graph **out,
                                 lmb_error *err)
{
    lmb_graph *g = NULL;
    lmb_status st = LMB_OK;

    *out = NULL;
    for (int i = 0; i < o->n_taught && o->teacher && st == LMB_OK; i++) {
        if (!o->taught[i].term->heads)
            continue;
        if (!g)
            st = lmb_graph_copy(student, &g, err);
        if (st == LMB_OK)
            st = add_heads(o, i, student, seed, g, err);
    }
    if (st == LMB_OK)
        *out = g;
    else
        lmb_graph_destroy(g);
    return st;
}

lmb_status lmb_objective_finish(const lmb_graph *prepared, lmb_graph *student, lmb_error *err)
{
    for (int v = 0; v < student->n_values; v++) {
        const lmb_value *x = &student->value[v];
        lmb_vid from = lmb_role_is_state(x->role) ? lmb_graph_find(prepared, x->name) : LMB_NONE;
        if (from != LMB_NONE)
            LMB_TRY(lmb_graph_set_data(student, v, prepared->value[from].data, err));
    }
    return LMB_OK;
}
