/* Mirrors train/optimizers and train/schedule.c. Golden values: Debian's python3-torch 1.13.1, by
 *
 *   w = torch.tensor([.5, -.25, 1.5, -2.], requires_grad=True); o = torch.optim.X([w], .1, ...)
 *   base = torch.tensor([.1, -.2, .05, .4])
 *   for t in range(10): w.grad = .3 * w.detach() + base * math.cos(t); o.step()
 *   print(w.tolist())
 *
 *   o = torch.optim.SGD([torch.zeros(1, requires_grad=True)], .4); s = torch.optim.lr_scheduler.X(o, ...)
 *   for k in range(n): print(o.param_groups[0]["lr"]); o.step(); s.step()
 */
#include <math.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/config.h"
#include "tests/check_main.h"
#include "tests/fields_check.h"
#include "train/optimizer.h"
#include "train/schedule.h"

static lmb_error err;

static const struct { const char *name, *config; float want[4]; } golden[] = {
    { "sgd", "{weight_decay: 0.01}", { -0.00940792728f, 0.0403018147f, 0.0311060585f, -0.152223617f } },
    { "sgd", "{momentum: 0}", { 0.366251677f, -0.179435343f, 1.10490608f, -1.48468971f } },
    { "sgd", "{nesterov: true}", { -0.00587772112f, 0.0306035951f, 0.0284747668f, -0.124034435f } },
    { "adam", "{weight_decay: 0.01}", { -0.145518109f, 0.0793819427f, 0.546869218f, -1.09877098f } },
    { "adam", "{beta1: 0.8, beta2: 0.95, eps: 0.01}", { -0.0840601996f, 0.0465813503f, 0.584352255f, -1.12848186f } },
    { "adamw", "{weight_decay: 0.05}", { -0.143350735f, 0.0776689351f, 0.499552608f, -1.03136516f } },
    { "rmsprop", "{momentum: 0.5, alpha: 0.9}", { -0.020169206f, 0.0553555079f, -0.0544834174f, 0.0044984417f } },
    { "rmsprop", "{weight_decay: 0.02}", { 0.278684318f, -0.301300287f, 0.0711762682f, 0.186580658f } },
    { "adagrad", "{lr_decay: 0.1}", { 0.240937307f, -0.112150684f, 1.1408149f, -1.58133137f } },
    { "adagrad", "{weight_decay: 0.02}", { 0.188297495f, -0.0960561782f, 1.04588914f, -1.47959816f } },
};

static void bind(const lmb_field *rows, const char *text, void *out)
{
    lmb_config *c;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "test", &c, &err));
    ck_ok(lmb_fields_bind(rows, lmb_config_root(c), out, &err));
    lmb_config_destroy(c);
}

START_TEST(ten_steps_as_in_torch)
{
    const lmb_optimizer *o = lmb_optimizer_find(golden[_i].name);
    double config[16];
    float w[4] = { 0.5f, -0.25f, 1.5f, -2.0f }, slots[3][4] = { { 0 } }, g[4];
    const float base[4] = { 0.1f, -0.2f, 0.05f, 0.4f };

    ck_assert_ptr_nonnull(o);
    ck_assert_uint_le(o->config_size, sizeof config);
    bind(o->fields, golden[_i].config, config);
    for (int t = 0; t < 10; t++) {
        for (int i = 0; i < 4; i++)
            g[i] = w[i] * 0.3f + base[i] * (float)cos(t);
        lmb_opt_range r = { w, g, { slots[0], slots[1], slots[2] }, 4, 0.1, 1.0, t + 1 };
        o->step(config, &r);
    }
    for (int i = 0; i < 4; i++)
        ck_assert_float_eq_tol(w[i], golden[_i].want[i], 2e-6);
}
END_TEST

START_TEST(l1_pulls_towards_zero_and_spares_what_does_not_decay)
{
    double config[16];
    const lmb_optimizer *o = lmb_optimizer_find("sgd");
    float w[2] = { 1, -1 }, g[2] = { 0 }, v[2] = { 0 };
    bind(o->fields, "{l1: 0.5, weight_decay: 0.5, momentum: 0}", config);
    lmb_opt_range r = { w, g, { v }, 2, 0.1, 0.0, 1 };
    o->step(config, &r);
    ck_assert_float_eq(w[0], 1.0f);
    r.decay = 1.0;
    o->step(config, &r);
    ck_assert_float_eq_tol(w[0], 0.9f, 1e-6);
    ck_assert_float_eq_tol(w[1], -0.9f, 1e-6);
}
END_TEST

START_TEST(one_cycle_as_in_torch)
{
    static const double want[20] = { 0.016, 0.05266874, 0.14866874, 0.26733126, 0.36333126, 0.4, 0.3949856,
                                     0.38019385, 0.35636647, 0.32469826, 0.2867772, 0.24450481, 0.2000008, 0.15549679,
                                     0.1132244, 0.07530334, 0.04363513, 0.01980775, 0.005016, 1.6e-06 };
    const lmb_schedule *s = lmb_schedule_find("one_cycle");
    double config[8];
    bind(s->fields, "{}", config);
    for (int i = 0; i < 20; i++)
        ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 0.4, 0, i, 20, 10), want[i], 1e-7);
}
END_TEST

/* MultiStepLR([3, 5], .1), StepLR(3, .5), CosineAnnealingLR(10, .08): an epoch here is one step. */
static const struct { const char *name, *config; double want[10]; } falling[] = {
    { "step", "{milestones: [3, 5], gamma: 0.1}", { .4, .4, .4, .04, .04, .004, .004, .004, .004, .004 } },
    { "step", "{every: 3, gamma: 0.5}", { .4, .4, .4, .2, .2, .2, .1, .1, .1, .05 } },
    { "cosine", "{final: 0.2}", { .4, .392169043, .369442719, .33404564, .289442719, .24, .190557281, .14595436,
                                  .110557281, .0878309574 } },
    { "constant", "{}", { .4, .4, .4, .4, .4, .4, .4, .4, .4, .4 } },
};
START_TEST(falling_rates_as_in_torch)
{
    const lmb_schedule *s = lmb_schedule_find(falling[_i].name);
    double config[80];
    ck_assert_uint_le(s->config_size, sizeof config);
    bind(s->fields, falling[_i].config, config);
    for (int k = 0; k < 10; k++)
        ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 0.4, 0, k, 10, 1), falling[_i].want[k], 1e-9);
}
END_TEST

START_TEST(every_counts_epochs_after_the_warm_up)
{
    const lmb_schedule *s = lmb_schedule_find("step");
    double config[80];
    bind(s->fields, "{every: 1.5, gamma: 0.5}", config); /* 15 steps, from step 4 on */
    ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 1, 4, 0, 100, 10), 0.25, 1e-12);
    ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 1, 4, 18, 100, 10), 1, 1e-12);
    ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 1, 4, 19, 100, 10), 0.5, 1e-12);
    ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 1, 4, 34, 100, 10), 0.25, 1e-12);
}
END_TEST

/* A memory of 1 divides by zero in the bias correction. */
START_TEST(memories_of_one_are_refused)
{
    static const char *const names[] = { "adam", "adamw" }, *const texts[] = { "{beta1: 1}", "{beta2: 1}" };
    double config[16];
    lmb_config *c;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(texts[_i / 2], strlen(texts[_i / 2]), "test", &c, &err));
    const lmb_optimizer *o = lmb_optimizer_find(names[_i % 2]);
    ck_assert_int_eq(lmb_fields_bind(o->fields, lmb_config_root(c), config, &err), LMB_E_ARG);
    lmb_config_destroy(c);
}
END_TEST

START_TEST(defaults_are_what_the_rows_allow)
{
    for (int i = 0; lmb_optimizers[i]; i++)
        ck_defaults(lmb_optimizers[i]->name, lmb_optimizers[i]->fields);
    for (int i = 0; lmb_schedules[i]; i++)
        ck_defaults(lmb_schedules[i]->name, lmb_schedules[i]->fields);
}
END_TEST

START_TEST(other_schedules_by_hand)
{
    const lmb_schedule *s = lmb_schedule_find("step");
    double config[80];
    bind(s->fields, "{milestones: [2, 0.5], gamma: 0.1}", config);
    ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 1, 0, 19, 100, 10), 1, 1e-12);
    ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 1, 0, 20, 100, 10), 0.1, 1e-12);
    ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 1, 0, 50, 100, 10), 0.01, 1e-12);
    s = lmb_schedule_find("cosine");
    bind(s->fields, "{final: 0.2}", config);
    ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 1, 10, 0, 110, 10), 0.1, 1e-12);
    ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 1, 10, 10, 110, 10), 1, 1e-12);
    ck_assert_double_eq_tol(lmb_schedule_rate(s, config, 1, 10, 60, 110, 10), 0.6, 1e-12);
}
END_TEST

/* What FedNova and SCAFFOLD divide by: where a gradient of 1 has led after some steps. */
START_TEST(reach_is_what_a_gradient_of_one_moves)
{
    static const char *const texts[] = { "{momentum: 0}", "{momentum: 0.9}", "{momentum: 0.8, nesterov: true}" };
    const lmb_optimizer *o = lmb_optimizer_find("sgd");
    char config[256] = { 0 };
    float w = 0, v = 0, g = 1;
    double kept = 0, travel = 0;

    bind(o->fields, texts[_i], config);
    for (int t = 1; t <= 7; t++) {
        lmb_opt_range r = { .w = &w, .g = &g, .slot = { &v }, .n = 1, .lr = 0.125 * t, .decay = 1, .t = t };
        o->step(config, &r);
        travel += r.lr * o->reach(config, &kept);
        ck_assert_double_eq_tol(-w, travel, 1e-5);
    }
    ck_assert_ptr_null(lmb_optimizer_find("adam")->reach);
}
END_TEST

LMB_TEST_MAIN("train/optimizers", add_loop(reach_is_what_a_gradient_of_one_moves, 3);
              add_loop(ten_steps_as_in_torch, LMB_COUNT(golden));
              add(l1_pulls_towards_zero_and_spares_what_does_not_decay); add(one_cycle_as_in_torch);
              add(other_schedules_by_hand); add_loop(falling_rates_as_in_torch, LMB_COUNT(falling));
              add(every_counts_epochs_after_the_warm_up); add_loop(memories_of_one_are_refused, 4);
              add(defaults_are_what_the_rows_allow);)
