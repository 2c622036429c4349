/* federated/privacy/rdp.c - see rdp.h. */
#include "federated/privacy/rdp.h"

#include <math.h>

int lmb_rdp_order(int i) { return i < 255 ? i + 2 : i == 255 ? 512 : 1024; }

/* log(exp(a) + exp(b)) */
static double log_add(double a, double b)
{
    double most = a > b ? a : b, least = a > b ? b : a;
    return isinf(most) ? most : most + log1p(exp(least - most));
}

static double log_factorial(int n)
{
    int sign;
    return lgamma_r(n + 1.0, &sign);
}
static double log_choose(int n, int k) { return log_factorial(n) - log_factorial(k) - log_factorial(n - k); }

/* 1 / (alpha - 1) log sum_i C(alpha, i) (1 - q)^(alpha - i) q^i exp((i^2 - i) / (2 z^2)) */
static double poisson(double q, double z, int alpha)
{
    double sum = -INFINITY;
    for (int i = 0; i <= alpha; i++)
        sum = log_add(sum,
                      log_choose(alpha, i) + (alpha - i) * log1p(-q) + i * log(q) + ((double)i * i - i) / (2 * z * z));
    return sum / (alpha - 1);
}

/* Replacing a client moves the sum by up to 2 C, so that one round without sampling has e(j) = 2 j / z^2; with it
 *   1 / (alpha - 1) log(1 + q^2 C(alpha, 2) min(4 (exp(e(2)) - 1), 2 exp(e(2))) + sum_{j >= 3} 2 q^j C(alpha, j) exp((j
 *   - 1) e(j))) */
static double fixed_size(double q, double z, int alpha)
{
    double per = 2 / (z * z), whole = per * alpha;
    double second = fmin(log(4) + log(expm1(2 * per)), log(2) + 2 * per);
    double sum = log_add(0, 2 * log(q) + log_choose(alpha, 2) + second);

    if (isinf(second) && second > 0)
        return whole;
    for (int j = 3; j <= alpha; j++)
        sum = log_add(sum, log(2) + j * log(q) + log_choose(alpha, j) + (j - 1) * j * per);
    return fmin(whole, sum / (alpha - 1)); /* sampling can not make it worse */
}

double lmb_rdp_gaussian(lmb_sampling sampling, double q, double z, int alpha)
{
    if (!(z > 0))
        return INFINITY;
    if (sampling == LMB_SAMPLING_FIXED)
        return fixed_size(q, z, alpha);
    if (sampling == LMB_SAMPLING_POISSON && q < 1)
        return poisson(q, z, alpha);
    return alpha / (2 * z * z);
}

void lmb_rdp_add(lmb_rdp *sum, lmb_sampling sampling, double q, double z, uint64_t times)
{
    for (int i = 0; times && i < LMB_RDP_ORDERS; i++)
        sum->at[i] += (double)times * lmb_rdp_gaussian(sampling, q, z, lmb_rdp_order(i));
}

double lmb_rdp_convert(const double *rdp, const int *alpha, int n, double delta, int *best)
{
    double least = INFINITY;

    for (int i = 0; i < n; i++) {
        double a = alpha[i], epsilon = rdp[i] - (log(delta) + log(a)) / (a - 1) + log1p(-1 / a);
        if (epsilon < least) {
            least = epsilon;
            if (best)
                *best = alpha[i];
        }
    }
    return least > 0 ? least : 0;
}

double lmb_rdp_epsilon(const lmb_rdp *r, double delta, int *best)
{
    int alpha[LMB_RDP_ORDERS];
    double most = 0;

    for (int i = 0; i < LMB_RDP_ORDERS; i++) {
        alpha[i] = lmb_rdp_order(i);
        most = fmax(most, r->at[i]);
    }
    return most > 0 ? lmb_rdp_convert(r->at, alpha, LMB_RDP_ORDERS, delta, best) : 0;
}
