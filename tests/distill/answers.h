/* tests/distill/answers.h - models of the zoo whose state is made up, and what they answer to one made-up sample. */
#ifndef LMB_TESTS_DISTILL_ANSWERS_H
#define LMB_TESTS_DISTILL_ANSWERS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "core/cpu/cpu.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/predictor.h"

static lmb_error err;

/* State is filled with numbers of no pattern: statistics and biases count as after a training. */
static inline void fill(lmb_graph *g)
{
    for (int v = 0; v < g->n_values; v++) {
        const lmb_value *x = &g->value[v];
        if (!lmb_role_is_state(x->role))
            continue;
        int64_t n = lmb_shape_count(&x->shape), each = x->shape.n > 1 ? n / x->shape.d[0] : 1;
        float *data = malloc(sizeof *data * (size_t)n);
        lmb_rand r = lmb_rand_at(7, LMB_RAND_TEST, 0, (uint64_t)v);
        bool variance = strstr(x->name, "var") != NULL;
        for (int64_t i = 0; i < n; i++) {
            float u = lmb_rand_uniform(&r, (uint32_t)i);
            data[i] = variance ? 0.5f + u : x->shape.n == 1 ? u + 0.1f : (2 * u - 1) * 2 / sqrtf((float)each);
        }
        ck_ok(lmb_graph_set_data(g, v, data, &err));
        free(data);
    }
}

/* Of 3 x 16 x 16, five classes; its state is as the builder made it. */
static inline lmb_graph *built(const char *model)
{
    return graph_of(model, LMB_SHAPE(3, 16, 16), 5, 3);
}

static inline void answer(const lmb_graph *g, float *y)
{
    const lmb_backend *backends[3];
    lmb_predictor *p;
    const float *logits;
    const lmb_shape *s = &g->value[lmb_graph_input(g, 0)].shape;
    int64_t n = lmb_shape_count(s), k = lmb_shape_count(&g->value[g->output[0].value].shape);
    float *x = malloc(sizeof *x * (size_t)n);
    lmb_rand r = lmb_rand_at(8, LMB_RAND_TEST, 0, 1);

    for (int64_t i = 0; i < n; i++)
        x[i] = lmb_rand_uniform(&r, (uint32_t)i) - 0.3f;
    ck_ok(lmb_cpu_backends("portable", backends, &err));
    ck_ok(lmb_predictor_create(g, NULL, backends, 1, &p, &err));
    ck_ok(lmb_predictor_run(p, x, 1, &logits, &err));
    memcpy(y, logits, sizeof *y * (size_t)k);
    lmb_predictor_destroy(p);
    free(x);
}

#endif
