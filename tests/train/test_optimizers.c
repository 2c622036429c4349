/* Mirrors train/optimizers and train/schedule.c. Golden values: torch 1.13.1, ten steps from
 * w = [0.5, -0.25, 1.5, -2] with gradient 0.3 w + [0.1, -0.2, 0.05, 0.4] cos(t), t = 0 .. 9, lr 0.1; and
 * OneCycleLR(max_lr=0.4, total_steps=20). */
#include <math.h>
#include <string.h>

#include "core/base/config.h"
#include "tests/check_main.h"
#include "train/optimizer.h"
#include "train/schedule.h"

static lmb_error err;

static const struct { const char *name, *config; float want[4]; } golden[] = {
    { "sgd", "{weight_decay: 0.01}", { -0.00940792728f, 0.0403018147f, 0.0311060585f, -0.152223617f } },
    { "sgd", "{nesterov: true}", { -0.00587772112f, 0.0306035951f, 0.0284747668f, -0.124034435f } },
    { "adam", "{weight_decay: 0.01}", { -0.145518109f, 0.0793819427f, 0.546869218f, -1.09877098f } },
    { "adamw", "{weight_decay: 0.05}", { -0.143350735f, 0.0776689351f, 0.499552608f, -1.03136516f } },
    { "rmsprop", "{momentum: 0.5, alpha: 0.9}", { -0.020169206f, 0.0553555079f, -0.0544834174f, 0.0044984417f } },
    { "adagrad", "{lr_decay: 0.1}", { 0.240937307f, -0.112150684f, 1.1408149f, -1.58133137f } },
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

LMB_TEST_MAIN("train/optimizers", add_loop(ten_steps_as_in_torch, 6);
              add(l1_pulls_towards_zero_and_spares_what_does_not_decay); add(one_cycle_as_in_torch);
              add(other_schedules_by_hand);)
