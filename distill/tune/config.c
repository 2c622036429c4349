/* distill/tune/config.c - what can be asked of a search over recipes. See tune.h. */
#include "distill/tune/tune.h"

const char *const lmb_tune_costs[] = { "none", "latency", "bytes", "macs", NULL };
static const char *const rules[] = { "none", "median", NULL };

static const lmb_field stop_fields[] = {
    LMB_CHOICE(lmb_tune_stop_config, rule, LMB_TUNE_STOP_NONE, rules,
               "median: a trial that is worse than half of those of earlier rounds were after the same epoch of a fold"),
    LMB_INT(lmb_tune_stop_config, epochs, 1, 1, 1e6, "epochs", "that every trial may have, of its first fold"),
    LMB_INT(lmb_tune_stop_config, trials, 5, 1, 1e6, "trials", "that must have got as far before one is stopped"),
    LMB_FIELD_END
};

const lmb_field lmb_tune_fields[] = {
    LMB_TEXT(lmb_tune_config, stage, "", "teacher or student; nothing where the file has a `model` of its own"),
    LMB_TREE(lmb_tune_config, space,
             "keys that may change, each with real: [lo, hi], int: [lo, hi] or choice: [...]; docs/tune.md"),
    LMB_TREE(lmb_tune_config, method, "where to look next, and options; `limbeck list methods`"),
    LMB_CHOICE(lmb_tune_config, cost, LMB_TUNE_COST_NONE, lmb_tune_costs, "of the deployed model, beside the accuracy"),
    LMB_INT(lmb_tune_config, trials, 32, 1, LMB_TUNE_TRIALS, "", "at most"),
    LMB_INT(lmb_tune_config, round, 8, 1, LMB_TUNE_ROUND, "trials",
            "that are proposed at once, and that ranks share; the population of nsga2 and pso"),
    LMB_REAL(lmb_tune_config, seconds, 0, 0, 1e9, "s",
             "after which no more rounds begin, earlier calls counted; 0: no limit"),
    LMB_INT(lmb_tune_config, folds, 1, 1, LMB_TUNE_FOLDS, "",
            "1: trained on the training part, scored on the validation part; more: stratified cross-validation on both "
            "together"),
    LMB_INT(lmb_tune_config, seed, 1, 0, 9e15, "", "of all choices, and of the folds"),
    LMB_SECTION(lmb_tune_config, stop, stop_fields, "of trials that are hopeless"),
    LMB_FIELD_END
};
