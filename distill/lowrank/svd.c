/* distill/lowrank/svd.c - see svd.h. Columns are stored one after the other, so that a rotation runs along memory. */
#include "distill/lowrank/svd.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEPS = 60 };

/* A column whose square is no more than this share of all squares is rounding: it is neither turned, nor a direction. */
static const double ROUNDING = 1e-28;

typedef struct jacobi {
    int64_t m, n; /* m >= n */
    double *w;    /* [n] columns of m */
    double *v;    /* [n] columns of n */
} jacobi;

static void rotate(double *p, double *q, int64_t n, double c, double s)
{
    for (int64_t i = 0; i < n; i++) {
        double x = p[i], y = q[i];
        p[i] = c * x - s * y;
        q[i] = s * x + c * y;
    }
}

/* Make columns i and k orthogonal; were they not? Columns no longer than `tiny`, squared, are let be. */
static bool turn(jacobi *j, int64_t i, int64_t k, double tiny)
{
    double *p = j->w + i * j->m, *q = j->w + k * j->m, a = 0, b = 0, c = 0;

    for (int64_t r = 0; r < j->m; r++) {
        a += p[r] * p[r];
        b += q[r] * q[r];
        c += p[r] * q[r];
    }
    if (fabs(c) <= 1e-15 * sqrt(a * b) || a <= tiny || b <= tiny)
        return false;
    double zeta = (b - a) / (2 * c), t = (zeta >= 0 ? 1 : -1) / (fabs(zeta) + sqrt(1 + zeta * zeta)),
           cosine = 1 / sqrt(1 + t * t);
    rotate(p, q, j->m, cosine, cosine * t);
    rotate(j->v + i * j->n, j->v + k * j->n, j->n, cosine, cosine * t);
    return true;
}

static lmb_status start(jacobi *j, const double *a, int64_t m, int64_t n, lmb_error *err)
{
    bool wide = m < n;

    j->m = wide ? n : m;
    j->n = wide ? m : n;
    j->w = malloc(sizeof *j->w * (size_t)(j->m * j->n + 1));
    j->v = calloc((size_t)(j->n * j->n + 1), sizeof *j->v);
    if (!j->w || !j->v)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the singular values of a matrix of %lld x %lld", (long long)m,
                        (long long)n);
    for (int64_t c = 0; c < j->n; c++) {
        j->v[c * j->n + c] = 1;
        for (int64_t r = 0; r < j->m; r++) {
            double x = wide ? a[c * n + r] : a[r * n + c];
            if (!isfinite(x))
                return LMB_FAIL(err, LMB_E_NUMERIC, "a matrix of %lld x %lld has an element that is not finite",
                                (long long)m, (long long)n);
            j->w[c * j->m + r] = x;
        }
    }
    return LMB_OK;
}

typedef struct length { double s; int64_t column; } length;

static int longer_first(const void *a, const void *b)
{
    const length *x = a, *y = b;
    return x->s != y->s ? (x->s > y->s ? -1 : 1) : x->column < y->column ? -1 : 1;
}

/* Columns by length; `left`, `right`: where their directions and the turns go. What was not turned has no length. */
static lmb_status sort_out(const jacobi *j, double tiny, double *left, double *s, double *right, lmb_error *err)
{
    length *order = malloc(sizeof *order * (size_t)(j->n + 1));

    if (!order)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to order %lld singular values", (long long)j->n);
    for (int64_t c = 0; c < j->n; c++) {
        double sum = 0;
        for (int64_t r = 0; r < j->m; r++)
            sum += j->w[c * j->m + r] * j->w[c * j->m + r];
        order[c] = (length){ sum > tiny ? sqrt(sum) : 0, c };
    }
    qsort(order, (size_t)j->n, sizeof *order, longer_first);
    for (int64_t i = 0; i < j->n; i++) {
        int64_t c = order[i].column;
        s[i] = order[i].s;
        for (int64_t r = 0; left && r < j->m; r++)
            left[r * j->n + i] = s[i] > 0 ? j->w[c * j->m + r] / s[i] : 0;
        for (int64_t r = 0; right && r < j->n; r++)
            right[r * j->n + i] = j->v[c * j->n + r];
    }
    free(order);
    return LMB_OK;
}

lmb_status lmb_svd(const double *a, int64_t m, int64_t n, double *u, double *s, double *v, lmb_error *err)
{
    jacobi j = { 0 };
    lmb_status st = start(&j, a, m, n, err);
    bool any = true;
    double tiny = 0;

    for (int64_t i = 0; st == LMB_OK && i < j.m * j.n; i++)
        tiny += ROUNDING * j.w[i] * j.w[i];
    for (int sweep = 0; st == LMB_OK && any && sweep < SWEEPS; sweep++) {
        any = false;
        for (int64_t i = 0; i < j.n; i++)
            for (int64_t k = i + 1; k < j.n; k++)
                any |= turn(&j, i, k, tiny);
    }
    if (st == LMB_OK)
        st = m < n ? sort_out(&j, tiny, v, s, u, err) : sort_out(&j, tiny, u, s, v, err);
    free(j.w);
    free(j.v);
    return st;
}
