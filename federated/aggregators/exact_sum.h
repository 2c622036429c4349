/* federated/aggregators/exact_sum.h - a weighted sum that does not depend on the order of its terms.
 *
 * Idea: floating-point sums depend on the order in which clients happen to finish; so each value is rounded once to
 * fixed point, and the sum runs in int64, where order does not matter. How many fraction bits fit follows from what the
 * configuration allows at most:
 *
 *     max_updates * max_examples * max_abs * 2^bits <= 2^62
 *
 * and with fewer than 20 of them the configuration is refused. With 64 clients of up to 2^20 examples and values up to
 * 8 there are 33: an error of 6e-11 a value, far below a float's own at the size of weights.
 */
#ifndef LMB_FEDERATED_AGGREGATORS_EXACT_SUM_H
#define LMB_FEDERATED_AGGREGATORS_EXACT_SUM_H

#include "federated/aggregator.h"

typedef struct lmbi_exact_sum {
    size_t n;
    double scale;
    uint64_t weight;
    int64_t *sum; /* (n) */
} lmbi_exact_sum;

/* `who` begins the sentences. E_ARG when fewer than 20 fraction bits are left, E_NOMEM. */
LMB_MUST_CHECK lmb_status lmbi_exact_sum_open(lmbi_exact_sum *s, const char *who, const lmb_aggregator_limits *l,
                                              lmb_error *err);
void lmbi_exact_sum_close(lmbi_exact_sum *s);
void lmbi_exact_sum_begin(lmbi_exact_sum *s);
void lmbi_exact_sum_add(lmbi_exact_sum *s, size_t at, const float *values, size_t count, uint64_t examples,
                        bool add_weight);
/* E_NUMERIC when nothing was added. Call before lmbi_exact_mean. */
LMB_MUST_CHECK lmb_status lmbi_exact_sum_check(const lmbi_exact_sum *s, const char *who, lmb_error *err);
static inline int64_t *lmbi_exact_sums(lmbi_exact_sum *s, size_t *n, uint64_t **weight)
{
    *n = s->n;
    *weight = &s->weight;
    return s->sum;
}
static inline double lmbi_exact_mean(const lmbi_exact_sum *s, size_t i)
{
    return (double)s->sum[i] / (double)s->weight / s->scale;
}

#endif
