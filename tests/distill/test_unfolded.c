/* Mirrors distill/quantize/unfolded.c: before and after folding the same weights are rounded to the same integers and
 * the same answers given, whatever the scheme and the sign of a normalisation's scale; statistics are learnt on; what
 * comes of it is the graph that folding at once has, with its ranges; and what can not be is named. */
#include "distill/quantize/unfolded.h"

#include <math.h>

#include "core/cpu/cpu.h"
#include "core/passes/fold.h"
#include "core/passes/rewrite.h"
#include "tests/distill/data_logits.h"
#include "tests/distill/train_on.h"

static lmb_error err;
static lmb_dataset *data;
static lmb_graph *model;
static lmb_config *text;
static lmb_qat_config qat;

static const char *const models[] = {
    "{name: resnet, depth: 8, width: 5, mean: 100, scale: 0.02}",
    "{name: mobilenet_v1, width: 0.1, mean: 128, scale: 0.02}",
    "{name: mobilenet_v2, width: 0.1, mean: 90, scale: 0.02}",
    "{name: vgg, channels: [6, 0, 9], mean: 0, scale: 0.01}",
};
static const char *const schemes[] = {
    "{}",
    "{bits: 4, activations: symmetric, observer: minmax}",
    "{scales: power_of_two}",
    "{scheme: learned, bits: 4}",
};
enum { N_MODELS = sizeof models / sizeof *models, N_SCHEMES = sizeof schemes / sizeof *schemes };

/* Every third channel is turned round, and the second of each layer is dead: signs and zeros that folding meets. */
static void turn_channels(lmb_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (strcmp(g->node[i].op->name, "BatchNormalization") == 0) {
            float *scale = (float *)g->value[g->node[i].in[1]].data;
            for (int64_t c = 0; c < lmb_shape_count(&g->value[g->node[i].in[1]].shape); c++)
                scale[c] *= c % 3 == 0 ? -1.5f : c == 1 ? 0 : 0.7f;
        }
}

static void set_up(const char *build, const char *scheme)
{
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 120, classes: 4, height: 16, width: 16, noise: 0.4}", LMB_PART_TRAIN);
    model = model_of(build, data, 5);
    train_on(data, model, "{epochs: 1, batch: 40, lr: 0.02, threads: 1}");
    text = config_of(scheme);
    ck_ok(lmb_fields_bind(lmb_qat_fields, lmb_config_root(text), &qat, &err));
}

static void tear_down(void)
{
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
    lmb_config_destroy(text);
}

static lmb_ptq_config start_config(void)
{
    return (lmb_ptq_config){ .calibration = 96, .seed = 1, .backend = "cpu", .threads = 1, .qat = &qat };
}

static float *logits_of(const lmb_graph *g) { return data_logits(data, g); }

typedef struct apart { double most, mean, top; int64_t flips; } apart;

static apart compare(const lmb_graph *a, const lmb_graph *b)
{
    float *x = logits_of(a), *y = logits_of(b);
    int64_t k = data->classes;
    apart d = { 0 };

    for (int64_t i = 0; i < data->n * k; i++) {
        double off = fabs((double)x[i] - (double)y[i]);
        ck_assert(isfinite(x[i]) && isfinite(y[i]));
        d.most = fmax(d.most, off);
        d.mean += off / (double)(data->n * k);
        d.top = fmax(d.top, fabs((double)x[i]));
    }
    for (int64_t i = 0; i < data->n; i++)
        d.flips += lmb_argmax(x + i * k, k) != lmb_argmax(y + i * k, k);
    free(x);
    free(y);
    return d;
}

/* Weights alone, so that nothing behind them can hide a difference: to the rounding of floats. */
START_TEST(rounding_and_folding_change_places)
{
    lmb_graph *rounded, *folded, *both;

    set_up(models[_i % N_MODELS], schemes[_i / N_MODELS]);
    turn_channels(model);
    ck_ok(lmbi_qat_insert(model, &qat, LMBI_QAT_WEIGHTS, &rounded, &err));
    ck_ok(lmb_pass_fold(model, &folded, &err));
    ck_ok(lmbi_qat_insert(folded, &qat, LMBI_QAT_WEIGHTS, &both, &err));
    apart same = compare(rounded, both), felt = compare(rounded, model);
    ck_assert_msg(same.most <= 1e-4 * same.top, "%s: %g off, of %g", schemes[_i / N_MODELS], same.most, same.top);
    ck_assert_msg(felt.most > 20 * same.most, "rounding is not felt: %g", felt.most);
    lmb_graph_destroy(rounded);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(both);
    tear_down();
}
END_TEST

/* Names without the number that makes them unique. */
static size_t stem(const char *name)
{
    size_t n = strlen(name);
    while (n > 0 && name[n - 1] >= '0' && name[n - 1] <= '9')
        n--;
    return n > 0 && n < strlen(name) && name[n - 1] == '_' ? n - 1 : strlen(name);
}

static lmb_vid next_state(const lmb_graph *g, lmb_vid v)
{
    while (v < g->n_values && !lmb_role_is_state(g->value[v].role))
        v++;
    return v;
}

/* One state after another is of the same kind. */
static void check_same_state(const lmb_graph *g, const lmb_graph *like)
{
    lmb_vid v = next_state(g, 0), w = next_state(like, 0);

    for (; v < g->n_values && w < like->n_values; v = next_state(g, v + 1), w = next_state(like, w + 1)) {
        const lmb_value *x = &g->value[v], *y = &like->value[w];
        ck_assert_msg(stem(x->name) == stem(y->name) && strncmp(x->name, y->name, stem(x->name)) == 0, "%s for %s",
                      x->name, y->name);
        ck_assert(x->role == y->role && lmb_shape_equal(&x->shape, &y->shape));
        ck_assert(x->decay == y->decay && x->bits == y->bits && x->reduce == y->reduce);
    }
    ck_assert(v == g->n_values && w == like->n_values);
}

/* Ranges, or learned steps, of activations are those of `b`; how many there are. */
static int same_ranges(const lmb_graph *a, const lmb_graph *b)
{
    int n = 0;
    for (int v = 0; v < a->n_values; v++) {
        const lmb_value *x = &a->value[v];
        if (x->role != LMB_ROLE_OBSERVER && !(x->role == LMB_ROLE_PARAMETER && strstr(x->name, ".q.step")))
            continue;
        lmb_vid at = lmb_graph_find(b, x->name);
        ck_assert_msg(at != LMB_NONE, "there is no %s", x->name);
        ck_assert_mem_eq(x->data, b->value[at].data, sizeof(float));
        n++;
    }
    return n;
}

static double largest_move(const lmb_graph *from, const lmb_graph *to, lmb_role role)
{
    double most = 0;
    for (int v = 0; v < from->n_values; v++) {
        const lmb_value *x = &from->value[v];
        lmb_vid at = x->role == role ? lmb_graph_find(to, x->name) : LMB_NONE;
        for (int64_t i = 0; at != LMB_NONE && i < lmb_shape_count(&x->shape); i++)
            most = fmax(most,
                        fabs((double)((const float *)x->data)[i] - (double)((const float *)to->value[at].data)[i]));
    }
    return most;
}

/* A whole first phase, and the switch: statistics have been learnt on, and predictions stay. */
START_TEST(the_switch_changes_no_answer)
{
    const char *scheme = schemes[_i / N_MODELS];
    lmb_graph *base, *first, *second, *folded, *at_once;

    set_up(models[_i % N_MODELS], scheme);
    turn_channels(model);
    const lmb_ptq_config c = start_config();
    ck_ok(lmb_unfolded_start(model, &c, data, &base, &first, &err));
    train_on(data, first, qat.scheme == LMB_QAT_LEARNED ? "{epochs: 2, batch: 40, lr: 0.0001, threads: 1}"
                                               : "{epochs: 2, batch: 40, lr: 0.002, threads: 1}");
    ck_assert_double_gt(largest_move(model, first, LMB_ROLE_STATISTIC), 1e-3);
    ck_assert_double_gt(largest_move(model, first, LMB_ROLE_PARAMETER), 1e-5);
    ck_ok(lmb_unfolded_fold(base, first, &qat, &second, &err));
    apart d = compare(first, second);
    ck_assert_double_gt(d.top, 0.01); /* it answers */
    ck_assert_msg(d.mean <= 5e-3 * d.top, "%s: %g off on the average, %g at most, of %g", scheme, d.mean, d.most,
                  d.top);
    ck_assert_msg(d.flips * 40 <= data->n, "%d of %d predictions changed", (int)d.flips, (int)data->n);

    /* an ordinary graph, and what was seen goes on */
    for (int i = 0; i < second->n_nodes; i++)
        ck_assert_str_ne(second->node[i].op->name, "BatchNormalization");
    if (qat.scheme == LMB_QAT_LEARNED) {
        ck_ok(lmb_ptq_start(model, &c, data, &at_once, &err));
    } else {
        ck_ok(lmb_pass_fold(model, &folded, &err));
        ck_ok(lmb_pass_qat(folded, &qat, &at_once, &err));
        lmb_graph_destroy(folded);
    }
    ck_assert_int_gt(same_ranges(second, first), 3);
    check_same_state(second, at_once);
    train_on(data, second, "{epochs: 1, batch: 40, lr: 0.0005, threads: 1}");
    lmb_graph *frozen;
    ck_ok(lmb_pass_qat_freeze(second, &frozen, &err));
    lmb_graph_destroy(frozen);
    lmb_graph_destroy(base);
    lmb_graph_destroy(first);
    lmb_graph_destroy(second);
    lmb_graph_destroy(at_once);
    tear_down();
}
END_TEST

/* Samples whose model saw other statistics: alive, normalisation finds those of now, and what is folded has them. */
START_TEST(stale_statistics_are_found_again)
{
    lmb_graph *base, *first, *folded, *at_once, *second;

    set_up(models[0], "{}");
    train_on(data, model, "{epochs: 6, batch: 20, lr: 0.05, threads: 1}");
    for (int v = 0; v < model->n_values; v++)
        if (model->value[v].role == LMB_ROLE_STATISTIC)
            for (int64_t i = 0; i < lmb_shape_count(&model->value[v].shape); i++)
                ((float *)model->value[v].data)[i] *= strstr(model->value[v].name, "var") ? 60.0f : -3.0f;
    const lmb_ptq_config c = start_config();
    ck_ok(lmb_unfolded_start(model, &c, data, &base, &first, &err));
    ck_ok(lmb_pass_fold(model, &folded, &err));
    ck_ok(lmb_pass_qat(folded, &qat, &at_once, &err));
    train_on(data, first, "{epochs: 15, batch: 20, lr: 1e-6, threads: 1}"); /* weights hardly move */
    train_on(data, at_once, "{epochs: 15, batch: 20, lr: 1e-6, threads: 1}");
    ck_ok(lmb_unfolded_fold(base, first, &qat, &second, &err));
    lmb_graph *const both[2] = { second, at_once };
    int64_t right[2] = { 0, 0 };
    for (int g = 0; g < 2; g++) {
        float *y = logits_of(both[g]);
        uint8_t *raw = malloc((size_t)lmb_shape_count(&data->shape));
        for (int64_t i = 0; i < data->n; i++) {
            int32_t label;
            ck_ok(data->read(data, i, raw, &label, &err));
            right[g] += lmb_argmax(y + i * data->classes, data->classes) == label;
        }
        free(raw);
        free(y);
    }
    ck_assert_msg(right[0] > right[1] + data->n / 5, "%d right, folded at once %d, of %d", (int)right[0], (int)right[1],
                  (int)data->n);
    lmb_graph_destroy(base);
    lmb_graph_destroy(first);
    lmb_graph_destroy(folded);
    lmb_graph_destroy(at_once);
    lmb_graph_destroy(second);
    tear_down();
}
END_TEST

START_TEST(what_can_not_be_is_named)
{
    static const struct {
        const char *model, *qat, *sentence;
        lmb_status status;
    } bad[] = {
        { "{name: vgg, channels: [6], activation: hardswish, mean: 0}", "{}", "HardSwish has no integer form",
          LMB_E_UNSUPPORTED },
        { "{name: vgg, channels: [6], mean: 72.9}", "{}", "the mean 72.9 must be a whole number", LMB_E_UNSUPPORTED },
        { "{name: vgg, channels: [6], mean: 0}", "{layers: {conv9.weight: 4}}", "is no layer's weight", LMB_E_ARG },
        { "{name: vgg, channels: [6], mean: 0}", "{scheme: learned, scales: power_of_two}", "exclude each other",
          LMB_E_ARG },
    };
    lmb_graph *base = NULL, *first = NULL;

    set_up(bad[_i].model, bad[_i].qat);
    const lmb_ptq_config c = start_config();
    ck_assert_int_eq(lmb_unfolded_start(model, &c, data, &base, &first, &err), bad[_i].status);
    ck_assert_msg(strstr(err.msg, bad[_i].sentence) != NULL, "%s", err.msg);
    ck_assert(!base && !first);
    tear_down();
}
END_TEST

/* BatchNormalization that no convolution can take in stays, and has no integer form; what was begun with ranges is not
 * ended with learned steps. */
START_TEST(what_does_not_fold_is_named)
{
    lmb_graph *base = NULL, *first = NULL, *second = NULL, *other;
    lmb_builder b;
    const lmb_shape x = LMB_SHAPE(1, 2, 4, 4);
    const float v[2] = { 1, 1 };

    set_up(models[3], "{}");
    const lmb_ptq_config c = start_config();
    ck_ok(lmb_unfolded_start(model, &c, data, &base, &first, &err));
    train_on(data, first, "{epochs: 1, batch: 40, lr: 0.001, threads: 1}");
    qat.scheme = LMB_QAT_LEARNED;
    ck_assert_int_eq(lmb_unfolded_fold(base, first, &qat, &second, &err), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "has no learned step") != NULL, "%s", err.msg);
    lmb_graph_destroy(base);
    lmb_graph_destroy(first);
    base = first = NULL;
    err = (lmb_error)LMB_ERROR_INIT;

    qat.scheme = LMB_QAT_RANGE;
    ck_ok(lmb_graph_create(&other, &err));
    b = lmb_builder_of(other, &err);
    lmb_vid in[5] = { lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, x, NULL) };
    for (int i = 1; i < 5; i++)
        in[i] = lmb_emit_value(&b, i < 3 ? LMB_ROLE_PARAMETER : LMB_ROLE_STATISTIC, "v", LMB_F32, LMB_SHAPE(2), v);
    lmb_emit_output(&b, "y", lmb_emit(&b, "BatchNormalization", "alone", in, 5, LMB_NO_ATTRS));
    ck_ok(lmb_builder_status(&b));
    ck_assert_int_eq(lmb_unfolded_start(other, &c, data, &base, &first, &err), LMB_E_UNSUPPORTED);
    ck_assert_msg(strstr(err.msg, "node alone: BatchNormalization has no integer form") != NULL, "%s", err.msg);
    lmb_graph_destroy(other);
    tear_down();
}
END_TEST

LMB_TEST_MAIN("distill/unfolded", add_loop(rounding_and_folding_change_places, N_MODELS * 3); /* those of ranges */
              add_loop(the_switch_changes_no_answer, N_MODELS *N_SCHEMES); add(stale_statistics_are_found_again);
              add_loop(what_can_not_be_is_named, 4); add(what_does_not_fold_is_named);)
