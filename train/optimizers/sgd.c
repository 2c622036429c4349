/* train/optimizers/sgd.c - stochastic gradient descent with (Nesterov) momentum.
 *
 *   g += weight_decay w;  v = momentum v + g;  w -= lr (nesterov ? g + momentum v : v)
 *   source   Sutskever et al. 2013; torch.optim.SGD (dampening 0)
 */
#include "core/base/compiler.h"
#include "train/optimizer.h"

typedef struct config { double momentum, weight_decay, l1; bool nesterov; } config;
static const lmb_field fields[] = {
    LMB_REAL(config, momentum, 0.9, 0, 1, "", "share of the last step that is kept"),
    LMB_BOOL(config, nesterov, 0, "look ahead along the momentum"),
    LMB_REAL(config, weight_decay, 0, 0, 1, "", "L2 penalty added to the gradient"),
    LMB_REAL(config, l1, 0, 0, 1, "", "L1 penalty added to the gradient"), LMB_FIELD_END
};

LMB_HOT static void step(const void *c, const lmb_opt_range *r)
{
    const config *o = c;
    float *LMB_RESTRICT w = r->w, *LMB_RESTRICT v = r->slot[0];
    const float *LMB_RESTRICT grad = r->g;
    float lr = (float)r->lr, m = (float)o->momentum, l2 = (float)(o->weight_decay * r->decay);
    float l1 = (float)(o->l1 * r->decay);

    for (size_t i = 0; i < r->n; i++) {
        float g = lmb_penalised(grad[i], w[i], l2, l1);
        v[i] = m * v[i] + g;
        w[i] -= lr * (o->nesterov ? g + m * v[i] : v[i]);
    }
}

static lmb_rule rule(const void *c, double lr, int64_t t)
{
    const config *o = c;
    (void)t;
    return (lmb_rule){ .kind = LMB_RULE_SGD,
                       .nesterov = o->nesterov,
                       .lr = lr,
                       .weight_decay = o->weight_decay,
                       .l1 = o->l1,
                       .rate = (float)lr,
                       .a = (float)o->momentum };
}

static double reach(const void *c, double *kept)
{
    const config *o = c;
    *kept = o->momentum * *kept + 1;
    return o->nesterov ? 1 + o->momentum * *kept : *kept;
}

const lmb_optimizer lmb_optimizer_sgd = {
    .name = "sgd", .summary = "gradient descent with momentum", .source = "Sutskever et al. 2013", .fields = fields,
    .config_size = sizeof(config), .n_slots = 1, .step = step, .rule = rule, .reach = reach,
};
