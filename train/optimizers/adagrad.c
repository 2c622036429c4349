/* train/optimizers/adagrad.c - steps that shrink with the sum of all squared gradients.
 *
 *   s += g^2;  w -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)
 *   source   Duchi, Hazan, Singer 2011; torch.optim.Adagrad
 */
#include <math.h>

#include "core/base/compiler.h"
#include "train/optimizer.h"

typedef struct config { double lr_decay, eps, weight_decay, l1; } config;
static const lmb_field fields[] = {
    LMB_REAL(config, lr_decay, 0, 0, 1, "", "shrinks the rate with the step number"),
    LMB_REAL(config, eps, 1e-10, 1e-16, 1, "", "keeps the division finite"),
    LMB_REAL(config, weight_decay, 0, 0, 1, "", "L2 penalty added to the gradient"),
    LMB_REAL(config, l1, 0, 0, 1, "", "L1 penalty added to the gradient"), LMB_FIELD_END
};

LMB_HOT static void step(const void *c, const lmb_opt_range *r)
{
    const config *o = c;
    float *LMB_RESTRICT w = r->w, *LMB_RESTRICT s = r->slot[0];
    float rate = (float)(r->lr / (1 + (double)(r->t - 1) * o->lr_decay)), eps = (float)o->eps;
    float l2 = (float)(o->weight_decay * r->decay), l1 = (float)(o->l1 * r->decay);

    for (size_t i = 0; i < r->n; i++) {
        float g = lmb_penalised(r->g[i], w[i], l2, l1);
        s[i] += g * g;
        w[i] -= rate * (g / (sqrtf(s[i]) + eps));
    }
}

static lmb_rule rule(const void *c, double lr, int64_t t)
{
    const config *o = c;
    return (lmb_rule){ .kind = LMB_RULE_ADAGRAD, .lr = lr, .weight_decay = o->weight_decay, .l1 = o->l1,
                       .rate = (float)(lr / (1 + (double)(t - 1) * o->lr_decay)), .eps = (float)o->eps };
}

const lmb_optimizer lmb_optimizer_adagrad = {
    .name = "adagrad", .summary = "steps that shrink with the sum of squares", .source = "Duchi et al. 2011",
    .fields = fields, .config_size = sizeof(config), .n_slots = 1, .step = step, .rule = rule,
};
