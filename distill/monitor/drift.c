/* distill/monitor/drift.c - see drift.h. */
#include "distill/monitor/drift.h"

#include <math.h>
#include <string.h>

/* Quantile 0.999 of the chi-square distribution. */
static double chi_square(int degrees)
{
    double k = degrees, cube = 1 - 2 / (9 * k) + 3.0902 * sqrt(2 / (9 * k));
    return k * cube * cube * cube;
}

/* Half a count in every bin: an empty one would be infinitely unlike. */
static double psi(const double *p, const double *q, int bins)
{
    double sum = 0, np = 0, nq = 0;

    for (int i = 0; i < bins; i++) {
        np += p[i] + 0.5;
        nq += q[i] + 0.5;
    }
    for (int i = 0; i < bins; i++) {
        double a = (p[i] + 0.5) / np, b = (q[i] + 0.5) / nq;
        sum += (a - b) * log(a / b);
    }
    return sum;
}

typedef struct comparison {
    const lmb_monitor *reference, *device;
    const lmb_drift_limits *limits;
    lmb_drift *out;
} comparison;

static lmb_drift_row *add_row(comparison *c, int kind, int channel, const double *p, const double *q, int bins)
{
    lmb_drift_row *r = &c->out->row[c->out->n++];
    double chance = chi_square(bins - 1) * (1 / (double)c->reference->predictions + 1 / (double)c->device->predictions);

    *r = (lmb_drift_row){
        .kind = kind, .channel = channel, .value = psi(p, q, bins), .limit = fmax(c->limits->psi, chance)
    };
    r->beyond = r->value > r->limit;
    c->out->beyond |= r->beyond;
    return r;
}

static double mean_of(const lmb_monitor *k, uint32_t channel)
{
    return (double)k->channel[channel].sum / ((double)k->predictions * k->looked);
}

static void compare_inputs(comparison *c)
{
    double p[LMB_MONITOR_BINS], q[LMB_MONITOR_BINS];

    for (uint32_t i = 0; i < c->reference->channels; i++) {
        for (int b = 0; b < LMB_MONITOR_BINS; b++) { /* images' worth of pixels: what a half count is added to */
            p[b] = (double)c->reference->channel[i].bins[b] / c->reference->looked;
            q[b] = (double)c->device->channel[i].bins[b] / c->device->looked;
        }
        lmb_drift_row *r = add_row(c, LMB_DRIFT_INPUT, (int)i, p, q, LMB_MONITOR_BINS);
        r->before = mean_of(c->reference, i);
        r->after = mean_of(c->device, i);
    }
}

static void compare_answers(comparison *c)
{
    double p[LMB_MONITOR_CLASSES], q[LMB_MONITOR_CLASSES];

    if (c->reference->classes < 2)
        return;
    for (int i = 0; i < LMB_MONITOR_MARGINS; i++) {
        p[i] = c->reference->margins[i];
        q[i] = c->device->margins[i];
    }
    add_row(c, LMB_DRIFT_MARGINS, 0, p, q, LMB_MONITOR_MARGINS);
    for (uint32_t i = 0; i < c->reference->classes; i++) {
        p[i] = c->reference->answers[i];
        q[i] = c->device->answers[i];
    }
    add_row(c, LMB_DRIFT_ANSWERS, 0, p, q, (int)c->reference->classes);
}

lmb_drift_range lmb_drift_quantile(const lmb_monitor *k, double share)
{
    double all = 0, sum = 0;
    uint32_t bin = 1; /* bin 0: nobody timed them */

    for (int i = 1; i < LMB_MONITOR_TIMES; i++)
        all += k->times[i];
    if (all <= 0)
        return (lmb_drift_range){ 0, 0 };
    for (; bin < LMB_MONITOR_TIMES - 1; bin++)
        if ((sum += k->times[bin]) >= share * all)
            break;
    return (lmb_drift_range){ (double)lmb_monitor_bin_time(bin) / 1000, (double)lmb_monitor_bin_time(bin + 1) / 1000 };
}

lmb_status lmb_drift_compare(const lmb_monitor *reference, const lmb_monitor *device, const lmb_drift_limits *limits,
                             lmb_drift *out, lmb_error *err)
{
    comparison c = { reference, device, limits, out };

    if (reference->channels != device->channels || reference->classes != device->classes ||
        reference->looked != device->looked || !reference->looked)
        return LMB_FAIL(err, LMB_E_SHAPE,
                        "counted were %u channels and %u classes, the reference has %u and %u: another model",
                        device->channels, device->classes, reference->channels, reference->classes);
    if (reference->shape.model && device->shape.model && reference->shape.model != device->shape.model)
        return LMB_FAIL(err, LMB_E_SHAPE,
                        "counted was model %08x of release %llu, the reference is of %08x, release %llu: compare with "
                        "the .lmb that the device runs",
                        device->shape.model, (unsigned long long)device->shape.release, reference->shape.model,
                        (unsigned long long)reference->shape.release);
    if (device->predictions < LMB_DRIFT_LEAST || reference->predictions < LMB_DRIFT_LEAST)
        return LMB_FAIL(
            err, LMB_E_ARG, "%llu predictions against a reference of %llu; both need at least %d to be compared",
            (unsigned long long)device->predictions, (unsigned long long)reference->predictions, LMB_DRIFT_LEAST);
    memset(out, 0, sizeof *out);
    compare_inputs(&c);
    compare_answers(&c);
    lmb_drift_row *r = &out->row[out->n++];
    lmb_drift_range p99 = lmb_drift_quantile(device, 0.99);
    *r = (lmb_drift_row){ .kind = LMB_DRIFT_LATENCY,
                          .value = p99.most,
                          .least = p99.least,
                          .limit = limits->latency_us,
                          .before = lmb_drift_quantile(reference, 0.5).most,
                          .after = lmb_drift_quantile(device, 0.5).most };
    r->beyond = r->limit > 0 && !(r->value > 0 && r->least < r->limit); /* what nobody measured keeps no limit */
    out->beyond |= r->beyond;
    return LMB_OK;
}
