/* ResNet-8 follows PyTorch: from the same weights and batches, 20 steps of SGD with momentum and of Adam have PyTorch's
 * losses within 1e-4 relative. Golden losses: tests/golden/resnet8_parity.py (torch 1.13.1), which also says how
 * weights and batches are made. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/random.h"
#include "core/cpu/cpu.h"
#include "tests/check_main.h"
#include "tests/golden/resnet8_parity.h"
#include "train/model.h"
#include "train/optimizer.h"
#include "train/program.h"

enum { SEED = 3, BATCH = 8, STEPS = 20, PIXELS = 3 * 32 * 32 };

static lmb_error err;

static void make_batch(int step, float *x, int64_t *y)
{
    for (uint32_t n = 0; n < BATCH; n++) {
        lmb_rand r = lmb_rand_at(SEED, LMB_RAND_TEST, (uint32_t)step, n),
                 l = lmb_rand_at(SEED, LMB_RAND_TEST, 1000 + (uint32_t)step, n);
        for (uint32_t i = 0; i < PIXELS; i++)
            x[n * PIXELS + i] = (float)lmb_rand_below(&r, i, 256);
        y[n] = lmb_rand_below(&l, 0, 10);
    }
}

static void follow(const char *optimizer, const char *options, double lr, const double *golden, const char *backend)
{
    const lmb_optimizer *o = lmb_optimizer_find(optimizer);
    const lmb_backend *backends[3];
    const char *text = "{name: resnet, depth: 8, width: 16, mean: 127.5, scale: 0.0157}";
    lmb_config *c, *oc;
    lmb_graph *model;
    lmb_program *p;
    lmb_loss loss = { lmb_loss_cross_entropy, NULL };
    lmb_shape sample = LMB_SHAPE(3, 32, 32);
    static float x[BATCH * PIXELS];
    int64_t y[BATCH];
    double config[16];

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "model", &c, &err));
    ck_ok(lmb_config_parse(options, strlen(options), "optimizer", &oc, &err));
    ck_ok(lmb_fields_bind(o->fields, lmb_config_root(oc), config, &err));
    ck_ok(lmb_model_build(lmb_config_root(c), &sample, 10, SEED, &model, &err));
    ck_ok(lmb_cpu_backends(backend, backends, &err));
    ck_ok(lmb_program_create(model, &loss, backends, &p, &err));
    const lmb_state_layout *l = lmb_program_layout(p);
    float *state = calloc(l->count, sizeof *state), *out = calloc(l->count, sizeof *out), *slot[3];
    for (int k = 0; k < 3; k++)
        slot[k] = calloc(l->count, sizeof **slot);
    lmb_state_from_graph(l, model, state);
    for (int step = 0; step < STEPS; step++) {
        lmb_step_info info = { SEED, 0, NULL };
        lmb_program_step s = { .n = BATCH, .x = x, .y = y, .state = state, .out = out, .info = &info };
        make_batch(step, x, y);
        ck_ok(lmb_program_run(p, &s, &err));
        ck_assert_msg(fabs(s.loss - golden[step]) <= 1e-4 * golden[step],
                      "%s, %s, step %d: loss %.9g, PyTorch has %.9g", optimizer, backend, step, (double)s.loss,
                      golden[step]);
        for (int i = 0; i < l->n; i++) {
            const lmb_segment *g = &l->segment[i];
            lmb_opt_range r = { state + g->offset,
                                out + g->offset,
                                { slot[0] + g->offset, slot[1] + g->offset, slot[2] + g->offset },
                                g->count,
                                lr,
                                1,
                                step + 1 };
            if (g->role == LMB_ROLE_PARAMETER)
                o->step(config, &r);
            else
                memcpy(state + g->offset, out + g->offset, g->count * sizeof *out);
        }
    }
    for (int k = 0; k < 3; k++)
        free(slot[k]);
    free(state);
    free(out);
    lmb_program_destroy(p);
    lmb_graph_destroy(model);
    lmb_config_destroy(c);
    lmb_config_destroy(oc);
}

/* Without Winograd, whose rounding Adam's division by small numbers makes visible (1.3e-4 after 18 steps). */
static const char *backend(int i) { return i == 0 && lmb_backend_onednn() ? "onednn" : "portable"; }

START_TEST(sgd_with_momentum) { follow("sgd", "{momentum: 0.9}", 0.01, golden_sgd, _i == 2 ? "cpu" : backend(_i)); }
END_TEST
START_TEST(adam) { follow("adam", "{}", 0.001, golden_adam, backend(_i)); }
END_TEST

LMB_TEST_MAIN("train/parity", add_loop(sgd_with_momentum, 3); add_loop(adam, 2);)
