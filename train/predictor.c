/* train/predictor.c - see predictor.h. */
#include "train/predictor.h"

#include <stdlib.h>
#include <string.h>

#include "core/passes/fold.h"
#include "train/program.h"

struct lmb_predictor {
    lmb_graph *g;
    lmb_plan *plan;
    int64_t batch, numbers;
    int classes;
    float *x;           /* a batch that is not full */
    const float *bound; /* what the plan reads */
};

void lmb_predictor_destroy(lmb_predictor *p)
{
    if (!p)
        return;
    lmb_plan_destroy(p->plan);
    lmb_graph_destroy(p->g);
    free(p->x);
    free(p);
}

lmb_status lmb_predictor_create(const lmb_graph *model, const float *state, const lmb_backend *const *backends,
                                int64_t batch, lmb_predictor **out, lmb_error *err)
{
    lmb_plan_options o = { .backends = backends };
    int classes = 0;
    LMB_TRY(lmb_model_classes(model, &classes, err));
    lmb_predictor *p = calloc(1, sizeof *p);
    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a predictor");
    p->batch = batch;
    p->classes = classes;
    lmb_status st = lmb_pass_deploy(model, state, batch, &p->g, err);
    if (st == LMB_OK)
        st = lmb_model_rows(p->g, batch, err);
    if (st == LMB_OK)
        st = lmb_plan_compile(p->g, &o, &p->plan, err);
    if (st == LMB_OK) {
        p->numbers = lmb_shape_count(&p->g->value[lmb_graph_input(p->g, 0)].shape);
        p->x = calloc((size_t)p->numbers + 1, sizeof *p->x);
        if (!p->x)
            st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for a batch of %lld", (long long)batch);
    }
    if (st != LMB_OK) {
        lmb_predictor_destroy(p);
        return st;
    }
    *out = p;
    return LMB_OK;
}

lmb_status lmb_predictor_run(lmb_predictor *p, const float *x, int64_t n, const float **logits, lmb_error *err)
{
    if (n < p->batch) {
        memcpy(p->x, x, sizeof *x * (size_t)(n * (p->numbers / p->batch)));
        x = p->x;
    }
    if (x != p->bound)
        LMB_TRY(lmb_plan_bind(p->plan, lmb_graph_input(p->g, 0), (void *)x, err)); /* inputs are only read */
    p->bound = x;
    LMB_TRY(lmb_plan_run(p->plan, NULL, err));
    *logits = lmb_plan_data(p->plan, p->g->output[0].value);
    return LMB_OK;
}

int lmb_predictor_classes(const lmb_predictor *p) { return p->classes; }
