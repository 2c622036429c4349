/* Mirrors train.precision: a step in bf16 converts at its ends only, learns, and ends in the same bits on any number of
 * threads; a teacher answers in f32; fake quantisation is refused. */
#include <stdlib.h>
#include <string.h>

#include "core/passes/rewrite.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/trainer.h"

static lmb_error err;
static const lmb_shape shape = { 3, { 3, 32, 32 } };

static bool is_map(const lmb_plan_step *s) { return s->shape.n == 4 && s->shape.d[2] * s->shape.d[3] > 1; }

/* The input is centred and normalised in f32; all feature maps and their gradients after it are bf16. */
START_TEST(a_step_converts_once)
{
    static const char *const models[] = { "{name: resnet, depth: 8}", "{name: lenet}",
                                          "{name: mobilenet_v2, width: 0.5}", "{name: vgg, channels: [16, 0, 32, 0]}" };
    const lmb_backend *list[LMB_CPU_BACKENDS];
    double smoothing = 0;
    const lmb_loss loss = { lmb_loss_cross_entropy, &smoothing, NULL };
    lmb_program *p;
    const lmb_plan *plan;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_cpu_backends_bf16("cpu", list, &err));
    lmb_graph *g = graph_of(models[_i], shape, 10, 3);
    ck_ok(lmb_program_create(g, &loss, list, &p, &err));
    ck_ok(lmb_program_plan(p, 8, false, &plan, &err));
    bool begun = false;
    int left = 0;
    for (int i = 0; i < lmb_plan_steps(plan); i++) {
        lmb_plan_step s = lmb_plan_step_at(plan, i);
        begun |= strcmp(s.kernel, "layout+cast") == 0;
        bool weights = s.op && strcmp(s.op, "ConvGradWeights") == 0;
        if (begun && s.op && is_map(&s) && !weights && s.dtype != LMB_BF16) {
            printf("%s: step %d %s %s is f32\n", models[_i], i, s.kernel, s.node);
            left++;
        }
    }
    ck_assert_int_eq(left, 0);
    /* LeNet flattens its maps to rows of features: there, and where their gradient comes back */
    ck_assert_int_eq(lmb_plan_describe(plan).conversions, _i == 1 ? 3 : 1);
    lmb_program_destroy(p);
    lmb_graph_destroy(g);
}
END_TEST

typedef struct result { float *state; size_t n; double accuracy; } result;

static result train(const lmb_graph *model, const lmb_dataset *data, const char *text)
{
    lmb_config *c = config_of(text);
    lmb_train_config o;
    lmb_trainer *t;
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing, NULL };
    lmb_metrics m;
    result r;

    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &o, &err));
    ck_ok(lmb_trainer_create(&o, model, &loss, data, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, NULL, &err));
    lmb_trainer_state *s = lmb_trainer_state_of(t);
    r.n = s->layout->count * sizeof *r.state;
    r.state = malloc(r.n);
    memcpy(r.state, s->state, r.n);
    ck_ok(lmb_metrics_init(&m, data->classes, &err));
    ck_ok(lmb_evaluate(model, s->state, data, "cpu", 2, &m, &err));
    r.accuracy = lmb_metrics_accuracy(&m);
    lmb_metrics_deinit(&m);
    lmb_trainer_destroy(t);
    lmb_config_destroy(c);
    return r;
}

START_TEST(it_learns_the_same_bits_on_any_number_of_threads)
{
#define OPTIONS "epochs: 6, batch: 64, shard: 16, lr: 0.1, schedule: cosine"
    static const char *const text[] = { "{" OPTIONS ", threads: 1, precision: bf16}",
                                        "{" OPTIONS ", threads: 2, precision: bf16}",
                                        "{" OPTIONS ", threads: 4, precision: bf16}", "{" OPTIONS ", threads: 2}" };
    result r[4];

    err = (lmb_error)LMB_ERROR_INIT;
    lmb_dataset *data =
        dataset_of("{name: synthetic, train: 300, classes: 4, height: 8, width: 8, noise: 0.4}", LMB_PART_TRAIN);
    lmb_graph *model = model_of("{name: resnet, depth: 8}", data, 3);
    for (int i = 0; i < 4; i++)
        r[i] = train(model, data, text[i]);
    ck_assert_double_gt(r[0].accuracy, 0.9);
    ck_assert_int_eq(memcmp(r[0].state, r[1].state, r[0].n), 0);
    ck_assert_int_eq(memcmp(r[0].state, r[2].state, r[0].n), 0);
    ck_assert_int_ne(memcmp(r[0].state, r[3].state, r[0].n), 0); /* is it bf16 at all? */
    for (int i = 0; i < 4; i++)
        free(r[i].state);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
}
END_TEST

/* Its logits are the same bits, live in a bf16 training or from a file that a predictor has filled. */
START_TEST(a_teacher_answers_in_f32)
{
    const lmb_backend *list[LMB_CPU_BACKENDS];
    lmb_objective o = { .distill = { .alpha = 0.5, .temperature = 2 } };
    lmb_program *p;
    const lmb_plan *plan;
    int reduced = 0, exact = 0;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_cpu_backends_bf16("cpu", list, &err));
    lmb_graph *student = graph_of("{name: resnet, depth: 8}", shape, 10, 3);
    lmb_graph *teacher = graph_of("{name: resnet, depth: 14}", shape, 10, 3);
    o.teacher = teacher;
    const lmb_loss loss = lmb_objective_loss(&o);
    ck_ok(lmb_program_create(student, &loss, list, &p, &err));
    ck_ok(lmb_program_plan(p, 4, false, &plan, &err));
    for (int i = 0; i < lmb_plan_steps(plan); i++) {
        lmb_plan_step s = lmb_plan_step_at(plan, i);
        bool conv = s.op && (strcmp(s.op, "Conv") == 0 || strcmp(s.op, "ConvAct") == 0);
        reduced += conv && s.dtype == LMB_BF16;
        exact += conv && s.dtype == LMB_F32;
    }
    ck_assert_int_eq(reduced, 9); /* 7 and 2 shortcuts */
    ck_assert_int_eq(exact, 15);  /* 13 and 2          */
    lmb_program_destroy(p);
    lmb_graph_destroy(student);
    lmb_graph_destroy(teacher);
}
END_TEST

START_TEST(fake_quantisation_is_refused)
{
    lmb_config *c = config_of("{precision: bf16}");
    lmb_dataset *data = dataset_of("{name: synthetic, train: 30, classes: 4, height: 8, width: 8}", LMB_PART_TRAIN);
    lmb_train_config o;
    lmb_trainer *t = NULL;
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing, NULL };

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &o, &err));
    lmb_graph *g = model_of("{name: mlp, hidden: [8]}", data, 3);
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_emit(&b, "FakeQuant", "fake", LMB_IN(g->output[0].value, lmb_emit_scalar(&b, 0.1f), lmb_emit_scalar(&b, 3)),
             LMB_NO_ATTRS);
    ck_ok(lmb_builder_status(&b));
    ck_assert_int_eq(lmb_trainer_create(&o, g, &loss, data, NULL, NULL, &t, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "node fake"));
    ck_assert_ptr_nonnull(strstr(err.msg, "train.precision=f32"));
    lmb_graph_destroy(g);
    lmb_dataset_destroy(data);
    lmb_config_destroy(c);
}
END_TEST

static bool has_bf16(void)
{
    const lmb_backend *list[LMB_CPU_BACKENDS];
    bool has = lmb_cpu_backends_bf16("cpu", list, &err) == LMB_OK;

    if (!has)
        printf("skipped: %s\n", err.msg);
    return has;
}

LMB_TEST_MAIN_IF("train/precision", has_bf16(), add_loop(a_step_converts_once, 4);
                 add(it_learns_the_same_bits_on_any_number_of_threads); add(a_teacher_answers_in_f32);
                 add(fake_quantisation_is_refused);)
