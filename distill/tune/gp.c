/* distill/tune/gp.c - see gp.h. */
#include "distill/tune/gp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

lmb_status lmb_gp_create(int dims, int room, lmb_gp *out, lmb_error *err)
{
    lmb_gp g = { .dims = dims, .room = room, .noise = 0.01 };

    for (int d = 0; d < dims; d++)
        g.length[d] = 0.5;
    g.x = calloc((size_t)room, sizeof *g.x);
    g.y = calloc((size_t)room, sizeof *g.y);
    g.weight = calloc((size_t)room, sizeof *g.weight);
    g.factor = calloc((size_t)room * (size_t)room, sizeof *g.factor);
    if (!g.x || !g.y || !g.weight || !g.factor) {
        lmb_gp_free(&g);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a process of %d observations", room);
    }
    *out = g;
    return LMB_OK;
}

void lmb_gp_free(lmb_gp *g)
{
    free(g->x);
    free(g->y);
    free(g->weight);
    free(g->factor);
    memset(g, 0, sizeof *g);
}

void lmb_gp_add(lmb_gp *g, const double *x, double y)
{
    memcpy(g->x[g->n], x, sizeof *x * (size_t)g->dims);
    g->y[g->n++] = y;
}

static double kernel(const lmb_gp *g, const double *a, const double *b)
{
    double r = 0;

    for (int d = 0; d < g->dims; d++) {
        double by = g->choice[d] ? a[d] != b[d] : a[d] - b[d];
        r += by * by / (g->length[d] * g->length[d]);
    }
    r = sqrt(5 * r);
    return (1 + r + r * r / 3) * exp(-r);
}

/* a = factor * transposed factor, in the lower half. false: not positive definite. */
static bool factorise(double *a, int n, int stride)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            double s = a[i * stride + j];
            for (int k = 0; k < j; k++)
                s -= a[i * stride + k] * a[j * stride + k];
            if (i == j && !(s > 0))
                return false;
            a[i * stride + j] = i == j ? sqrt(s) : s / a[j * stride + j];
        }
    return true;
}

/* v = factor^-1 v */
static void forward(const double *l, int n, int stride, double *v)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++)
            v[i] -= l[i * stride + k] * v[k];
        v[i] /= l[i * stride + i];
    }
}

static void backward(const double *l, int n, int stride, double *v)
{
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++)
            v[i] -= l[k * stride + i] * v[k];
        v[i] /= l[i * stride + i];
    }
}

lmb_status lmb_gp_settle(lmb_gp *g, lmb_error *err)
{
    double squares = 0, log_det = 0;

    for (int i = 0; i < g->n; i++)
        for (int j = 0; j <= i; j++)
            g->factor[i * g->room + j] = kernel(g, g->x[i], g->x[j]) + (i == j ? g->noise + 1e-10 : 0);
    if (!factorise(g->factor, g->n, g->room))
        return LMB_FAIL(err, LMB_E_NUMERIC, "the covariance of %d observations is not positive definite", g->n);
    for (int i = 0; i < g->n; i++) {
        g->weight[i] = g->y[i] - g->mean;
        log_det += 2 * log(g->factor[i * g->room + i]);
    }
    forward(g->factor, g->n, g->room, g->weight);
    for (int i = 0; i < g->n; i++)
        squares += g->weight[i] * g->weight[i];
    backward(g->factor, g->n, g->room, g->weight);
    g->signal = fmax(squares / g->n, 1e-24); /* observations that are all equal */
    g->likelihood = -0.5 * (g->n * log(2 * M_PI * g->signal) + log_det + squares / g->signal);
    return LMB_OK;
}

/* ---- lengths and noise ---- */

enum { MOST = LMB_TUNE_DIMS + 1, SWEEPS = 60 };

static void set(lmb_gp *g, const double *p)
{
    for (int d = 0; d < g->dims; d++)
        g->length[d] = exp(p[d]);
    g->noise = exp(p[g->dims]);
}

/* Likelihood and belief; a parameter far outside is worth nothing. */
static double worth(lmb_gp *g, const double *p)
{
    double belief = -0.5 * pow((p[g->dims] - log(0.01)) / 2, 2);

    for (int d = 0; d < g->dims; d++) {
        if (fabs(p[d] - log(0.5)) > 4)
            return -INFINITY;
        belief -= 0.5 * pow(p[d] - log(0.5), 2);
    }
    if (p[g->dims] < log(1e-6) || p[g->dims] > log(10))
        return -INFINITY;
    set(g, p);
    return lmb_gp_settle(g, NULL) == LMB_OK ? g->likelihood + belief : -INFINITY;
}

/* Along each parameter up or down while that is better, with steps that become smaller. */
static double climb(lmb_gp *g, double *p)
{
    double best = worth(g, p), step = 1;

    for (int sweep = 0; sweep < SWEEPS && step > 0.05; sweep++) {
        bool moved = false;
        for (int i = 0; i <= g->dims; i++)
            for (int sign = -1; sign <= 1; sign += 2) {
                double was = p[i];
                p[i] = was + sign * step;
                double now = worth(g, p);
                if (now > best + 1e-9) {
                    best = now;
                    moved = true;
                    break;
                }
                p[i] = was;
            }
        step = moved ? step : step / 2;
    }
    return best;
}

lmb_status lmb_gp_fit(lmb_gp *g, lmb_error *err)
{
    static const double starts[][2] = { { 0.5, 0.01 }, { 1.5, 0.3 } }; /* all is signal; most is noise */
    double best = -INFINITY, chosen[MOST];

    g->mean = 0;
    for (int i = 0; i < g->n; i++)
        g->mean += g->y[i] / g->n;
    for (int s = 0; s < 2; s++) {
        double p[MOST];
        for (int d = 0; d < g->dims; d++)
            p[d] = log(starts[s][0]);
        p[g->dims] = log(starts[s][1]);
        double w = climb(g, p);
        if (s == 0 || w > best) {
            best = w;
            memcpy(chosen, p, sizeof p);
        }
    }
    set(g, chosen);
    return lmb_gp_settle(g, err);
}

/* ---- predictions ---- */

void lmb_gp_at(const lmb_gp *g, const double *x, double *scratch, double *mean, double *deviation)
{
    double left = 1;

    *mean = g->mean;
    for (int i = 0; i < g->n; i++) {
        scratch[i] = kernel(g, x, g->x[i]);
        *mean += scratch[i] * g->weight[i];
    }
    forward(g->factor, g->n, g->room, scratch);
    for (int i = 0; i < g->n; i++)
        left -= scratch[i] * scratch[i];
    *deviation = sqrt(g->signal * fmax(left, 0));
}

double lmb_expected_improvement(double best, double mean, double deviation)
{
    if (!(deviation > 0))
        return fmax(best - mean, 0);
    double z = (best - mean) / deviation;
    return (best - mean) * 0.5 * erfc(-z / sqrt(2)) + deviation * exp(-0.5 * z * z) / sqrt(2 * M_PI);
}
