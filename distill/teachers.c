/* distill/teachers.c - see teachers.h. */
#include "distill/teachers.h"

#include "core/passes/rewrite.h"
#include "train/program.h"

/* Does teacher k go with the first? */
static lmb_status check(const lmb_graph *first, const lmb_graph *g, int k, lmb_error *err)
{
    char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];
    int classes, want;

    LMB_TRY(lmb_model_classes(first, &want, err));
    LMB_TRY(lmb_model_classes(g, &classes, err));
    const lmb_value *x = &g->value[lmb_graph_input(g, 0)], *fx = &first->value[lmb_graph_input(first, 0)];
    lmb_shape s = x->shape, fs = fx->shape;
    if (s.n > 0 && fs.n > 0)
        s.d[0] = fs.d[0] = 1;
    if (!lmb_shape_equal(&s, &fs) || x->dtype != fx->dtype)
        return LMB_FAIL(err, LMB_E_SHAPE, "teacher %d takes %s %s, the first one %s %s", k + 1,
                        lmb_dtype_name(x->dtype), lmb_shape_text(&s, a, sizeof a), lmb_dtype_name(fx->dtype),
                        lmb_shape_text(&fs, b, sizeof b));
    if (classes != want)
        return LMB_FAIL(err, LMB_E_SHAPE, "teacher %d has %d classes, the first one %d", k + 1, classes, want);
    return LMB_OK;
}

/* share times g's logits behind x of one row. */
static lmb_vid answer(lmb_builder *b, const lmb_graph *g, lmb_vid x, double share)
{
    enum { MAX_OUT = 16 };
    lmb_vid out[MAX_OUT] = { LMB_NONE };
    lmb_graph *one = NULL;

    if (b->status == LMB_OK && g->n_outputs > MAX_OUT)
        b->status = LMB_FAIL(b->err, LMB_E_UNSUPPORTED, "a teacher with %d outputs; at most %d", g->n_outputs, MAX_OUT);
    if (b->status == LMB_OK)
        b->status = lmb_pass_infer_form(g, 1, &one, b->err);
    if (b->status == LMB_OK)
        b->status = lmb_model_rows(one, 1, b->err);
    if (b->status == LMB_OK)
        b->status = lmb_pass_embed(b, one, &x, out, b->err);
    lmb_graph_destroy(one);
    return lmb_emit(b, "Mul", NULL, LMB_IN(out[0], lmb_emit_scalar(b, (float)share)), LMB_NO_ATTRS);
}

lmb_status lmb_teachers_join(const lmb_graph *const *teacher, const double *weight, int n, lmb_graph **out,
                             lmb_error *err)
{
    lmb_graph *g = NULL;
    double sum = 0;

    if (n < 1 || n > LMB_TEACHERS_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "%d teachers; 1 to %d can teach", n, LMB_TEACHERS_MAX);
    for (int i = 0; i < n; i++) {
        LMB_TRY(check(teacher[0], teacher[i], i, err));
        sum += weight[i];
    }
    LMB_TRY(lmb_graph_create(&g, err));
    lmb_builder b = lmb_builder_of(g, err);
    const lmb_value *like = &teacher[0]->value[lmb_graph_input(teacher[0], 0)];
    lmb_shape shape = like->shape;
    shape.d[0] = 1;
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", like->dtype, shape, NULL), mean = LMB_NONE;
    for (int i = 0; i < n; i++) {
        lmb_vid y = answer(&b, teacher[i], x, weight[i] / sum);
        mean = i ? lmb_emit(&b, "Add", NULL, LMB_IN(mean, y), LMB_NO_ATTRS) : y;
    }
    lmb_emit_output(&b, "mean_logits", mean); /* files of logits that were made of "logits" are wrong ones */
    lmb_status st = lmb_builder_status(&b);
    if (st != LMB_OK)
        lmb_graph_destroy(g);
    else
        *out = g;
    return st;
}
