/* distill/tune/significance.c - see significance.h. */
#include "distill/tune/significance.h"

#include <math.h>
#include <stdlib.h>

enum { TERMS = 500, HALVINGS = 200 };

/* The continued fraction of I_x(a, b), which converges fast for x < (a + 1) / (a + b + 2). */
static double fraction(double a, double b, double x)
{
    const double tiny = 1e-300, near = 1e-16;
    double c = 1, d = 1 - (a + b) * x / (a + 1);

    d = 1 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m <= TERMS; m++) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        const double terms[] = { even, odd };
        double step = 1;
        for (int i = 0; i < 2; i++) {
            d = 1 + terms[i] * d;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = 1 + terms[i] / c;
            c = fabs(c) < tiny ? tiny : c;
            step = c * d;
            f *= step;
        }
        if (fabs(step - 1) < near)
            break;
    }
    return f;
}

double lmb_beta_share(double a, double b, double x)
{
    if (x <= 0 || x >= 1)
        return x >= 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * fraction(a, b, x) / a : 1 - front * fraction(b, a, 1 - x) / b;
}

double lmb_t_tails(double t, double df) { return isinf(t) ? 0 : lmb_beta_share(df / 2, 0.5, df / (df + t * t)); }

double lmb_f_tail(double f, double df1, double df2)
{
    return isinf(f) ? 0 : f <= 0 ? 1 : lmb_beta_share(df2 / 2, df1 / 2, df2 / (df2 + df1 * f));
}

double lmb_t_quantile(double p, double df)
{
    double lo = 0, hi = 1;

    while (lmb_t_tails(hi, df) > p && hi < 1e300)
        hi *= 2;
    for (int i = 0; i < HALVINGS; i++) {
        double t = (lo + hi) / 2;
        *(lmb_t_tails(t, df) > p ? &lo : &hi) = t;
    }
    return (lo + hi) / 2;
}

/* x / y, where 0 / 0 is no effect. */
static double ratio(double x, double y) { return y > 0 ? x / y : x == 0 ? 0 : copysign(INFINITY, x); }

lmb_t_test lmb_t_paired(const double *a, const double *b, int n, double overlap, double least)
{
    lmb_t_test r = { .df = n - 1 };
    double squares = 0;

    for (int i = 0; i < n; i++)
        r.mean += (a[i] - b[i]) / n;
    for (int i = 0; i < n; i++)
        squares += (a[i] - b[i] - r.mean) * (a[i] - b[i] - r.mean);
    double error = sqrt(fmax(squares / (n - 1) * (1.0 / n + overlap), least));
    double reach = error * lmb_t_quantile(0.05, r.df);
    r.t = ratio(r.mean, error);
    r.p = lmb_t_tails(r.t, r.df);
    r.lo = r.mean - reach;
    r.hi = r.mean + reach;
    return r;
}

/* Sums of squares: between recipes, between blocks, and all. */
typedef struct squares {
    double recipes, blocks, all;
} squares;

static squares squares_of(const double *y, int recipes, int blocks)
{
    squares s = { 0, 0, 0 };
    double mean = 0;

    for (int i = 0; i < recipes * blocks; i++)
        mean += y[i] / (recipes * blocks);
    for (int i = 0; i < recipes * blocks; i++)
        s.all += (y[i] - mean) * (y[i] - mean);
    for (int r = 0; r < recipes; r++) {
        double m = 0;
        for (int k = 0; k < blocks; k++)
            m += y[r * blocks + k] / blocks;
        s.recipes += blocks * (m - mean) * (m - mean);
    }
    for (int k = 0; k < blocks; k++) {
        double m = 0;
        for (int r = 0; r < recipes; r++)
            m += y[r * blocks + k] / recipes;
        s.blocks += recipes * (m - mean) * (m - mean);
    }
    return s;
}

/* The mean of a - b over the blocks has twice the variance of a run, over their number: so for two recipes F is the
 * square of the t that lmb_t_paired has for the same `least`. */
static lmb_anova anova(const squares *s, double error, double df1, double df2, int blocks, double least)
{
    /* What rounding leaves of sums that cancel is no variance. */
    double of_a_run = fmax(error > 1e-13 * s->all ? error / df2 : 0, blocks * least / 2);
    lmb_anova a = { ratio(s->recipes / df1, of_a_run), df1, df2, 1 };

    a.p = lmb_f_tail(a.f, df1, df2);
    return a;
}

lmb_anova lmb_anova_blocks(const double *y, int recipes, int blocks, double least)
{
    squares s = squares_of(y, recipes, blocks);
    return anova(&s, s.all - s.recipes - s.blocks, recipes - 1, (recipes - 1.0) * (blocks - 1), blocks, least);
}

lmb_anova lmb_anova_one_way(const double *y, int recipes, int blocks, double least)
{
    squares s = squares_of(y, recipes, blocks);
    return anova(&s, s.all - s.recipes, recipes - 1, recipes * (blocks - 1.0), blocks, least);
}

double lmb_mcnemar(const lmb_paired *p)
{
    lmb_paired least = *p;

    least.lost = p->lost > p->won ? p->lost : p->won; /* the worse side, doubled */
    least.won = p->lost + p->won - least.lost;
    return fmin(1, 2 * lmb_paired_worse(&least));
}

void lmb_holm(double *p, int n)
{
    double above = 0;
    bool done[64] = { false };

    for (int left = n; left > 0; left--) {
        int least = -1;
        for (int i = 0; i < n; i++)
            if (!done[i] && (least < 0 || p[i] < p[least]))
                least = i;
        done[least] = true;
        above = fmax(above, fmin(1, p[least] * left));
        p[least] = above;
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double lmb_p_together(double *p, int n)
{
    qsort(p, (size_t)n, sizeof *p, by_size);
    return fmin(1, p[n / 2] * n / (n / 2 + 1));
}
