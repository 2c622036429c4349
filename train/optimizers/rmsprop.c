/* train/optimizers/rmsprop.c - steps scaled by a running mean of the squared gradient.
 *
 *   v = alpha v + (1 - alpha) g^2;  b = momentum b + g / (sqrt(v) + eps);  w -= lr b
 *   source   Tieleman and Hinton 2012, lecture 6.5; torch.optim.RMSprop (not centered)
 */
#include <math.h>

#include "core/base/compiler.h"
#include "train/optimizer.h"

typedef struct config { double alpha, eps, momentum, weight_decay, l1; } config;
static const lmb_field fields[] = {
    LMB_REAL(config, alpha, 0.99, 0, 1, "", "memory of the mean square"),
    LMB_REAL(config, eps, 1e-8, 1e-16, 1, "", "keeps the division finite"),
    LMB_REAL(config, momentum, 0, 0, 1, "", "share of the last step that is kept"),
    LMB_REAL(config, weight_decay, 0, 0, 1, "", "L2 penalty added to the gradient"),
    LMB_REAL(config, l1, 0, 0, 1, "", "L1 penalty added to the gradient"), LMB_FIELD_END
};

LMB_HOT static void step(const void *c, const lmb_opt_range *r)
{
    const config *o = c;
    float *LMB_RESTRICT w = r->w, *LMB_RESTRICT v = r->slot[0], *LMB_RESTRICT b = r->slot[1];
    float lr = (float)r->lr, a = (float)o->alpha, ca = (float)(1 - o->alpha), eps = (float)o->eps;
    float m = (float)o->momentum, l2 = (float)(o->weight_decay * r->decay), l1 = (float)(o->l1 * r->decay);

    for (size_t i = 0; i < r->n; i++) {
        float g = lmb_penalised(r->g[i], w[i], l2, l1);
        v[i] = a * v[i] + ca * g * g;
        b[i] = m * b[i] + g / (sqrtf(v[i]) + eps);
        w[i] -= lr * b[i];
    }
}

static lmb_rule rule(const void *c, double lr, int64_t t)
{
    const config *o = c;
    (void)t;
    return (lmb_rule){ .kind = LMB_RULE_RMSPROP,
                       .lr = lr,
                       .weight_decay = o->weight_decay,
                       .l1 = o->l1,
                       .rate = (float)lr,
                       .eps = (float)o->eps,
                       .a = (float)o->alpha,
                       .ca = (float)(1 - o->alpha),
                       .b = (float)o->momentum };
}

const lmb_optimizer lmb_optimizer_rmsprop = {
    .name = "rmsprop", .summary = "steps scaled by the mean square", .source = "Tieleman and Hinton 2012",
    .fields = fields, .config_size = sizeof(config), .n_slots = 2, .step = step, .rule = rule,
};
