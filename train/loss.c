/* train/loss.c - the table of terms and their weighted sum. See loss.h. */
#include "train/loss.h"

#include <stdio.h>
#include <string.h>

#include "core/base/config.h"
#include "train/lesson.h"
#include "train/memory.h"

#define TERMS(X) X(cross_entropy) X(kl) X(dkd) X(attention) X(similarity) X(hint) X(relational) X(contrastive)
#define X(name) extern const lmb_loss_term lmb_loss_term_##name;
TERMS(X)
#undef X
#define X(name) &lmb_loss_term_##name,
const lmb_loss_term *const lmb_loss_terms[] = { TERMS(X) NULL };
#undef X

static const char *const caches[] = { "auto", "false", "true", "plain", NULL };
const char *const lmb_distill_precisions[] = { "f32", "bf16", NULL };

const lmb_field lmb_distill_fields[] = {
    LMB_REAL(lmb_distill_config, alpha, 0.5, 0, 1, "", "share of the teacher; the labels have the rest"),
    LMB_REAL(lmb_distill_config, temperature, 2, 0.05, 100, "",
             "softens both predictions; keep it low (1 to 2) with quantisation"),
    LMB_TEXT(lmb_distill_config, teacher, "",
             "an .onnx file that takes the samples as they are, or a checkpoint; default <run>/teacher/model.onnx. "
             "self: what the "
             "student was before it was pruned or quantised, or its last generation. For one that wants them "
             "normalised: teacher.model: {name: onnx, path, mean, scale ...}"),
    LMB_CHOICE(lmb_distill_config, cache, LMB_CACHE_AUTO, caches,
               "the teacher's logits on disk: true, the same bits as live; plain, of samples "
               "without augmentation; auto, true where an epoch can use them again"),
    LMB_CHOICE(lmb_distill_config, precision, 0, lmb_distill_precisions,
               "of the teacher's feature maps where its logits come from a file; bf16: asked in half the time"),
    LMB_INT(lmb_distill_config, gpu_mb, 1024, 0, 1000000, "MB",
            "with train.backend cuda, logits of a file that take no more are kept on the GPU whole"),
    LMB_INT(lmb_distill_config, pinned_mb, 2048, 0, 1000000, "MB",
            "else in pinned memory, which the GPU reads, if they take no more and a quarter of the machine's at most; "
            "else they travel with each batch"),
    LMB_TREE(lmb_distill_config, teachers,
             "several in place of `teacher`, whose logits are averaged: a list of files, or of {file, weight}"),
    LMB_INT(lmb_distill_config, generations, 1, 1, 16, "",
            "with teacher self: born again so often, each from other first weights, taught by the one before"),
    LMB_TREE(
        lmb_distill_config, losses,
        "the teacher's share is of these, with weights: names, or {name, weight, ...} as `limbeck list losses` shows; "
        "default [kl]"),
    LMB_TREE(
        lmb_distill_config, unlabelled,
        "samples to learn from in place of the training part, whose labels nobody looks at (alpha: 1): a section like "
        "`data`; {name: folder, path: pictures, labels: false} takes any pictures"),
    LMB_FIELD_END
};

/* ---- the terms of the teacher's share ---- */

static lmb_status find_term(const lmb_tree *node, const lmb_loss_term **out, lmb_error *err)
{
    char known[400] = "";
    const char *name;

    LMB_TRY(lmb_tree_name(node, &name, err));
    for (int i = 0; lmb_loss_terms[i]; i++) {
        *out = lmb_loss_terms[i];
        if ((*out)->fields && strcmp((*out)->name, name) == 0)
            return LMB_OK;
        if ((*out)->fields)
            snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", *known ? ", " : "", (*out)->name);
    }
    return lmb_tree_fail(node, err, LMB_E_ARG,
                         "a teacher has no loss '%s'; it has %s (the labels' has the share 1 - alpha)", name, known);
}

/* Samples without labels: the teacher alone says what they are. */
static lmb_status check_unlabelled(const lmb_objective *o, const lmb_loss_term *term, const lmb_tree *node,
                                   lmb_error *err)
{
    if (o->distill.unlabelled && term->flags & LMB_TERM_LABELS)
        return lmb_tree_fail(node, err, LMB_E_ARG, "the loss '%s' reads labels, and `unlabelled` has none; take kl",
                             term->name);
    return LMB_OK;
}

lmb_status lmb_objective_bind(lmb_objective *o, lmb_error *err)
{
    const lmb_tree *list = o->distill.losses;

    o->n_taught = 0;
    if (o->distill.unlabelled && o->distill.alpha != 1)
        return lmb_tree_fail(o->distill.unlabelled, err, LMB_E_ARG,
                             "`unlabelled` samples have no labels to learn from, and alpha is %g: set it to 1",
                             o->distill.alpha);
    if (o->distill.precision && o->distill.cache == LMB_CACHE_FALSE)
        return LMB_FAIL(err, LMB_E_ARG,
                        "distill.precision=bf16 is of a teacher whose logits come from a file, and cache is false: "
                        "leave out one of them");
    if (!list)
        return LMB_OK;
    if (list->kind != LMB_TREE_LIST || lmb_tree_count(list) < 1 || lmb_tree_count(list) > LMB_TAUGHT_MAX)
        return lmb_tree_fail(list, err, LMB_E_ARG,
                             "`losses` is a list of 1 to %d, such as [kl, {name: attention, weight: 1000}]",
                             LMB_TAUGHT_MAX);
    for (const lmb_tree *node = list->child; node; node = node->next) {
        lmb_taught *t = &o->taught[o->n_taught++];
        *t = (lmb_taught){ .student = "", .teacher = "" };
        LMB_TRY(find_term(node, &t->term, err));
        LMB_TRY(lmb_fields_bind(t->term->fields, node->kind == LMB_TREE_MAP ? node : NULL, t, err));
        LMB_TRY(check_unlabelled(o, t->term, node, err));
        for (int k = 0; k + 1 < o->n_taught; k++)
            if (t->memory > 0 && o->taught[k].memory > 0)
                return lmb_tree_fail(node, err, LMB_E_ARG, "two losses with a memory; there is room for one");
        if (!(t->term->flags & LMB_TERM_FEATURES))
            continue;
        if (o->distill.teachers)
            return lmb_tree_fail(node, err, LMB_E_ARG,
                                 "the loss '%s' looks into one teacher: give `teacher` in place of `teachers`",
                                 t->term->name);
        if (o->distill.cache == LMB_CACHE_TRUE || o->distill.cache == LMB_CACHE_PLAIN || o->distill.precision)
            return lmb_tree_fail(
                node, err, LMB_E_ARG,
                "the loss '%s' looks into the teacher, of which a file of logits tells nothing: set cache: "
                "false and precision: f32",
                t->term->name);
    }
    return LMB_OK;
}

bool lmb_objective_looks_inside(const lmb_objective *o)
{
    for (int i = 0; i < o->n_taught; i++)
        if (o->taught[i].term->flags & LMB_TERM_FEATURES)
            return true;
    return false;
}

static lmb_status check_layers(const lmb_objective *o, const lmb_graph *student, lmb_error *err)
{
    lmb_vid s[LMB_LESSON_PAIRS], t[LMB_LESSON_PAIRS];
    int n;

    for (int i = 0; i < o->n_taught; i++) {
        if (!(o->taught[i].term->flags & LMB_TERM_FEATURES))
            continue;
        LMB_TRY(lmb_lesson_pairs(&o->taught[i], student, o->teacher, s, t, &n, err));
    }
    return LMB_OK;
}

lmb_status lmb_objective_check(const lmb_objective *o, const lmb_graph *student, lmb_error *err)
{
    if (!o->teacher)
        return LMB_OK;
    const lmb_value *tx = &o->teacher->value[lmb_graph_input(o->teacher, 0)],
                    *sx = &student->value[lmb_graph_input(student, 0)];
    const lmb_value *ty = &o->teacher->value[o->teacher->output[0].value],
                    *sy = &student->value[student->output[0].value];
    lmb_shape a = tx->shape, b = sx->shape;
    char ta[LMB_SHAPE_TEXT], tb[LMB_SHAPE_TEXT];

    if (a.n > 0 && b.n > 0)
        a.d[0] = b.d[0] = 1;
    if (!lmb_shape_equal(&a, &b))
        return LMB_FAIL(err, LMB_E_SHAPE, "the teacher takes %s, the student %s", lmb_shape_text(&a, ta, sizeof ta),
                        lmb_shape_text(&b, tb, sizeof tb));
    if (ty->shape.n != 2 || ty->shape.d[1] != sy->shape.d[1])
        return LMB_FAIL(err, LMB_E_SHAPE, "the teacher has %lld classes, the student %lld",
                        (long long)(ty->shape.n == 2 ? ty->shape.d[1] : 0), (long long)sy->shape.d[1]);
    return check_layers(o, student, err);
}

static lmb_vid add_term(lmb_builder *b, lmb_vid sum, const lmb_loss_term *term, const lmb_lesson *l, double weight)
{
    if (weight == 0)
        return sum;
    lmb_vid v = term->build(l, b);
    if (weight != 1)
        v = lmb_emit(b, "Mul", NULL, LMB_IN(v, lmb_emit_scalar(b, (float)weight)), LMB_NO_ATTRS);
    return sum == LMB_NONE ? v : lmb_emit(b, "Add", NULL, LMB_IN(sum, v), LMB_NO_ATTRS);
}

static lmb_vid build(void *ctx, lmb_builder *b, lmb_vid x, lmb_vid logits, lmb_vid labels)
{
    lmb_objective o = *(const lmb_objective *)ctx;
    double alpha = o.teacher ? o.distill.alpha : 0, t = o.distill.temperature;
    lmb_lesson lessons[LMB_TAUGHT_MAX], hard = { .o = &o, .logits = logits, .labels = labels };
    lmb_vid sum = add_term(b, LMB_NONE, &lmb_loss_term_cross_entropy, &hard, 1 - alpha);

    if (alpha == 0)
        return sum;
    if (o.n_taught == 0)
        o.taught[o.n_taught++] = (lmb_taught){ .term = &lmb_loss_term_kl, .weight = 1 };
    lmb_lessons_begin(&o, b, x, logits, labels, lessons);
    for (int i = 0; i < o.n_taught && b->status == LMB_OK; i++) {
        const lmb_taught *w = &o.taught[i];
        double soft = w->term->flags & LMB_TERM_SOFTENED ? t : 1;
        sum = add_term(b, sum, w->term, &lessons[i], alpha * w->weight * soft * soft);
    }
    return sum;
}

/* The rows of the one memory that a term may have; 0: none has. */
static int64_t memory_of(const lmb_objective *o)
{
    for (int i = 0; i < o->n_taught; i++)
        if (o->taught[i].memory > 0)
            return o->taught[i].memory;
    return 0;
}

static lmb_status feed(void *ctx, const lmb_step_info *info, const lmb_place *place, int64_t n, float *out,
                       lmb_error *err)
{
    const lmb_objective *o = ctx;
    if (o->logits)
        return o->logits(o->logits_ctx, info, n, out, err);
    return lmb_memory_where(info, place, n, memory_of(o), out, err);
}

lmb_loss lmb_objective_loss(lmb_objective *o)
{
    return (lmb_loss){ build,
                       o,
                       o->logits || memory_of(o) ? feed : NULL,
                       { o->logits_epochs, o->logits ? o->logits_samples : 0, (size_t)o->distill.gpu_mb * 1000000,
                         (size_t)o->distill.pinned_mb * 1000000 } };
}
