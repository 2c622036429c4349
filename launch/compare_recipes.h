/* launch/compare_recipes.h - what the files of `limbeck compare` share. */
#ifndef LMB_LAUNCH_COMPARE_RECIPES_H
#define LMB_LAUNCH_COMPARE_RECIPES_H

#include "core/base/str.h"
#include "launch/recipes.h"
#include "launch/stage.h"
#include "launch/terminal.h"
#include "launch/trial.h"

typedef struct lmbi_compare {
    lmb_args args;
    int recipes, seeds, folds, n; /* n: trainings */
    lmb_recipe recipe[LMB_RECIPES_MAX];
    const char *name[LMB_RECIPES_MAX], *stage, *out;
    int64_t seed[LMB_RECIPES_SEEDS];
    lmb_job job; /* of the first: data and split                 */
    lmb_folds part[LMB_RECIPES_SEEDS];
    int64_t samples;
    bool unpaired, fresh;
    double *accuracy; /* [n], by recipe, seed, fold                   */
    uint8_t *right;   /* [recipes, seeds, samples]                    */
    int done, before; /* the first of the n; of earlier calls         */
    int rank, ranks, threads;
    lmb_progress bar;
    double started;
    lmb_str identity; /* what all depends on (core/base/agree.h)          */
    char journal[LMB_STAGE_PATH];
    bool begun;
} lmbi_compare;

/* ---- compare_setup.c ---- */
/* Read and check everything, before any work. On failure too, lmbi_compare_close. */
LMB_MUST_CHECK lmb_status lmbi_compare_open(lmbi_compare *r, const lmb_args *a, lmb_error *err);
void lmbi_compare_close(lmbi_compare *r);
/* A recipe with a seed; lmb_recipe_close. */
LMB_MUST_CHECK lmb_status lmbi_compare_job(const lmbi_compare *r, int recipe, int64_t seed, lmb_job *out,
                                           lmb_error *err);

#endif
