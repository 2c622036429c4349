/* federated/aggregators/exact_sum.c - see exact_sum.h. */
#include "federated/aggregators/exact_sum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_BITS = 20, SUM_BITS = 62 };

lmb_status lmbi_exact_sum_open(lmbi_exact_sum *s, const char *who, const lmb_aggregator_limits *l, lmb_error *err)
{
    int bits = SUM_BITS - (int)ceil(log2((double)l->max_updates) + log2((double)l->max_examples) + log2(l->max_abs));

    if (bits < MIN_BITS)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "%s: %llu clients of up to %llu examples with values up to %g leave %d bits for fractions, %d are needed; "
            "lower target, max_examples or max_abs",
            who, (unsigned long long)l->max_updates, (unsigned long long)l->max_examples, l->max_abs, bits, MIN_BITS);
    *s = (lmbi_exact_sum){ .n = l->n, .scale = ldexp(1, bits), .sum = calloc(l->n, sizeof *s->sum) };
    if (!s->sum)
        return LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory for the sum of %zu values", who, l->n);
    return LMB_OK;
}

void lmbi_exact_sum_close(lmbi_exact_sum *s) { free(s->sum); }

void lmbi_exact_sum_begin(lmbi_exact_sum *s)
{
    s->weight = 0;
    memset(s->sum, 0, s->n * sizeof *s->sum);
}

void lmbi_exact_sum_add(lmbi_exact_sum *s, size_t at, const float *values, size_t count, uint64_t examples,
                        bool add_weight)
{
    for (size_t i = 0; i < count; i++)
        s->sum[at + i] += (int64_t)examples * llrint((double)values[i] * s->scale);
    if (add_weight)
        s->weight += examples;
}

lmb_status lmbi_exact_sum_check(const lmbi_exact_sum *s, const char *who, lmb_error *err)
{
    if (!s->weight)
        return LMB_FAIL(err, LMB_E_NUMERIC, "%s: no update was absorbed, there is nothing to average", who);
    return LMB_OK;
}
