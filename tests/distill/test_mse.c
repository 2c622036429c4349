/* Mirrors distill/quantize/observers/mse.c: the range is the one of least squared error, as the numbers themselves say
 * it, and few activation bits take it where no observer is asked for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/onnx/onnx.h"
#include "distill/quantize/observer.h"
#include "distill/quantize/ptq.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"

enum { N = 40000 };
static lmb_error err;

/* What rounding x to the integers of a range costs: the grid of RangeToScale, number by number. */
static double cost(const float *x, const lmb_grid *of, double lo, double hi)
{
    double top = of->levels - 1, half = floor((top + 1) / 2), sum = 0;

    lo = fmin(lo, 0);
    hi = fmax(hi, 0);
    double step = of->symmetric ? fmax(-lo, hi) / (top - half) : (hi - lo) / top;
    double zero = of->symmetric ? half : rint(-lo / step);
    for (int i = 0; i < N; i++) {
        double q = fmin(fmax(rint((double)x[i] / step) + zero, 0), top);
        sum += pow((double)x[i] - (q - zero) * step, 2);
    }
    return sum;
}

static const struct shape { lmb_grid of; bool both_sides; } shapes[] = {
    { { 16, false }, false }, { { 16, false }, true }, { { 8, true }, true },
    { { 256, false }, false }, { { 64, true }, true },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Exponential numbers, on one side of 0 or, with a third of the weight, on both. */
static float *numbers(bool both_sides)
{
    float *x = malloc(sizeof *x * N);
    for (int i = 0; i < N; i++) {
        x[i] = -logf(((float)i + 0.5f) / N);
        if (both_sides && i % 2)
            x[i] /= -3;
    }
    return x;
}

START_TEST(no_range_is_nearer)
{
    const struct shape *s = &shapes[_i];
    const lmb_observer *o = lmb_observer_find("mse");
    float *x = numbers(s->both_sides), lo, hi, from, to;
    void *a = calloc(1, o->bytes), *b = calloc(1, o->bytes);

    lmb_observed_range(x, N, &lo, &hi);
    o->see(NULL, a, x, N / 3, lo, hi);
    o->see(NULL, b, x + N / 3, N - N / 3, lo, hi);
    o->merge(NULL, a, b);
    o->range(NULL, a, &s->of, lo, hi, &from, &to);
    double found = cost(x, &s->of, from, to);
    ck_assert(lo <= from && from <= 0 + 1e-3f && to <= hi);
    for (int i = 0; i <= 40; i++)
        for (int k = 1; k <= 40; k++) {
            double other = cost(x, &s->of, lo * i / 40, hi * k / 40);
            ck_assert_msg(found <= 1.03 * other, "%g .. %g costs %g, %g .. %g only %g", (double)from, (double)to, found,
                          (double)lo * i / 40, (double)hi * k / 40, other);
        }
    free(x);
    free(a);
    free(b);
}
END_TEST

START_TEST(what_is_one_number_keeps_it)
{
    const lmb_observer *o = lmb_observer_find("mse");
    const float flat[] = { 3, 3, 3 };
    void *a = calloc(1, o->bytes);
    float from, to;

    o->see(NULL, a, flat, 3, 3, 3);
    o->range(NULL, a, &(lmb_grid){ 16, false }, 3, 3, &from, &to);
    ck_assert(from == 3 && to == 3);
    free(a);
}
END_TEST

static void quantised(const lmb_dataset *data, const lmb_graph *model, const char *observer, int64_t bits, lmb_str *out)
{
    lmb_config *c = observer ? config_of(observer) : NULL;
    lmb_qat_config q;
    lmb_graph *g;

    lmb_fields_default(lmb_qat_fields, &q);
    q.activation_bits = bits;
    const lmb_ptq_config p = { .calibration = 64, .seed = 1, .backend = "cpu", .threads = 1, .qat = &q,
                               .observer = c ? lmb_tree_get(lmb_config_root(c), "o") : NULL };
    ck_ok(lmb_ptq(model, &p, data, &g, &err));
    ck_ok(lmb_onnx_export(g, NULL, out, &err));
    lmb_graph_destroy(g);
    lmb_config_destroy(c);
}

START_TEST(few_bits_take_it)
{
    static const struct usual { int64_t bits; const char *observer; } usual[] = {
        { 8, "o: minmax" }, { 7, "o: minmax" }, { 6, "o: mse" }, { 4, "o: mse" }
    };
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_dataset *data = dataset_of("{name: synthetic, train: 100, classes: 4, height: 12, width: 12, noise: 0.4}",
                                   LMB_PART_TRAIN);
    lmb_graph *model = model_of("{name: vgg, channels: [6, 0, 9], mean: 100, scale: 0.02}", data, 5);

    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        lmb_str none = LMB_STR_INIT, named = LMB_STR_INIT, other = LMB_STR_INIT;
        quantised(data, model, NULL, usual[i].bits, &none);
        quantised(data, model, usual[i].observer, usual[i].bits, &named);
        quantised(data, model, usual[i].bits > 6 ? "o: mse" : "o: minmax", usual[i].bits, &other);
        ck_assert_uint_eq(none.n, named.n);
        ck_assert_mem_eq(none.text, named.text, named.n);
        ck_assert(none.n != other.n || memcmp(none.text, other.text, other.n) != 0);
        lmb_str_free(&none);
        lmb_str_free(&named);
        lmb_str_free(&other);
    }
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
}
END_TEST

LMB_TEST_MAIN("distill/mse", add_loop(no_range_is_nearer, SHAPES); add(what_is_one_number_keeps_it);
              add(few_bits_take_it);)
