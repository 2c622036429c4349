/* Mirrors distill/ensemble.c: specialists who each know one half of the classes teach a student both, without a
 * label. */
#include "distill/ensemble.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/graph/state.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"

enum { SAMPLES = 200, SIDE = 4, CLASSES = 4 };
static lmb_error err;
static bool labels_are_wrong;

/* Class k is a bright quarter of the picture. */
static lmb_status read_one(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *e)
{
    float *x = sample;
    int k = (int)(index % CLASSES);
    (void)d, (void)e;
    *label = labels_are_wrong ? 0 : k;
    for (int i = 0; i < SIDE * SIDE; i++)
        x[i] = sinf((float)(index * 37 + i * i * 5)) +
               ((i % SIDE < 2) == (k % 2) && (i / SIDE < 2) == (k / 2) ? 2.0f : 0.0f);
    return LMB_OK;
}

/* Samples of the classes from `lo` on, two of them. */
static lmb_status read_two(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *e)
{
    return read_one(d, index / 2 * CLASSES + *(const int *)d->state + index % 2, sample, label, e);
}

static lmb_graph *build(const char *text)
{
    return graph_of(text, LMB_SHAPE(1, SIDE, SIDE), CLASSES, 1);
}

static void configure(lmb_train_config *c, int64_t epochs, lmb_config **yaml)
{
    static const char text[] = "{batch: 20, lr: 0.1, threads: 1, optimizer: {name: sgd, momentum: 0.9}}";
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", yaml, &err));
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(*yaml), c, &err));
    c->epochs = epochs;
}

static double accuracy(const lmb_graph *g, const float *state, const lmb_dataset *d)
{
    lmb_metrics m;
    ck_ok(lmb_metrics_init(&m, CLASSES, &err));
    ck_ok(lmb_evaluate(g, state, d, "cpu", 1, &m, &err));
    double a = lmb_metrics_accuracy(&m);
    lmb_metrics_deinit(&m);
    return a;
}

static float *specialist(const lmb_graph *g, const lmb_state_layout *l, int from)
{
    lmb_dataset half = { .n = SAMPLES / 2,
                         .shape = LMB_SHAPE(1, SIDE, SIDE),
                         .dtype = LMB_F32,
                         .classes = CLASSES,
                         .read = read_two,
                         .state = &from };
    lmb_loss ce = { .build = lmb_loss_cross_entropy, .ctx = &(double){ 0 } };
    float *state = malloc(l->count * sizeof *state);
    lmb_train_config c;
    lmb_config *yaml;
    lmb_trainer *t;

    configure(&c, 10, &yaml);
    ck_ok(lmb_trainer_create(&c, g, &ce, &half, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, NULL, &err));
    memcpy(state, lmb_trainer_result(t), l->count * sizeof *state);
    lmb_trainer_destroy(t);
    lmb_config_destroy(yaml);
    return state;
}

START_TEST(specialists_of_two_architectures_teach_a_student)
{
    lmb_dataset all = {
        .n = SAMPLES, .shape = LMB_SHAPE(1, SIDE, SIDE), .dtype = LMB_F32, .classes = CLASSES, .read = read_one
    };
    lmb_graph *a = build("{name: mlp, hidden: [16], mean: 0, scale: 1}"),
              *b = build("{name: mlp, hidden: [24, 8], mean: 0, scale: 1}");
    lmb_state_layout *la, *lb;
    lmb_train_config c;
    lmb_config *yaml;
    lmb_ensemble *e;
    double loss;

    err = (lmb_error)LMB_ERROR_INIT;
    labels_are_wrong = false;
    ck_ok(lmb_state_layout_create(a, &la, &err));
    ck_ok(lmb_state_layout_create(b, &lb, &err));
    float *first = specialist(a, la, 0), *second = specialist(b, lb, 2);
    float *student = malloc(la->count * sizeof *student), *again = malloc(la->count * sizeof *student);
    ck_assert_double_le(accuracy(a, first, &all), 0.55);
    ck_assert_double_le(accuracy(b, second, &all), 0.55);
    configure(&c, 30, &yaml);
    labels_are_wrong = true; /* they must not matter */
    ck_ok(lmb_ensemble_create(&all, CLASSES, &e, &err));
    ck_assert_int_eq(lmb_ensemble_teach(e, &c, 1, a, student, NULL, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    for (int turn = 0; turn < 2; turn++) {
        lmb_ensemble_begin(e);
        ck_ok(lmb_ensemble_add(e, a, first, &err));
        ck_ok(lmb_ensemble_add(e, b, second, &err));
        ck_ok(lmb_ensemble_teach(e, &c, 1, a, turn ? again : student, &loss, &err));
    }
    ck_assert_mem_eq(student, again, la->count * sizeof *student);
    labels_are_wrong = false;
    ck_assert_double_ge(accuracy(a, student, &all), 0.8);
    lmb_ensemble_destroy(e);
    lmb_config_destroy(yaml);
    free(first);
    free(second);
    free(student);
    free(again);
    lmb_state_layout_destroy(la);
    lmb_state_layout_destroy(lb);
    lmb_graph_destroy(a);
    lmb_graph_destroy(b);
}
END_TEST

/* Two ensembles that exchange what their members said are one of both. */
START_TEST(answers_travel_in_files)
{
    lmb_dataset all = { .n = SAMPLES,
                        .shape = LMB_SHAPE(1, SIDE, SIDE),
                        .dtype = LMB_F32,
                        .classes = CLASSES,
                        .read = read_one },
                fewer = all;
    lmb_graph *a = build("{name: mlp, hidden: [16], mean: 0, scale: 1}"),
              *b = build("{name: mlp, hidden: [24, 8], mean: 0, scale: 1}");
    lmb_state_layout *l;
    lmb_train_config c;
    lmb_config *yaml;
    lmb_ensemble *one, *two, *less;
    char dir[] = "/tmp/limbeck-ensemble-XXXXXX", path[64], command[80];

    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/b.logits", dir);
    configure(&c, 2, &yaml);
    ck_ok(lmb_state_layout_create(a, &l, &err));
    float *whole = malloc(l->count * sizeof *whole), *apart = malloc(l->count * sizeof *whole);
    ck_ok(lmb_ensemble_create(&all, CLASSES, &one, &err));
    ck_ok(lmb_ensemble_create(&all, CLASSES, &two, &err));
    ck_ok(lmb_ensemble_add(one, a, NULL, &err));
    ck_ok(lmb_ensemble_add(one, b, NULL, &err));
    ck_ok(lmb_ensemble_teach(one, &c, 1, a, whole, NULL, &err));
    lmb_ensemble_begin(one);
    ck_ok(lmb_ensemble_add(one, a, NULL, &err));
    ck_ok(lmb_ensemble_add(two, b, NULL, &err));
    ck_ok(lmb_ensemble_leave(two, path, &err));
    ck_ok(lmb_ensemble_join(one, dir, NULL, &err));
    ck_ok(lmb_ensemble_join(one, dir, "b.logits", &err)); /* its own: not twice */
    ck_ok(lmb_ensemble_teach(one, &c, 1, a, apart, NULL, &err));
    ck_assert_mem_eq(whole, apart, l->count * sizeof *whole);
    fewer.n = SAMPLES - 1;
    ck_ok(lmb_ensemble_create(&fewer, CLASSES, &less, &err));
    ck_assert_int_ne(lmb_ensemble_join(less, dir, NULL, &err), LMB_OK);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(truncate(path, 100), 0);
    ck_assert_int_eq(lmb_ensemble_join(two, dir, NULL, &err), LMB_E_FORMAT);
    snprintf(command, sizeof command, "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
    free(whole);
    free(apart);
    lmb_ensemble_destroy(one);
    lmb_ensemble_destroy(two);
    lmb_ensemble_destroy(less);
    lmb_config_destroy(yaml);
    lmb_state_layout_destroy(l);
    lmb_graph_destroy(a);
    lmb_graph_destroy(b);
}
END_TEST

START_TEST(those_who_do_not_fit_are_no_members)
{
    lmb_dataset all = {
        .n = SAMPLES, .shape = LMB_SHAPE(1, SIDE, SIDE), .dtype = LMB_F32, .classes = CLASSES, .read = read_one
    };
    lmb_graph *a = build("{name: mlp, hidden: [16], mean: 0, scale: 1}");
    lmb_state_layout *l;
    lmb_ensemble *e;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_state_layout_create(a, &l, &err));
    float *state = malloc(l->count * sizeof *state);
    lmb_state_from_graph(l, a, state);
    ck_ok(lmb_ensemble_create(&all, CLASSES + 1, &e, &err));
    ck_assert_int_eq(lmb_ensemble_add(e, a, state, &err), LMB_E_SHAPE);
    lmb_ensemble_destroy(e);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_ensemble_create(&all, CLASSES, &e, &err));
    state[l->count - 1] = INFINITY;
    ck_assert_int_eq(lmb_ensemble_add(e, a, state, &err), LMB_E_NUMERIC);
    lmb_ensemble_destroy(e);
    free(state);
    lmb_state_layout_destroy(l);
    lmb_graph_destroy(a);
}
END_TEST

LMB_TEST_MAIN("distill/ensemble", add(specialists_of_two_architectures_teach_a_student); add(answers_travel_in_files);
              add(those_who_do_not_fit_are_no_members);)
