/* Mirrors federated/keep.c and federated/personal.c, through local training: what is kept is trained and never sent,
 * comes back in the next round and after a crash; samples held out are the same each time; a head of one's own changes
 * nothing that is sent. */
#include "federated/personal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "federated/local.h"
#include "tests/check_main.h"
#include "train/model.h"

enum { SAMPLES = 60, SIDE = 4 };
static lmb_error err;
static lmb_graph *model;
static lmb_state_layout *layout;
static lmb_str graph;
static float *sent;
static char memory[64], own[64];
static float gain; /* of this client's sensor */

/* Class 1 is brighter on the left. */
static lmb_status read_one(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *e)
{
    float *x = sample;
    (void)d, (void)e;
    *label = (int32_t)(index % 2);
    for (int i = 0; i < SIDE * SIDE; i++)
        x[i] = gain * (sinf((float)(index * 31 + i * i * 7)) + (i % SIDE < 2 && *label ? 1.5f : 0.0f));
    return LMB_OK;
}

static lmb_dataset data = { .n = SAMPLES, .dtype = LMB_F32, .classes = 2, .read = read_one };

static void set_up(void)
{
    static const char text[] =
        "{name: layers, mean: 0, scale: 1, layers: [{conv: {channels: 4, name: c1}}, {pool: max}, flatten, {dense: {name: top}}]}";
    lmb_config *yaml;

    err = (lmb_error)LMB_ERROR_INIT;
    gain = 1;
    data.shape = LMB_SHAPE(1, SIDE, SIDE);
    ck_ok(lmb_config_parse(text, strlen(text), "m.yaml", &yaml, &err));
    ck_ok(lmb_model_build(lmb_config_root(yaml), &data.shape, 2, 1, &model, &err));
    lmb_config_destroy(yaml);
    graph = (lmb_str)LMB_STR_INIT;
    ck_ok(lmb_onnx_export(model, NULL, &graph, &err));
    ck_ok(lmb_state_layout_create(model, &layout, &err));
    sent = malloc(layout->count * sizeof *sent);
    lmb_state_from_graph(layout, model, sent);
    snprintf(memory, sizeof memory, "/tmp/limbeck-personal-%d.bin", (int)getpid());
    snprintf(own, sizeof own, "/tmp/limbeck-personal-%d.onnx", (int)getpid());
    unlink(memory);
}

static void tear_down(void)
{
    unlink(memory);
    unlink(own);
    free(sent);
    lmb_str_free(&graph);
    lmb_state_layout_destroy(layout);
    lmb_graph_destroy(model);
}

#define TRAIN "train: {epochs: 2, batch: 10, lr: 0.05, threads: 1, optimizer: {name: sgd, momentum: 0}}"

static lmb_status train(lmb_local *l, const char *settings, uint64_t round, float *delta, lmb_figures *f)
{
    lmb_train_task task = { .round = round,
                            .model = sent,
                            .n = layout->count,
                            .layout = layout->hash,
                            .graph = graph.text,
                            .graph_bytes = graph.n,
                            .settings = settings };
    lmb_train_result r = { .delta = delta };
    lmb_status st = lmb_local_train(l, &data, &task, &r, memory, &err);
    if (f)
        *f = r.metrics;
    ck_assert(st != LMB_OK || r.examples == (strstr(settings, "validation") ? SAMPLES * 4 / 5 : SAMPLES));
    return st;
}

static double figure(const lmb_figures *f, const char *name)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (strcmp(f->row[i].name, name) == 0)
            return f->row[i].value;
    return NAN;
}

/* Sum of the sizes of a change, in what a BatchNormalization holds and elsewhere. */
static void sizes(const float *delta, double *norm, double *rest)
{
    *norm = *rest = 0;
    for (int k = 0; k < layout->n; k++)
        for (size_t i = 0; i < layout->segment[k].count; i++) {
            bool conv = strstr(layout->segment[k].name, "weight") != NULL && layout->segment[k].shape.n > 1;
            *(conv || strstr(layout->segment[k].name, "top") ? rest : norm) +=
                fabs((double)delta[layout->segment[k].offset + i]);
        }
}

START_TEST(what_is_kept_is_not_sent_and_comes_back)
{
    lmb_local *l, *anew;
    float *first, *second, *again;
    double norm, rest, plain;

    set_up();
    first = calloc(3 * layout->count, sizeof *first);
    second = first + layout->count;
    again = second + layout->count;
    ck_ok(lmb_local_create(&l, &err));
    ck_ok(train(l, "{" TRAIN "}", 1, first, NULL));
    sizes(first, &plain, &rest);
    ck_assert_double_gt(plain, 1e-4);
    ck_ok(train(l, "{keep: batch_norm, " TRAIN "}", 1, first, NULL));
    sizes(first, &norm, &rest);
    ck_assert_double_eq(norm, 0);
    ck_assert_double_gt(rest, 1e-3);
    ck_ok(train(l, "{keep: batch_norm, " TRAIN "}", 2, second, NULL));
    ck_ok(lmb_local_create(&anew, &err)); /* killed, and asked for round 2 once more */
    ck_ok(train(anew, "{keep: batch_norm, " TRAIN "}", 2, again, NULL));
    ck_assert_mem_eq(second, again, layout->count * sizeof *again);
    unlink(memory); /* without what was kept round 2 is another one */
    ck_ok(train(anew, "{keep: batch_norm, " TRAIN "}", 2, again, NULL));
    ck_assert_mem_ne(second, again, layout->count * sizeof *again);
    ck_ok(lmb_local_own(anew, own, &err));
    ck_assert_int_eq(access(own, R_OK), 0);
    lmb_local_destroy(l);
    lmb_local_destroy(anew);
    free(first);
    tear_down();
}
END_TEST

START_TEST(patterns_name_numbers)
{
    lmb_local *l;
    float *delta;

    set_up();
    delta = calloc(layout->count, sizeof *delta);
    ck_ok(lmb_local_create(&l, &err));
    ck_ok(train(l, "{keep: ['top*'], " TRAIN "}", 1, delta, NULL));
    for (int k = 0; k < layout->n; k++)
        for (size_t i = 0; strncmp(layout->segment[k].name, "top", 3) == 0 && i < layout->segment[k].count; i++)
            ck_assert_float_eq(delta[layout->segment[k].offset + i], 0);
    ck_assert_int_eq(train(l, "{keep: [batch_norm, nothing], " TRAIN "}", 1, delta, NULL), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "named by 'nothing'"));
    lmb_local_destroy(l);
    free(delta);
    tear_down();
}
END_TEST

/* The model that came is told of, not the trained one; the head's training leaves what is sent as it was. */
START_TEST(held_out_samples_and_a_head)
{
    lmb_local *l;
    float *plain, *delta;
    lmb_figures one, two;

    set_up();
    plain = calloc(2 * layout->count, sizeof *plain);
    delta = plain + layout->count;
    ck_ok(lmb_local_create(&l, &err));
    ck_ok(train(l, "{validation: 0.2, " TRAIN "}", 1, plain, &one));
    ck_assert(figure(&one, "valid_accuracy") >= 0 && figure(&one, "valid_loss") > 0);
    ck_assert(isnan(figure(&one, "personal_accuracy")));
    for (int turn = 0; turn < 2; turn++) { /* the second with compiled plans, which must not matter */
        ck_ok(train(l, "{validation: 0.2, personal: {head: 30, lr: 0.2}, " TRAIN "}", 1, delta, &two));
        ck_assert_mem_eq(plain, delta, layout->count * sizeof *delta);
        ck_assert_double_eq(figure(&one, "valid_accuracy"), figure(&two, "valid_accuracy"));
        ck_assert_double_ge(figure(&two, "personal_accuracy"), figure(&two, "valid_accuracy"));
        ck_assert_double_ge(figure(&two, "personal_accuracy"), 0.75);
    }
    ck_ok(lmb_local_own(l, own, &err));
    lmb_graph *read;
    ck_ok(lmb_onnx_read(own, NULL, &read, &err));
    lmb_state_layout *l2;
    ck_ok(lmb_state_layout_create(read, &l2, &err));
    float *mine = malloc(l2->count * sizeof *mine);
    lmb_state_from_graph(l2, read, mine);
    for (int k = 0; k < layout->n; k++) { /* the head alone has moved */
        const lmb_segment *from = &layout->segment[k], *to = lmb_state_find(l2, from->name);
        ck_assert_ptr_nonnull(to);
        ck_assert_int_eq(memcmp(mine + to->offset, sent + from->offset, from->count * sizeof *mine) != 0,
                         strncmp(from->name, "top", 3) == 0);
    }
    lmb_state_layout_destroy(l2);
    free(mine);
    lmb_graph_destroy(read);
    lmb_local_destroy(l);
    free(plain);
    tear_down();
}
END_TEST

/* The plans of a head are compiled once; another round's numbers below it, and another client's samples, are what it is
 * trained on. */
START_TEST(a_head_is_of_the_round_it_is_trained_in)
{
    static const char text[] = "{validation: 0.2, personal: {head: 5, lr: 0.2}, " TRAIN "}";
    lmb_local *used, *anew;
    lmb_figures f, g;
    float *delta;
    lmb_hash left[2];

    set_up();
    delta = calloc(layout->count, sizeof *delta);
    ck_ok(lmb_local_create(&used, &err));
    ck_ok(lmb_local_create(&anew, &err));
    ck_ok(train(used, text, 1, delta, NULL));
    for (size_t i = 0; i < layout->count; i++)
        sent[i] += delta[i] + 0.01f * (float)(i % 5);
    gain = 0.5f;
    for (int k = 0; k < 2; k++) {
        size_t bytes;
        void *file;
        ck_ok(train(k ? anew : used, text, 2, delta, k ? &g : &f));
        ck_ok(lmb_local_own(k ? anew : used, own, &err));
        ck_ok(lmb_file_read(own, 1 << 20, &file, &bytes, &err));
        left[k] = lmb_hash_of(file, bytes);
        free(file);
    }
    ck_assert_double_eq(figure(&f, "personal_accuracy"), figure(&g, "personal_accuracy"));
    ck_assert_mem_eq(&left[0], &left[1], sizeof left[0]);
    lmb_local_destroy(used);
    lmb_local_destroy(anew);
    free(delta);
    tear_down();
}
END_TEST

START_TEST(settings_that_can_not_be)
{
    static const struct { const char *text, *says; } cases[] = {
        { "{personal: {head: 2}}", "set local.validation" },
        { "{keep: {a: 1}}", "keep" },
        { "{validation: 1}", "validation" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lmb_config *yaml;
        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_config_parse(cases[i].text, strlen(cases[i].text), "t.yaml", &yaml, &err));
        ck_assert_int_eq(lmb_local_check(lmb_config_root(yaml), NULL, &err), LMB_E_ARG);
        ck_assert_msg(strstr(err.msg, cases[i].says) != NULL, "%s", err.msg);
        lmb_config_destroy(yaml);
    }
}
END_TEST

LMB_TEST_MAIN("federated/personal", add(what_is_kept_is_not_sent_and_comes_back); add(patterns_name_numbers);
              add(held_out_samples_and_a_head); add(a_head_is_of_the_round_it_is_trained_in);
              add(settings_that_can_not_be);)
