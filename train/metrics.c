/* train/metrics.c - see metrics.h. */
#include "train/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CLASSES = 100000 };

lmb_status lmb_metrics_init(lmb_metrics *m, int classes, lmb_error *err)
{
    int64_t *c;

    if (classes < 1 || classes > MAX_CLASSES)
        return LMB_FAIL(err, LMB_E_ARG, "%d classes; a confusion matrix has 1 to %d", classes, MAX_CLASSES);
    c = calloc((size_t)classes * (size_t)classes, sizeof *c);
    if (!c)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a confusion matrix of %d classes", classes);
    *m = (lmb_metrics){ classes, c, 0, 0 };
    return LMB_OK;
}

void lmb_metrics_deinit(lmb_metrics *m)
{
    free(m->confusion);
    memset(m, 0, sizeof *m);
}

void lmb_metrics_reset(lmb_metrics *m)
{
    memset(m->confusion, 0, sizeof *m->confusion * (size_t)m->classes * (size_t)m->classes);
    m->n = 0;
    m->loss_sum = 0;
}

int lmb_argmax(const float *logits, int classes)
{
    int best = 0;
    for (int i = 1; i < classes; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

void lmb_metrics_add_one(lmb_metrics *m, int label, int predicted)
{
    m->confusion[(int64_t)label * m->classes + predicted]++;
    m->n++;
}

void lmb_metrics_add(lmb_metrics *m, const float *logits, const int64_t *labels, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float *x = logits + i * m->classes;
        int best = lmb_argmax(x, m->classes);
        double sum = 0;
        for (int k = 0; k < m->classes; k++)
            sum += exp((double)x[k] - x[best]);
        m->loss_sum += log(sum) + x[best] - x[labels[i]];
        lmb_metrics_add_one(m, (int)labels[i], best);
    }
}

static int64_t row(const lmb_metrics *m, int c)
{
    int64_t n = 0;
    for (int k = 0; k < m->classes; k++)
        n += m->confusion[(int64_t)c * m->classes + k];
    return n;
}

static int64_t column(const lmb_metrics *m, int c)
{
    int64_t n = 0;
    for (int k = 0; k < m->classes; k++)
        n += m->confusion[(int64_t)k * m->classes + c];
    return n;
}

static int64_t hits(const lmb_metrics *m, int c) { return m->confusion[(int64_t)c * m->classes + c]; }
static double share(int64_t a, int64_t b) { return b ? (double)a / (double)b : 0; }

double lmb_metrics_accuracy(const lmb_metrics *m)
{
    int64_t n = 0;
    for (int c = 0; c < m->classes; c++)
        n += hits(m, c);
    return share(n, m->n);
}

double lmb_metrics_loss(const lmb_metrics *m) { return m->n ? m->loss_sum / (double)m->n : 0; }
double lmb_metrics_precision(const lmb_metrics *m, int c) { return share(hits(m, c), column(m, c)); }
double lmb_metrics_recall(const lmb_metrics *m, int c) { return share(hits(m, c), row(m, c)); }
double lmb_metrics_f1(const lmb_metrics *m, int c) { return share(2 * hits(m, c), row(m, c) + column(m, c)); }

double lmb_metrics_macro_f1(const lmb_metrics *m)
{
    double sum = 0;
    for (int c = 0; c < m->classes; c++)
        sum += lmb_metrics_f1(m, c);
    return sum / m->classes;
}

void lmb_metrics_interval(const lmb_metrics *m, double *lo, double *hi)
{
    const double z = 1.959963984540054;
    double n = (double)m->n, p = lmb_metrics_accuracy(m), d, centre, half;

    *lo = 0, *hi = 1;
    if (m->n == 0)
        return;
    d = 1 + z * z / n;
    centre = (p + z * z / (2 * n)) / d;
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d;
    *lo = fmax(0, centre - half); /* at 0 and n hits the ends are 0 and 1 but for rounding */
    *hi = fmin(1, centre + half);
}
