/* distill/tune/methods.c - the table of methods. See method.h. */
#include <string.h>

#include "core/base/random.h"
#include "distill/tune/method.h"

extern const lmb_method lmbi_method_grid, lmbi_method_random, lmbi_method_bayes, lmbi_method_nsga2, lmbi_method_pso,
    lmbi_method_halving;

const lmb_method *const lmb_methods[] = {
    &lmbi_method_random,
    &lmbi_method_grid,
    &lmbi_method_bayes,
    &lmbi_method_nsga2,
    &lmbi_method_pso,
    &lmbi_method_halving,
    NULL,
};

lmb_status lmb_method_bind(const lmb_tree *tree, const lmb_method **out, void *config, lmb_error *err)
{
    const char *name = lmb_methods[0]->name, *names[16];
    int n = 0;

    if (tree)
        LMB_TRY(lmb_tree_name(tree, &name, err));
    for (const lmb_method *const *m = lmb_methods; *m; m++) {
        names[n++] = (*m)->name;
        if (strcmp((*m)->name, name) == 0) {
            *out = *m;
            return lmb_fields_bind((*m)->fields, tree && tree->kind == LMB_TREE_MAP ? tree : NULL, config, err);
        }
    }
    names[n] = NULL;
    const char *near = lmb_nearest(name, names);
    return lmb_tree_fail(tree, err, LMB_E_ARG, "there is no method '%s'%s%s; `limbeck list methods` shows them", name,
                         near ? "; did you mean " : "", near ? near : "");
}

double lmbi_tune_uniform(uint64_t seed, uint32_t what, int64_t trial, uint32_t e)
{
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_TUNE, what, (uint64_t)trial);
    return (lmb_rand_u32(&r, e) + 0.5) / 4294967296.0;
}
