/* train/optimizers/table.c - every optimizer, one line each. */
#include <string.h>

#include "train/optimizer.h"

extern const lmb_optimizer lmb_optimizer_adagrad, lmb_optimizer_adam, lmb_optimizer_adamw, lmb_optimizer_rmsprop,
    lmb_optimizer_sgd;

const lmb_optimizer *const lmb_optimizers[] = {
    &lmb_optimizer_adagrad,
    &lmb_optimizer_adam,
    &lmb_optimizer_adamw,
    &lmb_optimizer_rmsprop,
    &lmb_optimizer_sgd,
    NULL,
};

const lmb_optimizer *lmb_optimizer_find(const char *name)
{
    for (int i = 0; lmb_optimizers[i]; i++)
        if (strcmp(lmb_optimizers[i]->name, name) == 0)
            return lmb_optimizers[i];
    return NULL;
}
