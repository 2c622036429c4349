/* distill/search/paired.h - is one model worse than another, and by how much, judged on the same samples?
 *
 * Idea: two models that saw the same samples differ only where one is right and the other wrong. All that is known of
 * the difference of their accuracies is in these two counts; comparing two separate intervals would throw most of it
 * away.
 *
 *   test    exact McNemar test: under "no worse", of the samples that they disagree on half are lost
 *   limit   score interval of Tango: how large the drop may still be. It stays sensible when a count is 0
 *
 *   source   McNemar 1947; Tango 1998, Statistics in Medicine 17:891-908, equations (24) to (26)
 *   threads  pure
 */
#ifndef LMB_DISTILL_SEARCH_PAIRED_H
#define LMB_DISTILL_SEARCH_PAIRED_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_paired {
    int64_t n;         /* samples, > 0                                  */
    int64_t lost, won; /* only the first was right; only the second was */
} lmb_paired;

lmb_paired lmb_paired_count(const bool *first, const bool *second, int64_t n);
/* By how much the second is less accurate: (lost - won) / n, -1 to 1. */
double lmb_paired_drop(const lmb_paired *p);
/* The drop is at most this, with this confidence (one-sided, 0.5 to 1). */
double lmb_paired_limit(const lmb_paired *p, double confidence);
/* The drop is between these, with this confidence (two-sided). */
void lmb_paired_interval(const lmb_paired *p, double confidence, double *lo, double *hi);
/* Samples from which on two that answer alike show with this confidence that the drop is no more than `drop`, above 0.
 */
double lmb_paired_least(double drop, double confidence);
/* One-sided p-value of "the second is no worse than the first". */
double lmb_paired_worse(const lmb_paired *p);

/* The z with P(Z <= z) = p, 0 < p < 1. */
double lmb_normal_quantile(double p);

#ifdef __cplusplus
}
#endif
#endif
