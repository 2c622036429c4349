/* train/lesson.c - see lesson.h. */
#include "train/lesson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/passes/fold.h"
#include "core/passes/rewrite.h"
#include "train/program.h"

lmb_vid lmb_lesson_apart(lmb_builder *b, lmb_vid student, lmb_vid teacher)
{
    lmb_vid d = lmb_emit(b, "Sub", NULL, LMB_IN(student, teacher), LMB_NO_ATTRS);
    return lmb_emit(b, "ReduceMean", "apart", LMB_IN(lmb_emit(b, "Mul", NULL, LMB_IN(d, d), LMB_NO_ATTRS)),
                    LMB_ATTRS(LMB_AINT("keepdims", 0)));
}

/* ---- which values go together ---- */

static bool is_map(const lmb_value *v)
{
    return v->role == LMB_ROLE_ACTIVATION && v->dtype == LMB_F32 && v->shape.n == 4 &&
           v->shape.d[2] * v->shape.d[3] > 1;
}

static bool same_places(const lmb_value *a, const lmb_value *b)
{
    return a->shape.d[2] == b->shape.d[2] && a->shape.d[3] == b->shape.d[3];
}

/* Is v made of the model's input? Weights with fake quantisation are not, and have a height and a width too. */
static bool is_of_input(const lmb_graph *g, lmb_vid v, const bool *of)
{
    const lmb_value *x = &g->value[v];

    if (x->node == LMB_NONE)
        return x->role == LMB_ROLE_INPUT;
    for (int i = 0; i < g->node[x->node].n_in; i++)
        if (g->node[x->node].in[i] != LMB_NONE && of[g->node[x->node].in[i]])
            return true;
    return false;
}

/* The last needed map of its height and width: [n_values] true. What comes before any convolution is the image
 * itself. */
static lmb_status find_last(const lmb_graph *g, bool *last, lmb_error *err)
{
    bool image = true, *of = malloc((size_t)g->n_values + 1);
    lmb_status st = of ? lmb_graph_needed(g, false, last, err)
                       : LMB_FAIL(err, LMB_E_NOMEM, "no memory to find feature maps");

    for (int v = 0; v < g->n_values && st == LMB_OK; v++) {
        of[v] = is_of_input(g, v, of); /* operands come before what is made of them */
        image &= g->value[v].node == LMB_NONE || strcmp(g->node[g->value[v].node].op->name, "Conv") != 0;
        last[v] &= !image && of[v] && is_map(&g->value[v]);
        for (int w = 0; last[v] && w < v; w++)
            if (last[w] && same_places(&g->value[w], &g->value[v]))
                last[w] = false;
    }
    free(of);
    return st;
}

static lmb_status by_size(const lmb_taught *with, const lmb_graph *student, const lmb_graph *teacher, lmb_vid *s,
                          lmb_vid *t, int *n, lmb_error *err)
{
    bool *in_student = malloc((size_t)student->n_values + 1), *in_teacher = malloc((size_t)teacher->n_values + 1);
    lmb_status st = in_student && in_teacher ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to pair feature maps");

    if (st == LMB_OK)
        st = find_last(student, in_student, err);
    if (st == LMB_OK)
        st = find_last(teacher, in_teacher, err);
    *n = 0;
    for (int v = 0; v < student->n_values && st == LMB_OK; v++)
        for (int w = 0; w < teacher->n_values && in_student[v]; w++)
            if (in_teacher[w] && same_places(&student->value[v], &teacher->value[w])) {
                if (*n == LMB_LESSON_PAIRS) { /* the deepest stay */
                    memmove(s, s + 1, sizeof *s * (LMB_LESSON_PAIRS - 1));
                    memmove(t, t + 1, sizeof *t * (LMB_LESSON_PAIRS - 1));
                    --*n;
                }
                s[*n] = v;
                t[(*n)++] = w;
            }
    if (st == LMB_OK && *n == 0)
        st = LMB_FAIL(
            err, LMB_E_SHAPE,
            "the loss '%s' finds no feature maps of equal height and width in student and teacher; name values to "
            "compare: {name: %s, student: NAME, teacher: NAME}",
            with->term->name, with->term->name);
    free(in_student);
    free(in_teacher);
    return st;
}

static lmb_status named(const lmb_taught *with, const lmb_graph *g, const char *whose, const char *name, lmb_vid *out,
                        lmb_error *err)
{
    *out = lmb_graph_find(g, name);
    const lmb_value *v = *out == LMB_NONE ? NULL : &g->value[*out];
    if (!v || v->role != LMB_ROLE_ACTIVATION)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the loss '%s': the %s computes no value named '%s'; `limbeck inspect MODEL.onnx` lists them",
                        with->term->name, whose, name);
    if (v->dtype != LMB_F32 || v->shape.n < 2)
        return LMB_FAIL(err, LMB_E_SHAPE, "the loss '%s': '%s' of the %s is no f32 [n, ...]", with->term->name, name,
                        whose);
    return LMB_OK;
}

/* What the layer of the logits reads: f32 [n, ...]. */
static lmb_status embedding(const lmb_taught *with, const lmb_graph *g, const char *whose, lmb_vid *out, lmb_error *err)
{
    lmb_vid v = g->output[0].value;

    for (int left = g->n_nodes; left > 0 && g->value[v].node != LMB_NONE; left--) {
        const lmb_node *n = &g->node[g->value[v].node];
        bool layer =
            strcmp(n->op->name, "Gemm") == 0 || strcmp(n->op->name, "MatMul") == 0 || strcmp(n->op->name, "Conv") == 0;
        v = n->in[0];
        if (layer && g->value[v].role == LMB_ROLE_ACTIVATION && g->value[v].dtype == LMB_F32 &&
            g->value[v].shape.n >= 2) {
            *out = v;
            return LMB_OK;
        }
    }
    return LMB_FAIL(
        err, LMB_E_SHAPE,
        "the loss '%s' finds no last layer in the %s; name values to compare: {name: %s, student: NAME, teacher: NAME}",
        with->term->name, whose, with->term->name);
}

static lmb_status by_default(const lmb_taught *with, const lmb_graph *student, const lmb_graph *teacher, lmb_vid *s,
                             lmb_vid *t, int *n, lmb_error *err)
{
    if (with->term->flags & LMB_TERM_EMBEDDING) {
        *n = 1;
        LMB_TRY(embedding(with, student, "student", s, err));
        return embedding(with, teacher, "teacher", t, err);
    }
    LMB_TRY(by_size(with, student, teacher, s, t, n, err));
    if (with->term->flags & LMB_TERM_MIDDLE) {
        s[0] = s[*n / 2];
        t[0] = t[*n / 2];
        *n = 1;
    }
    return LMB_OK;
}

lmb_status lmb_lesson_pairs(const lmb_taught *with, const lmb_graph *student, const lmb_graph *teacher, lmb_vid *s,
                            lmb_vid *t, int *n, lmb_error *err)
{
    char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];

    if (!*with->student && !*with->teacher)
        return by_default(with, student, teacher, s, t, n, err);
    if (!*with->student || !*with->teacher)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "the loss '%s' names a layer of one model alone; name both, `student` and `teacher`, or neither",
            with->term->name);
    LMB_TRY(named(with, student, "student", with->student, s, err));
    LMB_TRY(named(with, teacher, "teacher", with->teacher, t, err));
    *n = 1;
    const lmb_value *vs = &student->value[*s], *vt = &teacher->value[*t];
    if ((with->term->flags & LMB_TERM_PLACES) && (vs->shape.n != 4 || vt->shape.n != 4 || !same_places(vs, vt)))
        return LMB_FAIL(
            err, LMB_E_SHAPE,
            "the loss '%s' compares feature maps of equal height and width: '%s' of the student is %s, '%s' of the "
            "teacher %s",
            with->term->name, vs->name, lmb_shape_text(&vs->shape, a, sizeof a), vt->name,
            lmb_shape_text(&vt->shape, b, sizeof b));
    return LMB_OK;
}

/* ---- the teacher in the graph ---- */

enum { MAX_OUT = 1 + LMB_TAUGHT_MAX * LMB_LESSON_PAIRS };

/* x [n, ...] with zeros up to `rows` rows. */
static lmb_vid fill_up(lmb_builder *b, lmb_vid x, int64_t rows)
{
    const lmb_shape *s = &lmb_builder_value(b, x)->shape;
    int64_t pads[2 * LMB_MAX_DIMS] = { 0 };
    int dims = s->n;

    pads[dims] = rows - s->d[0];
    return lmb_emit(b, "Pad", "teacher.rows", LMB_IN(x, lmb_emit_ints(b, pads, 2 * dims)), LMB_NO_ATTRS);
}

/* The teacher with `extra` values as outputs behind its logits, in the form of a predictor for `rows` rows. */
static lmb_status deployed(const lmb_graph *g, const lmb_vid *extra, int n_extra, int64_t rows, lmb_graph **out,
                           lmb_error *err)
{
    lmb_graph *open = NULL;

    LMB_TRY(lmb_graph_copy(g, &open, err));
    lmb_status st = LMB_OK;
    open->n_outputs = 1;
    for (int i = 0; i < n_extra && st == LMB_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "limbeck.feature%d", i);
        st = lmb_graph_output_add(open, name, extra[i], err);
    }
    if (st == LMB_OK)
        st = lmb_pass_deploy(open, NULL, rows, out, err);
    lmb_graph_destroy(open);
    return st == LMB_OK ? lmb_model_rows(*out, rows, err) : st;
}

/* The frozen graph of the teacher behind x: its logits, the bits of cached ones, and the values that terms look at. */
static void run_teacher(const lmb_objective *o, lmb_builder *b, lmb_vid x, const lmb_vid *extra, int n_extra,
                        lmb_vid out[MAX_OUT])
{
    lmb_graph *teacher = NULL;
    int64_t n = lmb_builder_value(b, x)->shape.d[0], rows = n < o->rows ? o->rows : n;
    lmb_vid in = n < rows ? fill_up(b, x, rows) : x;

    if (b->status == LMB_OK)
        b->status = deployed(o->teacher, extra, n_extra, rows, &teacher, b->err);
    if (b->status == LMB_OK)
        b->status = lmb_pass_embed(b, teacher, &in, out, b->err);
    lmb_graph_destroy(teacher);
    for (int i = 0; i <= n_extra && n < rows && b->status == LMB_OK; i++)
        out[i] = lmb_emit(b, "Slice", "teacher.answers",
                          LMB_IN(out[i], lmb_emit_ints(b, (int64_t[]){ 0 }, 1), lmb_emit_ints(b, &n, 1)), LMB_NO_ATTRS);
}

/* lmb_objective_prepare has put them into the graph. */
static void find_heads(lmb_builder *b, int i, lmb_lesson *l)
{
    char name[LMB_HEAD_NAME];

    for (int k = 0; l->with->term->heads && k < LMB_LESSON_HEADS; k++) {
        lmb_lesson_head_name(i, k, name);
        l->head[k] = lmb_graph_find(b->g, name);
        if (k == 0 && l->head[k] == LMB_NONE && b->status == LMB_OK)
            b->status = LMB_FAIL(b->err, LMB_E_ARG,
                                 "the loss '%s' has weights of its own, and this training makes no room for them",
                                 l->with->term->name);
    }
}

void lmb_lessons_begin(const lmb_objective *o, lmb_builder *b, lmb_vid x, lmb_vid logits, lmb_vid labels,
                       lmb_lesson out[LMB_TAUGHT_MAX])
{
    lmb_vid extra[MAX_OUT], made[MAX_OUT];
    int n_extra = 0;

    for (int i = 0; i < o->n_taught && b->status == LMB_OK; i++) {
        lmb_lesson *l = &out[i];
        *l = (lmb_lesson){ .o = o, .with = &o->taught[i], .logits = logits, .labels = labels, .answers = LMB_NONE };
        if (!(l->with->term->flags & LMB_TERM_FEATURES))
            continue;
        b->status = lmb_lesson_pairs(l->with, b->g, o->teacher, l->student, extra + n_extra, &l->n_pairs, b->err);
        find_heads(b, i, l);
        n_extra += l->n_pairs;
    }
    if (b->status == LMB_OK && o->logits && n_extra)
        b->status = LMB_FAIL(b->err, LMB_E_ARG, "a loss looks into a teacher whose logits alone are given");
    if (b->status != LMB_OK)
        return;
    int64_t n = lmb_builder_value(b, x)->shape.d[0],
            classes = o->teacher->value[o->teacher->output[0].value].shape.d[1];
    if (o->logits)
        made[0] = lmb_emit_value(b, LMB_ROLE_INPUT, LMB_LOSS_FEED, LMB_F32, LMB_SHAPE(n, classes), NULL);
    else
        run_teacher(o, b, x, extra, n_extra, made);
    for (int i = 0, next = 1; i < o->n_taught && b->status == LMB_OK; i++) {
        out[i].answers = made[0];
        for (int k = 0; k < out[i].n_pairs; k++)
            out[i].teacher[k] = made[next++];
    }
}
