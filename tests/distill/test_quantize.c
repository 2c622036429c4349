/* Mirrors core/passes/fold.c and distill/quantize: folding changes no answer; a quantised student lowered to integers
 * answers as its simulation does, to the bit on every kernel set. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/cpu.h"
#include "core/onnx/onnx.h"
#include "core/passes/fold.h"
#include "core/passes/rewrite.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/qdq.h"
#include "distill/quantize/qat.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/predictor.h"
#include "train/trainer.h"

static lmb_error err;
static lmb_dataset *data;
static const lmb_backend *backends[3];

static const char *const models[] = {
    "{name: resnet, depth: 8, width: 5, mean: 100, scale: 0.02}",
    "{name: mobilenet_v1, width: 0.1, mean: 128, scale: 0.02}",
    "{name: mobilenet_v2, width: 0.1, mean: 90, scale: 0.02}",
    "{name: lenet, mean: 73, scale: 0.02}",
    "{name: vgg, channels: [6, 0, 9], mean: 0, scale: 0.01}",
    "{name: mlp, hidden: [20], mean: 5, scale: 0.01}",
};

/* A briefly trained model, so that BatchNormalization has statistics of its own. */
static lmb_graph *trained(const lmb_graph *start, const char *settings, lmb_graph *into)
{
    lmb_config *c = config_of(settings);
    lmb_train_config o;
    lmb_trainer *t;
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_state_layout *l;

    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &o, &err));
    ck_ok(lmb_trainer_create(&o, start, &loss, data, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, NULL, &err));
    ck_ok(lmb_state_layout_create(into, &l, &err));
    ck_ok(lmb_state_to_graph(l, lmb_trainer_state_of(t)->state, into, &err));
    lmb_state_layout_destroy(l);
    lmb_trainer_destroy(t);
    lmb_config_destroy(c);
    return into;
}

static lmb_graph *set_up(int which)
{
    lmb_graph *model;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_cpu_backends("cpu", backends, &err));
    data = dataset_of("{name: synthetic, train: 200, classes: 4, height: 16, width: 16, noise: 0.4}", LMB_PART_TRAIN);
    model = model_of(models[which], data, 5);
    return trained(model, "{epochs: 2, batch: 50, lr: 0.02, threads: 1}", model);
}

static float *samples(void)
{
    int64_t n = lmb_shape_count(&data->shape);
    float *x = malloc(sizeof *x * (size_t)(data->n * n));
    uint8_t *raw = malloc((size_t)n);
    int32_t label;

    for (int64_t i = 0; i < data->n; i++) {
        ck_ok(data->read(data, i, raw, &label, &err));
        for (int64_t k = 0; k < n; k++)
            x[i * n + k] = raw[k];
    }
    free(raw);
    return x;
}

/* Logits of the whole data set, [n, classes]; the caller's. */
static float *logits_of(const lmb_graph *g)
{
    lmb_predictor *p;
    const float *y;
    float *x = samples(), *all = malloc(sizeof *all * (size_t)(data->n * data->classes));

    ck_ok(lmb_predictor_create(g, NULL, backends, data->n, &p, &err));
    ck_ok(lmb_predictor_run(p, x, data->n, &y, &err));
    memcpy(all, y, sizeof *all * (size_t)(data->n * data->classes));
    lmb_predictor_destroy(p);
    free(x);
    return all;
}

/* The same by reference kernels, nothing folded, fused or prepared. */
static float *plain_logits_of(const lmb_graph *g)
{
    const lmb_plan_options o = { .no_fusion = true };
    float *x = samples(), *all = malloc(sizeof *all * (size_t)(data->n * data->classes));
    lmb_graph *form;
    lmb_plan *p;

    ck_ok(lmb_pass_infer_form(g, data->n, &form, &err));
    ck_ok(lmb_plan_compile(form, &o, &p, &err));
    ck_ok(lmb_plan_bind(p, lmb_graph_input(form, 0), x, &err));
    ck_ok(lmb_plan_run(p, NULL, &err));
    memcpy(all, lmb_plan_data(p, form->output[0].value), sizeof *all * (size_t)(data->n * data->classes));
    lmb_plan_destroy(p);
    lmb_graph_destroy(form);
    free(x);
    return all;
}

START_TEST(folding_changes_no_answer)
{
    lmb_graph *model = set_up(_i), *folded;
    ck_ok(lmb_pass_fold(model, &folded, &err));
    for (int i = 0; i < folded->n_nodes; i++)
        ck_assert_str_ne(folded->node[i].op->name, "BatchNormalization");
    lmb_graph *deployed;
    ck_ok(lmb_pass_deploy(model, NULL, 1, &deployed, &err));
    for (int i = 0; i < deployed->n_nodes; i++) {
        ck_assert_str_ne(deployed->node[i].op->name, "BatchNormalization");
        ck_assert(_i == 5 ||
                  strcmp(deployed->node[i].op->name, "Mul") != 0); /* the mlp has no convolution to take it in */
    }
    lmb_graph_destroy(deployed);
    float *a = plain_logits_of(model), *b = plain_logits_of(folded), *c = logits_of(model);
    for (int64_t i = 0; i < data->n * data->classes; i++)
        ck_assert_msg(fabsf(a[i] - b[i]) <= 2e-4f * (1 + fabsf(a[i])), "logit %d: %g, folded %g", (int)i, (double)a[i],
                      (double)b[i]);
    for (int64_t i = 0; i < data->n * data->classes; i++)
        ck_assert_msg(fabsf(a[i] - c[i]) <= 2e-4f * (1 + fabsf(a[i])), "logit %d: %g, predicted %g", (int)i,
                      (double)a[i], (double)c[i]);
    free(a);
    free(b);
    free(c);
    lmb_graph_destroy(model);
    lmb_graph_destroy(folded);
    lmb_dataset_destroy(data);
}
END_TEST

/* The QDQ graph and its ONNX file are the same model: read back, the file lowers to the same bytes. */
static void lower_both_ways(const lmb_graph *frozen, lmb_str *file)
{
    const lmb_onnx_export_options strict = { .strict = true };
    lmb_str onnx = LMB_STR_INIT, again = LMB_STR_INIT;
    lmb_graph *qdq, *back;

    ck_ok(lmb_pass_qdq(frozen, &qdq, &err));
    ck_assert(lmb_is_qdq(qdq) && !lmb_is_qdq(frozen));
    for (int v = 0; v < qdq->n_values; v++)
        ck_assert(!lmb_role_is_state(qdq->value[v].role)); /* no float weight is left */
    ck_ok(lmb_lower(qdq, file, &err));
    ck_ok(lmb_onnx_export(qdq, &strict, &onnx, &err));
    ck_ok(lmb_onnx_import(onnx.text, onnx.n, NULL, &back, &err));
    ck_ok(lmb_lower(back, &again, &err));
    ck_assert_uint_eq(file->n, again.n);
    ck_assert_mem_eq(file->text, again.text, again.n);
    lmb_graph_destroy(qdq);
    lmb_graph_destroy(back);
    lmb_str_free(&onnx);
    lmb_str_free(&again);
}

START_TEST(integers_answer_as_their_simulation)
{
    lmb_graph *model = set_up(_i), *folded, *qat, *frozen;
    lmb_qat_config c = { .momentum = 0.9 };
    lmb_str file = LMB_STR_INIT;
    lmb_metrics m;
    int64_t count = data->n * data->classes, off = 0, flips = 0;
    float *scalar = malloc(sizeof *scalar * (size_t)count), *best = malloc(sizeof *best * (size_t)count), step = 1e9f,
          top = 0;

    ck_ok(lmb_pass_fold(model, &folded, &err));
    ck_ok(lmb_pass_qat(folded, &c, &qat, &err));
    ck_assert_int_eq(lmb_pass_qat_freeze(qat, &frozen, &err), LMB_E_ARG); /* nothing seen yet */
    err = (lmb_error)LMB_ERROR_INIT;
    trained(qat, "{epochs: 1, batch: 50, lr: 0.0005, threads: 1}", qat);
    ck_ok(lmb_pass_qat_freeze(qat, &frozen, &err));
    lower_both_ways(frozen, &file);
    float *simulated = logits_of(frozen);
    ck_ok(lmb_metrics_init(&m, data->classes, &err));
    ck_ok(lmb_deploy_evaluate(file.text, file.n, data, "scalar", 2, &m, scalar, NULL, &err));
    ck_ok(lmb_deploy_evaluate(file.text, file.n, data, NULL, 1, &m, best, NULL, &err));
    ck_assert_mem_eq(scalar, best, sizeof *scalar * (size_t)count);
    for (int64_t i = 0; i < count; i++) { /* the step between two logits is their scale */
        top = fmaxf(top, fabsf(scalar[i]));
        float d = fabsf(scalar[i] - scalar[0]);
        if (d > 0)
            step = fminf(step, d);
    }
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += fabsf(scalar[i] - simulated[i]) / step;
    for (int64_t i = 0; i < count; i++)
        off += fabsf(scalar[i] - simulated[i]) > 2.5f * step;
    for (int64_t i = 0; i < data->n; i++)
        flips += lmb_argmax(scalar + i * data->classes, data->classes) !=
                 lmb_argmax(simulated + i * data->classes, data->classes);
    /* The simulation rounds reals, the integers round once an operator: a step here and there, which depth multiplies
     * (27 and 52 layers in the MobileNets). A wrong scale, shift or clamp would be half the range. */
    bool deep = strncmp(models[_i], "{name: mobilenet", 16) == 0;
    ck_assert_double_le(sum / (double)count, 0.06 * (double)(top / step));
    ck_assert_msg(deep || off * 50 <= count, "%d of %d logits differ by more than two steps of %g (largest %g)",
                  (int)off, (int)count, (double)step, (double)top);
    ck_assert_int_le(flips * (deep ? 5 : 20), data->n);
    lmb_metrics_deinit(&m);
    lmb_str_free(&file);
    free(scalar);
    free(best);
    free(simulated);
    lmb_graph_destroy(model);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(qat);
    lmb_graph_destroy(frozen);
    lmb_dataset_destroy(data);
}
END_TEST

/* The first convolution's row 0 (where its weights are not rounded yet) and bias. */
static void set_row(lmb_graph *g, float weight, float bias)
{
    const lmb_node *conv = g->node;
    while (strcmp(conv->op->name, "Conv") != 0)
        conv++;
    const lmb_value *w = &g->value[conv->in[1]];
    for (int64_t i = 0; w->data && i < lmb_shape_count(&w->shape) / w->shape.d[0]; i++)
        ((float *)w->data)[i] = weight;
    *(float *)g->value[conv->in[2]].data = bias;
}

/* Weights that are all but zero, with a bias of 3 that their scale could not hold. */
START_TEST(a_channel_that_has_died_keeps_its_bias)
{
    for (int k = 0; k < 4; k++) {
        lmb_graph *model = set_up(4), *folded, *qat, *frozen, *qdq = NULL;
        lmb_qat_config c = { .momentum = 0.9, .scales = k == 2 ? LMB_QAT_POWER_OF_TWO : LMB_QAT_ANY_SCALE };
        lmb_str file = LMB_STR_INIT;
        int e;

        ck_ok(lmb_pass_fold(model, &folded, &err));
        set_row(folded, 1e-13f, 3);
        ck_ok(lmb_pass_qat(folded, &c, &qat, &err));
        trained(qat, "{epochs: 1, batch: 50, lr: 1.0e-12, threads: 1}", qat);
        ck_ok(lmb_pass_qat_freeze(qat, &frozen, &err));
        if (k == 1 || k == 3) {
            set_row(frozen, 0, k == 1 ? NAN : 1e20f);
            ck_assert_int_eq(lmb_pass_qdq(frozen, &qdq, &err), LMB_E_UNSUPPORTED);
            ck_assert_ptr_nonnull(strstr(err.msg, "a bias is too large for the scales of its layer, or no number"));
        } else {
            lower_both_ways(frozen, &file);
            ck_ok(lmb_pass_qdq(frozen, &qdq, &err));
            float *simulated = logits_of(frozen), *integers = logits_of(qdq);
            for (int64_t i = 0; i < data->n * data->classes; i++)
                ck_assert_msg(fabsf(simulated[i] - integers[i]) <= 0.2f, "logit %d: %g, of integers %g", (int)i,
                              (double)simulated[i], (double)integers[i]);
            for (int v = 0; k == 2 && v < qdq->n_values; v++)
                if (strstr(qdq->value[v].name, ".weight_scale"))
                    for (int64_t i = 0; i < lmb_shape_count(&qdq->value[v].shape); i++)
                        ck_assert_float_eq(frexpf(((const float *)qdq->value[v].data)[i], &e), 0.5f);
            free(simulated);
            free(integers);
        }
        lmb_str_free(&file);
        lmb_graph_destroy(model);
        lmb_graph_destroy(folded);
        lmb_graph_destroy(qat);
        lmb_graph_destroy(frozen);
        lmb_graph_destroy(qdq);
        lmb_dataset_destroy(data);
    }
}
END_TEST

static const struct refusal { const char *model; lmb_shape sample; const char *qat, *qdq;
} refusals[] = {
    { "{name: vgg, channels: [6], activation: hardswish, mean: 0}",
      { 3, { 1, 8, 8 } },
      "BatchNormalization has no integer form",
      "" },
    { "{name: mlp, hidden: [6], mean: 72.9}",
      { 3, { 1, 8, 8 } },
      "the mean 72.9 must be a whole number",
      "a whole number" },
    { "{name: mlp, hidden: [6], mean: 0}", { 2, { 6, 20 } }, "only images become integers", "" },
};

START_TEST(what_has_no_integer_form_is_named)
{
    const struct refusal *no = &refusals[_i];
    lmb_graph *qat = NULL;
    lmb_qat_config c = { .momentum = 0.9 };
    lmb_str file = LMB_STR_INIT;
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_graph *g = graph_of(no->model, no->sample, 3, 5);
    ck_assert_int_eq(lmb_pass_qat(g, &c, &qat, &err), LMB_E_UNSUPPORTED);
    ck_assert_msg(strstr(err.msg, no->qat) != NULL, "%s", err.msg);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_pass_qdq(g, &qat, &err), LMB_E_UNSUPPORTED);
    ck_assert_msg(strstr(err.msg, no->qdq) != NULL, "%s", err.msg);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_lower(g, &file, &err), LMB_E_UNSUPPORTED);
    ck_assert_msg(strstr(err.msg, "node ") != NULL, "%s", err.msg);
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("distill/quantize", add_loop(folding_changes_no_answer, 6);
              add_loop(integers_answer_as_their_simulation, 6); add(a_channel_that_has_died_keeps_its_bias);
              add_loop(what_has_no_integer_form_is_named, 3);)
