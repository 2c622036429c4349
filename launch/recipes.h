/* launch/recipes.h - what trainings of several recipes over seeds and folds say: sentences, figures, a page.
 *
 * Two recipes: paired t-test. More: analysis of variance with blocks, then every pair, judged by Holm's rule. Beside
 * it McNemar's test on the samples of each seed, the seeds' p-values put together. distill/tune/significance.h says
 * how each is worked out.
 */
#ifndef LMB_LAUNCH_RECIPES_H
#define LMB_LAUNCH_RECIPES_H

#include <stdint.h>

#include "core/base/str.h"

enum { LMB_RECIPES_MAX = 8, LMB_RECIPES_SEEDS = 32 };

typedef struct lmb_recipes {
    int recipes, seeds, folds; /* folds 1: scored on the test part          */
    const char *const *name;   /* [recipes]                                 */
    const int64_t *seed;       /* [seeds]                                   */
    const double *accuracy;    /* [recipes, seeds, folds]                   */
    const uint8_t *right;      /* [recipes, seeds, samples]; 0 or 1         */
    int64_t samples;           /* of all folds together, or of the test part */
    bool unpaired;             /* runs of one seed have nothing in common; folds is 1 */
} lmb_recipes;

/* One sentence a line, the answer first. */
void lmb_recipes_verdict(const lmb_recipes *r, lmb_str *out);
void lmb_recipes_json(const lmb_recipes *r, lmb_str *out);
void lmb_recipes_page(const lmb_recipes *r, const char *config, lmb_str *out);

#endif
