/* tests/distill/written.h - small models as others write them, node by node, and what they answer to one sample: in
 * floats, and as integers. */
#ifndef LMB_TESTS_DISTILL_WRITTEN_H
#define LMB_TESTS_DISTILL_WRITTEN_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "core/plan/plan.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/ptq.h"
#include "distill/search/deployed.h"
#include "tests/check_main.h"

enum { CHANNELS = 3, SIDE = 6, NUMBERS = CHANNELS * SIDE * SIDE, CLASSES = 5, SAMPLES = 40 };
static lmb_error err;

static inline lmb_vid numbers(lmb_builder *b, lmb_role role, lmb_shape s, float size)
{
    int64_t n = lmb_shape_count(&s);
    float *w = malloc(sizeof *w * (size_t)n);
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, 0, (uint64_t)b->g->n_values);

    for (int64_t i = 0; i < n; i++)
        w[i] = size * lmb_rand_normal(&r, (uint32_t)i);
    lmb_vid v = lmb_emit_value(b, role, "w", LMB_F32, s, w);
    free(w);
    return v;
}
static inline lmb_vid weights(lmb_builder *b, lmb_shape s) { return numbers(b, LMB_ROLE_PARAMETER, s, 0.4f); }

static inline lmb_vid one(lmb_builder *b, const char *op, lmb_vid x)
{
    return lmb_emit(b, op, op, LMB_IN(x), LMB_NO_ATTRS);
}

static inline lmb_vid with(lmb_builder *b, const char *op, lmb_vid x, float c)
{
    return lmb_emit(b, op, op, LMB_IN(x, lmb_emit_scalar(b, c)), LMB_NO_ATTRS);
}

static inline lmb_vid conv(lmb_builder *b, lmb_vid x, int64_t k, int64_t side)
{
    int64_t c = lmb_builder_value(b, x)->shape.d[1], p = side / 2;
    return lmb_emit(b, "Conv", "conv", LMB_IN(x, weights(b, LMB_SHAPE(k, c, side, side)), weights(b, LMB_SHAPE(k))),
                    LMB_ATTRS(LMB_AINTS("pads", p, p, p, p)));
}

static inline lmb_vid head(lmb_builder *b, lmb_vid x)
{
    x = one(b, "Flatten", x);
    return lmb_emit(
        b, "Gemm", "head",
        LMB_IN(x, weights(b, LMB_SHAPE(CLASSES, lmb_builder_value(b, x)->shape.d[1])), weights(b, LMB_SHAPE(CLASSES))),
        LMB_ATTRS(LMB_AINT("transB", 1)));
}

static inline lmb_builder begin(lmb_graph **g, lmb_vid *x)
{
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(g, &err));
    lmb_builder b = lmb_builder_of(*g, &err);
    *x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, CHANNELS, SIDE, SIDE), NULL);
    return b;
}

static inline lmb_graph *end(lmb_builder *b, lmb_vid y)
{
    lmb_emit_output(b, "logits", y);
    ck_ok(lmb_builder_status(b));
    return b->g;
}

/* ---- answers ---- */

static inline uint8_t byte_at(int i) { return (uint8_t)(i * 37 % 251 ^ i / 7 % 5); }

static inline void answers(const lmb_graph *g, float *y)
{
    float x[NUMBERS];
    lmb_plan_options o = { .backends = NULL };
    lmb_plan *p;

    for (int i = 0; i < NUMBERS; i++)
        x[i] = byte_at(i);
    ck_ok(lmb_plan_compile(g, &o, &p, &err));
    ck_ok(lmb_plan_bind(p, lmb_graph_input(g, 0), x, &err));
    ck_ok(lmb_plan_run(p, NULL, &err));
    memcpy(y, lmb_plan_data(p, g->output[0].value), CLASSES * sizeof *y);
    lmb_plan_destroy(p);
}

static inline void close_to(const float *a, const float *b, float share)
{
    float most = 0;
    for (int i = 0; i < CLASSES; i++)
        most = fmaxf(most, fabsf(a[i]));
    ck_assert(most > 0.01f);
    for (int i = 0; i < CLASSES; i++)
        ck_assert_msg(fabsf(a[i] - b[i]) <= share * most, "logit %d: %g, was %g", i, (double)b[i], (double)a[i]);
}

/* Of which the first sample is the one that answers() asks about. */
static inline lmb_dataset *bytes_as_data(void)
{
    lmb_dataset_arrays all = { .samples = malloc(SAMPLES * NUMBERS),
                               .labels = calloc(SAMPLES, sizeof(int32_t)),
                               .n = SAMPLES,
                               .shape = LMB_SHAPE(CHANNELS, SIDE, SIDE),
                               .dtype = LMB_U8,
                               .classes = CLASSES };
    lmb_dataset *data;

    for (int i = 0; i < SAMPLES * NUMBERS; i++)
        ((uint8_t *)all.samples)[i] = byte_at(i);
    ck_ok(lmb_dataset_memory(&all, "memory", &data, &err));
    return data;
}

/* What the `.lmb` says of the same sample. */
static inline void integers(const lmb_graph *form, float *y)
{
    const lmb_ptq_config how = { .calibration = SAMPLES, .seed = 1, .backend = "reference", .threads = 1 };
    float logits[SAMPLES * CLASSES];
    lmb_dataset *data = bytes_as_data();
    lmb_metrics m = { 0 };
    lmb_graph *frozen;
    lmb_deployed d;

    ck_ok(lmb_ptq(form, &how, data, &frozen, &err));
    ck_ok(lmb_deployed_real(frozen, &d, NULL, &err));
    ck_ok(lmb_metrics_init(&m, CLASSES, &err));
    ck_ok(lmb_deploy_evaluate(d.file.text, d.file.n, data, NULL, 1, &m, logits, NULL, &err));
    memcpy(y, logits, CLASSES * sizeof *y);
    lmb_metrics_deinit(&m);
    lmb_deployed_free(&d);
    lmb_graph_destroy(frozen);
    lmb_dataset_destroy(data);
}

static inline int count(const lmb_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += strcmp(g->node[i].op->name, op) == 0;
    return n;
}

#endif
