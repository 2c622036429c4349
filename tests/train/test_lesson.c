/* Mirrors train/lesson.c and the terms of the teacher's share in train/losses: known answers, gradients of a whole
 * training step by finite differences, layers found and named, and what is refused. */
#include "train/lesson.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/random.h"
#include "core/graph/autodiff.h"
#include "core/plan/plan.h"
#include "tests/check_main.h"
#include "tests/train/lesson_step.h"
#include "train/model.h"
#include "train/program.h"
#include "train/trainer.h"

extern const lmb_loss_term lmb_loss_term_dkd, lmb_loss_term_attention, lmb_loss_term_similarity, lmb_loss_term_hint,
    lmb_loss_term_relational, lmb_loss_term_contrastive;

enum { ANSWERS = 6 };

static void count_up(float *x, int n, int m, int times, int plus)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)((double)((i * times + plus) % m) / m * 4 - 2);
}

/* ---- known answers ----
 * PyTorch 1.13, f64: dkd_loss of mdistiller (distillers/DKD.py), Attention and Similarity of RepDistiller
 * (distiller_zoo) on the numbers of count_up(): loss, and its gradient for the student. Both divergences hold T^2 there
 * and not here. RKDLoss of RepDistiller with the weights 25 and 50; hint and contrastive as their files have them, with
 * conv2d, mse_loss, normalize and cross_entropy; their heads are count_up(41, 23, 9). */
typedef struct answer {
    const lmb_loss_term *term;
    lmb_shape student, teacher;
    int mod[2], times[2], plus[2];
    double factor, loss, gradient[24];
} answer;
static const answer
    answers[ANSWERS] = {
        { &lmb_loss_term_dkd,
          { 2, { 3, 4 } },
          { 2, { 3, 4 } },
          { 23, 29 },
          { 37, 17 },
          { 11, 5 },
          9,
          7.369427879600745,
          { 0.924980805, -0.523709794, 0.183984419, -0.585255429, 0.084169727, 0.436384701, -1.173682851, 0.653128423,
            -1.197005649, 0.818194914, 0.50676057, -0.127949835 } },
        { &lmb_loss_term_attention,
          { 4, { 2, 3, 2, 2 } },
          { 4, { 2, 4, 2, 2 } },
          { 31, 37 },
          { 13, 19 },
          { 7, 3 },
          1,
          0.08930675098180173,
          { 0.019916366,  0.010608662,  0.018603634,  -0.000457265, -0.029288774, -0.012966143,
            -0.010335352, -0.009602575, -0.005857755, -0.036540947, 0.003445117,  0.009602575,
            -0.019191864, -0.010785574, -0.031265098, -0.00158803,  0.034545355,  0.00882456,
            0.021260266,  0.030172573,  0.008956203,  0.028434694,  -0.003751812, -0.036524694 } },
        { &lmb_loss_term_similarity,
          { 4, { 2, 3, 2, 2 } },
          { 4, { 2, 4, 2, 2 } },
          { 31, 37 },
          { 13, 19 },
          { 7, 3 },
          1,
          0.04912142936241745,
          { -0.000542902, 0.002150565,  -0.001578851, 0.001114616,  0.003808083,  7.8667e-05,
            0.002772134,  -0.000957282, 0.001736185,  -0.001993231, 0.000700236,  0.003393704,
            0.000263965,  -0.002305139, 0.001252081,  -0.001317023, -0.003886127, -0.000328906,
            -0.00289801,  0.000659211,  -0.001909893, 0.001647328,  -0.000921776, -0.00349088 } },
        { &lmb_loss_term_relational,
          { 2, { 4, 3 } },
          { 2, { 4, 5 } },
          { 31, 37 },
          { 13, 19 },
          { 7, 3 },
          1,
          6.3653365550806145,
          { -0.911107209, 1.41376962, 1.56022347, 0.748138821, -0.445863714, -1.91141474, 0.314892647, -0.038401763,
            1.09247253, -0.151924258, -0.929504145, -0.741281263 } },
        { &lmb_loss_term_contrastive,
          { 2, { 4, 3 } },
          { 2, { 4, 5 } },
          { 31, 37 },
          { 13, 19 },
          { 7, 3 },
          1,
          1.9064970871113478,
          { -0.0216323711, 0.0062165096, 0.0156925518, 0.177607037, -0.0805617841, -0.199241065, -0.197170268,
            -0.0522014271, 0.372264801, 0.00301676719, -0.00310264412, 0.00371459817 } },
        { &lmb_loss_term_hint,
          { 4, { 2, 3, 2, 2 } },
          { 4, { 2, 4, 2, 2 } },
          { 31, 37 },
          { 13, 19 },
          { 7, 3 },
          1,
          8.025489499912432,
          { -0.690294438, 0.533490875,  -0.688291942,  0.120264342,  0.759609061,  -0.0994433947,
            0.768452428,  -0.636703534, -0.211213896,  -0.504264011, -0.239312952, 0.693097941,
            -0.685289509, 0.538495783,  -0.683287047,  -0.106438072, 0.709191717,  -0.149860724,
            0.718035119,  -0.357852556, -0.0866751768, -0.379725287, -0.11477423,  0.707880574 } },
    };

static void add_heads(const answer *a, const lmb_taught *with, lmb_builder *b, lmb_lesson *l)
{
    lmb_shape shape[LMB_LESSON_HEADS];
    float w[64];

    for (int k = a->term->heads ? a->term->heads(with, &a->student, &a->teacher, shape) - 1 : -1; k >= 0; k--) {
        int64_t n = lmb_shape_count(&shape[k]);
        ck_assert_int_le(n, 64);
        count_up(w, (int)n, 41, 23, 9);
        l->head[k] = lmb_emit_value(b, LMB_ROLE_PARAMETER, k ? "head1" : "head0", LMB_F32, shape[k], w);
    }
}

START_TEST(answers_are_pytorchs)
{
    const answer *a = &answers[_i];
    lmb_objective o = { .distill = { .temperature = 3 } };
    lmb_taught with = { .target = 1, .others = 4, .distance = 25, .angle = 50, .temperature = 0.5, .width = 3 };
    int64_t labels[3] = { 2, 0, 3 };
    float s[24], t[32], loss, got[24];
    lmb_graph *g, *back;
    lmb_vid grad;

    err = (lmb_error)LMB_ERROR_INIT;
    int n = (int)lmb_shape_count(&a->student);
    count_up(s, n, a->mod[0], a->times[0], a->plus[0]);
    count_up(t, (int)lmb_shape_count(&a->teacher), a->mod[1], a->times[1], a->plus[1]);
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid vs = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "s", LMB_F32, a->student, s),
            vt = lmb_emit_value(&b, LMB_ROLE_CONSTANT, "t", LMB_F32, a->teacher, t);
    lmb_lesson l = { .o = &o,
                     .with = &with,
                     .logits = vs,
                     .answers = vt,
                     .n_pairs = 1,
                     .student = { vs },
                     .teacher = { vt },
                     .labels = lmb_emit_value(&b, LMB_ROLE_CONSTANT, "labels", LMB_S64, LMB_SHAPE(3), labels) };
    add_heads(a, &with, &b, &l);
    lmb_vid out = a->term->build(&l, &b);
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_autodiff(g, out, &vs, 1, &back, &grad, &err));
    ck_ok(lmb_graph_output_add(back, "loss", out, &err));
    ck_ok(lmb_graph_output_add(back, "gradient", grad, &err));
    ck_ok(lmb_plan_eval(back, "loss", &loss, sizeof loss, &err));
    ck_ok(lmb_plan_eval(back, "gradient", got, sizeof *got * (size_t)n, &err));
    ck_assert_double_eq_tol(loss * a->factor, a->loss, 1e-5 * a->loss);
    for (int i = 0; i < n; i++)
        ck_assert_double_eq_tol(got[i] * a->factor, a->gradient[i], 4e-6);
    lmb_graph_destroy(back);
    lmb_graph_destroy(g);
}
END_TEST

/* ---- a training step ---- */

static double loss_of(fixture *f)
{
    lmb_loss loss;
    lmb_program *p = program(f, &loss);
    double v = step(f, p);
    lmb_program_destroy(p);
    return v;
}

START_TEST(gradients_are_differences)
{
    static fixture f;
    static float gradient[STATE];
    lmb_loss loss;

    begin(&f, "[{name: dkd, others: 3}, {name: attention, weight: 20}, {name: similarity, weight: 10}]", LARGE, 0.8);
    ck_ok(lmb_objective_bind(&f.o, &err));
    ck_ok(lmb_objective_check(&f.o, f.student, &err));
    lmb_program *p = program(&f, &loss);
    step(&f, p);
    memcpy(gradient, f.out, sizeof gradient);
    int n = (int)lmb_program_layout(p)->count, moved = 0;
    for (int i = 0; i < n; i += 7) {
        float keep = f.state[i], h = 2e-3f;
        f.state[i] = keep + h;
        double up = step(&f, p);
        f.state[i] = keep - h;
        double down = step(&f, p);
        f.state[i] = keep;
        double want = (up - down) / (2.0 * (double)h);
        ck_assert_msg(fabs(want - (double)gradient[i]) < 0.02 * fabs(want) + 0.02,
                      "number %d: gradient %g, difference %g", i, (double)gradient[i], want);
        moved += fabs(want) > 0.1;
    }
    ck_assert_int_gt(moved, 10);
    lmb_program_destroy(p);
    end(&f);
}
END_TEST

/* The teacher is the student itself: nothing to learn, whatever the labels. */
START_TEST(an_equal_teaches_nothing_and_asks_no_labels)
{
    static fixture f;

    begin(&f, "[kl, attention, similarity, dkd]", SMALL, 1);
    lmb_graph_destroy(f.teacher);
    ck_ok(lmb_graph_copy(f.student, &f.teacher, &err));
    f.o.teacher = f.teacher;
    ck_ok(lmb_objective_bind(&f.o, &err));
    ck_assert_double_eq_tol(loss_of(&f), 0, 1e-6);
    for (int i = 0; i < ROWS; i++)
        f.y[i] = 2 - f.y[i];
    ck_assert_double_eq_tol(loss_of(&f), 0, 1e-6);
    end(&f);
}
END_TEST

START_TEST(without_labels_they_do_not_matter)
{
    static fixture f;

    begin(&f, "[kl, {name: attention, weight: 10}]", LARGE, 1);
    ck_ok(lmb_objective_bind(&f.o, &err));
    double before = loss_of(&f);
    for (int i = 0; i < ROWS; i++)
        f.y[i] = 2 - f.y[i];
    ck_assert_double_eq(loss_of(&f), before);
    ck_assert_double_gt(before, 1e-3);
    end(&f);
}
END_TEST

/* A list of kl alone is the default; rows that fill the teacher's batch up change no answer. */
START_TEST(kl_is_the_default_and_rows_do_not_matter)
{
    static fixture f;

    begin(&f, "[kl]", LARGE, 0.6);
    double before = loss_of(&f);
    ck_ok(lmb_objective_bind(&f.o, &err));
    ck_assert_int_eq(f.o.n_taught, 1);
    ck_assert_double_eq(loss_of(&f), before);
    end(&f);
    begin(&f, "[attention, similarity]", LARGE, 0.6);
    ck_ok(lmb_objective_bind(&f.o, &err));
    before = loss_of(&f);
    f.o.rows = ROWS + 3;
    ck_assert_double_eq_tol(loss_of(&f), before, 1e-5 * before);
    end(&f);
}
END_TEST

START_TEST(layers_are_found_by_size)
{
    static fixture f;
    lmb_vid s[LMB_LESSON_PAIRS], t[LMB_LESSON_PAIRS];
    int n;

    begin(&f, "[attention]", LARGE, 0.6);
    ck_ok(lmb_objective_bind(&f.o, &err));
    ck_ok(lmb_lesson_pairs(&f.o.taught[0], f.student, f.teacher, s, t, &n, &err));
    ck_assert_int_eq(n, 2); /* 6 x 6 and 3 x 3; the teacher's 2 x 2 has no counterpart */
    ck_assert_int_eq(f.student->value[s[0]].shape.d[3], 6);
    ck_assert_int_eq(f.teacher->value[t[1]].shape.d[3], 3);
    ck_assert_str_eq(f.teacher->node[f.teacher->value[t[0]].node].op->name, "Relu"); /* the end of a stage */
    end(&f);
}
END_TEST

/* The second convolution's weights [3, 3, 3, 3] are computed, as by fake quantisation. The student has no map of 3 x 3,
 * the teacher has: the weights do not stand for one. */
START_TEST(weights_are_no_maps)
{
    static fixture f;
    lmb_vid s[LMB_LESSON_PAIRS], t[LMB_LESSON_PAIRS];
    lmb_graph *g;
    int n;

    begin(&f, "[attention]", LARGE, 0.6);
    ck_ok(lmb_objective_bind(&f.o, &err));
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 2, 6, 6), NULL),
            u = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "u", LMB_F32, LMB_SHAPE(3, 2, 3, 3), NULL),
            v = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "v", LMB_F32, LMB_SHAPE(3, 3, 3, 3), NULL),
            w = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w", LMB_F32, LMB_SHAPE(108, CLASSES), NULL);
    x = lmb_emit(&b, "Conv", "first", LMB_IN(x, u), LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1)));
    v = lmb_emit(&b, "Mul", "rounded", LMB_IN(v, lmb_emit_scalar(&b, 0.5f)), LMB_NO_ATTRS);
    x = lmb_emit(&b, "Conv", "second", LMB_IN(x, v), LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1)));
    lmb_vid y = lmb_emit(&b, "MatMul", "head", LMB_IN(lmb_emit(&b, "Flatten", NULL, LMB_IN(x), LMB_NO_ATTRS), w),
                         LMB_NO_ATTRS);
    lmb_emit_output(&b, "logits", y);
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_lesson_pairs(&f.o.taught[0], g, f.teacher, s, t, &n, &err));
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq(s[0], x);
    lmb_graph_destroy(g);
    end(&f);
}
END_TEST

static const struct {
    const char *losses, *says;
} refused[] = {
    { "[kll]", "t.yaml:1:2: a teacher has no loss 'kll'; it has kl, dkd, attention, similarity, hint, relational, "
               "contrastive (the labels' has the share 1 - alpha)" },
    { "[cross_entropy]", "t.yaml:1:2: a teacher has no loss 'cross_entropy'" },
    { "[]", "t.yaml:1:1: `losses` is a list of 1 to 8" },
    { "kl", "t.yaml:1:1: `losses` is a list of 1 to 8" },
    { "[{name: dkd, beta: 8}]", "t.yaml:1:14: there is no key 'beta' here; keys are: weight, target, others" },
    { "[{name: attention, student: x}]", "the loss 'attention' names a layer of one model alone" },
    { "[{name: similarity, student: x, teacher: y}]",
      "the loss 'similarity': the student computes no value named 'x'" },
};

START_TEST(what_can_not_be_is_refused_before_any_work)
{
    static fixture f;

    begin(&f, refused[_i].losses, LARGE, 0.6);
    lmb_status st = lmb_objective_bind(&f.o, &err);
    if (st == LMB_OK)
        st = lmb_objective_check(&f.o, f.student, &err);
    ck_assert_int_eq(st, LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, refused[_i].says) != NULL, "%s", err.msg);
    end(&f);
}
END_TEST

START_TEST(layers_need_a_teacher_that_runs_and_maps_of_one_size)
{
    static fixture f;

    begin(&f, "[kl, attention]", LARGE, 0.6);
    ck_ok(lmb_objective_bind(&f.o, &err));
    ck_assert(lmb_objective_looks_inside(&f.o));
    f.o.distill.cache = LMB_CACHE_TRUE;
    ck_assert_int_eq(lmb_objective_bind(&f.o, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "t.yaml:1:6: the loss 'attention' looks into the teacher, of which a file of logits "
                              "tells nothing: set cache: false and "
                              "precision: f32");
    err = (lmb_error)LMB_ERROR_INIT;
    f.o.distill.cache = LMB_CACHE_AUTO;
    f.o.distill.precision = LMB_TRAIN_BF16;
    ck_assert_int_eq(lmb_objective_bind(&f.o, &err), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "tells nothing") != NULL, "%s", err.msg);
    err = (lmb_error)LMB_ERROR_INIT;
    f.o.distill.cache = LMB_CACHE_FALSE;
    ck_assert_int_eq(lmb_objective_bind(&f.o, &err), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "precision=bf16 is of a teacher whose logits come from a file") != NULL, "%s",
                  err.msg);
    err = (lmb_error)LMB_ERROR_INIT;
    f.o.distill.cache = LMB_CACHE_AUTO;
    f.o.distill.precision = LMB_TRAIN_F32;
    f.o.distill.teachers = lmb_config_root(f.c);
    ck_assert_int_eq(lmb_objective_bind(&f.o, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg,
                     "t.yaml:1:6: the loss 'attention' looks into one teacher: give `teacher` in place of `teachers`");
    end(&f);
    begin(&f, "[attention]", "{name: mlp, hidden: [4], mean: 0, scale: 1}", 0.6);
    ck_ok(lmb_objective_bind(&f.o, &err));
    ck_assert_int_eq(lmb_objective_check(&f.o, f.student, &err), LMB_E_SHAPE);
    ck_assert_msg(strstr(err.msg, "finds no feature maps of equal height and width") != NULL, "%s", err.msg);
    end(&f);
}
END_TEST

LMB_TEST_MAIN("train/lesson", add_loop(answers_are_pytorchs, ANSWERS); add(gradients_are_differences);
              add(an_equal_teaches_nothing_and_asks_no_labels); add(without_labels_they_do_not_matter);
              add(kl_is_the_default_and_rows_do_not_matter); add(layers_are_found_by_size); add(weights_are_no_maps);
              add_loop(what_can_not_be_is_refused_before_any_work, (int)(sizeof refused / sizeof refused[0]));
              add(layers_need_a_teacher_that_runs_and_maps_of_one_size);)
