/* distill/quantize/observers/mse.c - the range whose integers are nearest to the numbers: least squared error.
 *
 * A second pass fills a histogram (histogram.h). Then the ends are drawn in, the upper one first and each to where the
 * sum of (x - rounded and saturated x)^2 is least, twice (symmetric integers have one bound for both): what saturation
 * spoils against what resolution gains. With many integers that is nearly the widest range; with 16 it is far within.
 *
 *   source   Choukroun et al. 2019, arXiv:1902.06822, section 3 (MSE-optimal quantisation); PyTorch's HistogramObserver
 */
#include <math.h>

#include "distill/quantize/observer.h"
#include "distill/quantize/observers/histogram.h"

enum { STEP = 16, ROUNDS = 2 };
static const lmb_field rows[] = { LMB_FIELD_END };

typedef struct search {
    const lmbi_histogram *s;
    const lmb_grid *of;
    float lo, hi; /* of the histogram */
} search;

/* Of the integers that RangeToScale makes of bins a .. b - 1 (core/ops/observe.c). */
static double squared_error(const search *f, int a, int b)
{
    double width = ((double)f->hi - f->lo) / LMBI_BINS, sum = 0;
    float from, to;

    lmbi_histogram_range(f->lo, f->hi, a, b, &from, &to);
    double lo = fmin(from, 0), hi = fmax(to, 0), top = f->of->levels - 1, half = floor((top + 1) / 2);
    double step = f->of->symmetric ? fmax(-lo, hi) / (top - half) : (hi - lo) / top;
    double zero = f->of->symmetric ? half : rint(-lo / step);
    for (int i = 0; i < LMBI_BINS; i++) {
        double x = f->lo + (i + 0.5) * width, q = rint(x / step) + zero;
        double d = x - (fmin(fmax(q, 0), top) - zero) * step;
        sum += f->s->bin[i] ? (double)f->s->bin[i] * d * d : 0;
    }
    return sum;
}

/* Has the end, with the other one as it is, moved to where the error is least? */
static void draw(const search *f, int *a, int *b, bool upper)
{
    double best = squared_error(f, *a, *b);
    int from = upper ? *a + STEP : 0, to = upper ? LMBI_BINS : *b - STEP, found = upper ? *b : *a;

    for (int t = upper ? to : from; t >= from && t <= to; t += upper ? -STEP : STEP) {
        double e = squared_error(f, upper ? *a : t, upper ? t : *b);
        if (e < best) {
            best = e;
            found = t;
        }
    }
    *(upper ? b : a) = found;
}

/* One bound for both ends: the integers are those of -x and x. */
static void draw_both(const search *f, int *a, int *b)
{
    double zero = fmin(fmax(-(double)f->lo * LMBI_BINS / ((double)f->hi - f->lo), 0), LMBI_BINS), best = INFINITY;

    for (double t = fmax(zero, LMBI_BINS - zero); t >= STEP; t -= STEP) {
        int low = zero > t ? (int)(zero - t) : 0, high = LMBI_BINS - zero > t ? (int)ceil(zero + t) : LMBI_BINS;
        double e = squared_error(f, low, high);
        if (e < best) {
            best = e;
            *a = low;
            *b = high;
        }
    }
}

static void range(const void *c, const void *memory, const lmb_grid *of, float lo, float hi, float *from, float *to)
{
    const search f = { memory, of, lo, hi };
    int a = 0, b = LMBI_BINS;

    (void)c;
    for (int i = 0; hi > lo && of->levels > 2 && i < (of->symmetric ? 1 : ROUNDS); i++)
        if (of->symmetric) {
            draw_both(&f, &a, &b);
        } else {
            draw(&f, &a, &b, true);
            draw(&f, &a, &b, false);
        }
    lmbi_histogram_range(lo, hi, a, b, from, to);
}

const lmb_observer lmb_observer_mse = {
    .name = "mse",
    .summary = "the range whose integers are nearest (least squared error)",
    .source = "Choukroun et al. 2019, arXiv:1902.06822",
    .fields = rows,
    .config_size = 0,
    LMBI_HISTOGRAM_OBSERVER,
    .range = range,
};
