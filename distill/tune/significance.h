/* distill/tune/significance.h - is a difference between recipes more than what seeds and samples do by chance?
 *
 * Idea: every recipe is trained on the same seeds and folds (blocks), so that what a block does to all of them alike
 * cancels. Two recipes: paired t-test. More: analysis of variance with blocks (repeated measures), or without where
 * runs do not pair.
 *
 *   folds    trainings of a cross-validation share most of their samples, so their differences vary less than those
 *            of new data would: the variance is raised by n_test / n_train (`overlap`), else too many
 *            true nothings look like something
 *   least    what a difference between two runs varies by at least: figures are counts of right answers, and that two
 *            blocks differ by the same count says little where samples alone would make them differ (0: unknown)
 *   p        two-sided; 1 where nothing differs at all; without `least` 0 where all blocks differ by the same amount
 *   threads  pure
 *   source   incomplete beta by its continued fraction (Lentz): DLMF 8.17.22; Nadeau and Bengio 2003, Machine
 *            Learning 52:239-281 (overlap); Holm 1979 (several pairs); Rueger 1978 (n / k times the k-th of n
 *            p-values, however they hang together; here the middle one)
 */
#ifndef LMB_DISTILL_TUNE_SIGNIFICANCE_H
#define LMB_DISTILL_TUNE_SIGNIFICANCE_H

#include <stdint.h>

#include "distill/search/paired.h"

#ifdef __cplusplus
extern "C" {
#endif

/* I_x(a, b), the share of a beta distribution below x: a, b > 0, 0 <= x <= 1. */
double lmb_beta_share(double a, double b, double x);
/* P(|T| >= |t|) with so many degrees of freedom; P(F >= f). */
double lmb_t_tails(double t, double df);
double lmb_f_tail(double f, double df1, double df2);
/* The t with P(|T| >= t) = p, 0 < p < 1. */
double lmb_t_quantile(double p, double df);

typedef struct lmb_t_test {
    double mean, lo, hi, t, df, p;
} lmb_t_test; /* mean of a - b and its 95 % interval */
/* n >= 2 blocks. overlap: n_test / n_train where blocks are folds, else 0. least: the variance that the mean of a - b
 * has at least, however alike the blocks are: that of the samples which they have in common. */
lmb_t_test lmb_t_paired(const double *a, const double *b, int n, double overlap, double least);

typedef struct lmb_anova {
    double f, df1, df2, p;
} lmb_anova;
/* y: [recipes, blocks], at least 2 of both. least: as above, of two recipes. Blocks are the same for all recipes... */
lmb_anova lmb_anova_blocks(const double *y, int recipes, int blocks, double least);
/* ... or have nothing to do with each other. */
lmb_anova lmb_anova_one_way(const double *y, int recipes, int blocks, double least);

/* Two-sided exact McNemar test. */
double lmb_mcnemar(const lmb_paired *p);
/* p-values of n <= 64 tests made at once become what each must be judged by, in place. */
void lmb_holm(double *p, int n);
/* One p-value of n that are of the same samples; sorts them. */
double lmb_p_together(double *p, int n);

#ifdef __cplusplus
}
#endif
#endif
