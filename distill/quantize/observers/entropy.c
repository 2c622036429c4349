/* distill/quantize/observers/entropy.c - the range whose integers tell most about the numbers (TensorRT's calibration).
 *
 * A second pass fills a histogram (histogram.h). Then a bound on |x| is drawn in, step by step: P is the histogram
 * within it, what lies outside counted to the outermost bins; Q is the same numbers in `levels` integers, spread evenly
 * over those bins of a level that hold any. The range with the least KL divergence from Q to P is taken: what
 * saturation spoils against what resolution gains.
 *
 *   source   Migacz 2017, "8-bit inference with TensorRT", GTC; that zeros do not count: NVIDIA's pytorch-quantization
 */
#include <math.h>

#include "distill/quantize/observer.h"
#include "distill/quantize/observers/histogram.h"

enum { STEP = 8, WIDTH_MIN = 128 };
typedef struct config {
    int64_t levels;
} config;
static const lmb_field rows[] = {
    LMB_INT(config, levels, 0, 0, 256, "",
            "integers that the range will have; 0: as many as qat.activation_bits leaves it"),
    LMB_FIELD_END
};

/* What exact integers hold loses nothing: zeros, which a Relu leaves by the million, and what stands at the ends of the
 * widest range, as at the 6 of a Clip. Their bins count as their neighbours do. */
static double inner(const lmbi_histogram *s, int i, int zero)
{
    bool last = i == LMBI_BINS - 1 || (i == zero && i > 0 && s->bin[i + 1] == 0);
    int k = last ? i - 1 : i == zero || i == 0 ? i + 1 : i;
    return (double)(s->bin[k] < s->bin[i] ? s->bin[k] : s->bin[i]);
}

/* Sum of p log(p / q) over bins a .. b - 1. A bin that Q can not reach has the probability of one number. */
static double divergence(const lmbi_histogram *s, int a, int b, int zero, int levels)
{
    double below = 0, above = 0, inside = 0, sum = 0;
    int width = b - a;

    for (int i = 0; i < LMBI_BINS; i++) {
        below += i < a ? (double)s->bin[i] : 0;
        above += i >= b ? (double)s->bin[i] : 0;
        inside += i >= a && i < b ? inner(s, i, zero) : 0;
    }
    double all = below + inside + above;
    for (int l = 0; l < levels && inside > 0; l++) {
        int from = a + (int)((int64_t)l * width / levels), to = a + (int)((int64_t)(l + 1) * width / levels), used = 0;
        double mass = 0;
        for (int i = from; i < to; i++) {
            mass += inner(s, i, zero);
            used += inner(s, i, zero) > 0;
        }
        for (int i = from; i < to; i++) {
            double h = inner(s, i, zero), p = (h + (i == a ? below : 0) + (i == b - 1 ? above : 0)) / all;
            double q = h > 0 ? mass / used / inside : 1 / all;
            sum += p > 0 ? p * log(p / q) : 0;
        }
    }
    return inside > 0 ? sum : INFINITY;
}

/* Of bins a .. b - 1 where 0 is bin `zero`. */
static int levels_of(const config *c, const lmb_grid *of, double zero, int a, int b)
{
    double side = b - zero > zero - a ? b - zero : zero - a;

    if (c->levels)
        return (int)c->levels;
    if (!of->symmetric || !(side > 0))
        return of->levels;
    int share = (int)(of->levels * (b - a) / (2 * side));
    return share < 2 ? 2 : share < of->levels ? share : of->levels;
}

static void range(const void *c, const void *memory, const lmb_grid *of, float lo, float hi, float *from, float *to)
{
    const lmbi_histogram *s = memory;
    double width = ((double)hi - lo) / LMBI_BINS, zero = width > 0 ? -lo / width : 0, best = INFINITY;

    zero = zero < 0 ? 0 : zero > LMBI_BINS ? LMBI_BINS : zero;
    *from = lo;
    *to = hi;
    double most = zero > LMBI_BINS - zero ? zero : LMBI_BINS - zero;
    for (double t = most; width > 0; t -= STEP) {
        int a = zero > t ? (int)floor(zero - t) : 0, b = LMBI_BINS - zero > t ? (int)ceil(zero + t) : LMBI_BINS;
        if (b - a < WIDTH_MIN)
            break;
        double d = divergence(s, a, b, zero < LMBI_BINS ? (int)zero : LMBI_BINS - 1, levels_of(c, of, zero, a, b));
        if (d < best) {
            best = d;
            lmbi_histogram_range(lo, hi, a, b, from, to);
        }
    }
}

const lmb_observer lmb_observer_entropy = {
    .name = "entropy",
    .summary = "the range that loses least information (KL divergence)",
    .source = "Migacz 2017, GTC, 8-bit inference with TensorRT",
    .fields = rows,
    .config_size = sizeof(config),
    LMBI_HISTOGRAM_OBSERVER,
    .range = range,
};
