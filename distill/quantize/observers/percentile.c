/* distill/quantize/observers/percentile.c - a range that leaves out the rarest values on both sides.
 *
 * A second pass fills a histogram (histogram.h); each end moves inwards over whole bins as long as no more than its
 * half of the rest, (100 - percent) / 2 percent of the numbers, is left out.
 *
 *   source   McKinstry et al. 2018, arXiv:1809.04191 (percentile calibration)
 */
#include "distill/quantize/observer.h"
#include "distill/quantize/observers/histogram.h"

typedef struct config { double percent; } config;
static const lmb_field rows[] = { LMB_REAL(config, percent, 99.99, 50, 100, "%", "of the numbers, that stay inside"),
                                  LMB_FIELD_END };

static void range(const void *c, const void *memory, const lmb_grid *of, float lo, float hi, float *from, float *to)
{
    const lmbi_histogram *s = memory;
    double left_out = (double)s->n * (100 - ((const config *)c)->percent) / 200;
    int a = 0, b = LMBI_BINS;

    (void)of;
    for (double sum = 0; a < b - 1 && sum + (double)s->bin[a] <= left_out; a++)
        sum += (double)s->bin[a];
    for (double sum = 0; b > a + 1 && sum + (double)s->bin[b - 1] <= left_out; b--)
        sum += (double)s->bin[b - 1];
    lmbi_histogram_range(lo, hi, a, b, from, to);
}

const lmb_observer lmb_observer_percentile = {
    .name = "percentile",
    .summary = "a range without the rarest values",
    .source = "McKinstry et al. 2018, arXiv:1809.04191",
    .fields = rows,
    .config_size = sizeof(config),
    LMBI_HISTOGRAM_OBSERVER,
    .range = range,
};
