/* train/optimizers/adam.c - Adam and AdamW: steps scaled by running moments of the gradient.
 *
 *   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
 *   w -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 *   adam: g += weight_decay w first;   adamw: w -= lr weight_decay w first
 *   source   Kingma and Ba 2015, arXiv:1412.6980; Loshchilov and Hutter 2019, arXiv:1711.05101
 */
#include <math.h>

#include "core/base/compiler.h"
#include "train/optimizer.h"

typedef struct config { double beta1, beta2, eps, weight_decay, l1; } config;
#define MOST 0.999999 /* a memory of 1 would divide by 1 - 1^t = 0 */
#define ROWS(decay_default)                                                                    \
    LMB_REAL(config, beta1, 0.9, 0, MOST, "", "memory of the mean of the gradient"),           \
    LMB_REAL(config, beta2, 0.999, 0, MOST, "", "memory of the mean of its square"),           \
    LMB_REAL(config, eps, 1e-8, 1e-16, 1, "", "keeps the division finite"),                    \
    LMB_REAL(config, weight_decay, decay_default, 0, 1, "", "L2 penalty; decoupled in adamw"), \
    LMB_REAL(config, l1, 0, 0, 1, "", "L1 penalty added to the gradient"), LMB_FIELD_END
static const lmb_field adam_fields[] = { ROWS(0) };
static const lmb_field adamw_fields[] = { ROWS(0.01) };

LMB_HOT static void moments(const config *o, const lmb_opt_range *r, float l2, float shrink)
{
    float *LMB_RESTRICT w = r->w, *LMB_RESTRICT m = r->slot[0], *LMB_RESTRICT v = r->slot[1];
    const float *LMB_RESTRICT grad = r->g;
    float b1 = (float)o->beta1, b2 = (float)o->beta2, eps = (float)o->eps, l1 = (float)(o->l1 * r->decay);
    float c1 = (float)(1 - o->beta1), c2 = (float)(1 - o->beta2);
    float rate = (float)(r->lr / (1 - pow(o->beta1, (double)r->t)));
    float root = (float)sqrt(1 - pow(o->beta2, (double)r->t));

    for (size_t i = 0; i < r->n; i++) {
        float g = lmb_penalised(grad[i], w[i], l2, l1);
        float x = w[i] * shrink;
        m[i] = b1 * m[i] + c1 * g;
        v[i] = b2 * v[i] + c2 * g * g;
        w[i] = x - rate * (m[i] / (sqrtf(v[i]) / root + eps));
    }
}

static void adam_step(const void *c, const lmb_opt_range *r)
{
    const config *o = c;
    moments(o, r, (float)(o->weight_decay * r->decay), 1.0f);
}

static void adamw_step(const void *c, const lmb_opt_range *r)
{
    const config *o = c;
    moments(o, r, 0, (float)(1 - r->lr * o->weight_decay * r->decay));
}

static lmb_rule adam_rule(const void *c, double lr, int64_t t)
{
    const config *o = c;
    return (lmb_rule){ .kind = LMB_RULE_ADAM, .lr = lr, .weight_decay = o->weight_decay, .l1 = o->l1,
                       .rate = (float)(lr / (1 - pow(o->beta1, (double)t))), .eps = (float)o->eps,
                       .root = (float)sqrt(1 - pow(o->beta2, (double)t)), .a = (float)o->beta1, .b = (float)o->beta2,
                       .ca = (float)(1 - o->beta1), .cb = (float)(1 - o->beta2) };
}

static lmb_rule adamw_rule(const void *c, double lr, int64_t t)
{
    lmb_rule r = adam_rule(c, lr, t);
    r.kind = LMB_RULE_ADAMW;
    return r;
}

const lmb_optimizer lmb_optimizer_adam = {
    .name = "adam", .summary = "steps scaled by running moments", .source = "arXiv:1412.6980", .fields = adam_fields,
    .config_size = sizeof(config), .n_slots = 2, .step = adam_step, .rule = adam_rule,
};

const lmb_optimizer lmb_optimizer_adamw = {
    .name = "adamw", .summary = "Adam with decoupled weight decay", .source = "arXiv:1711.05101",
    .fields = adamw_fields, .config_size = sizeof(config), .n_slots = 2, .step = adamw_step, .rule = adamw_rule,
};
