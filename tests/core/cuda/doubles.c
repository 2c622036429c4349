/* tests/core/cuda/doubles.c - see doubles.h. Compiled with double in place of float, like all that it stands on. */
#define HAVE_DOUBLES
#include "tests/core/cuda/doubles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/core/cuda/layers.h"

static lmb_status run_graph(lmb_graph *g, const double *const *value, int n_values, double **out, int n_out,
                            lmb_error *err)
{
    lmb_step_info step = { 7, 3, NULL };
    lmb_plan *p = NULL;

    if (n_values != g->n_values || n_out > g->n_outputs)
        return LMB_FAIL(err, LMB_E_ARG, "another graph: %d values", g->n_values);
    for (int v = 0; v < n_values; v++)
        if (value[v])
            LMB_TRY(lmb_graph_set_data(g, v, value[v], err));
    LMB_TRY(lmb_plan_compile(g, NULL, &p, err));
    lmb_status st = lmb_plan_run(p, &step, err);
    for (int k = 0; k < n_out && st == LMB_OK; k++) {
        const lmb_value *y = &g->value[g->output[k].value];
        size_t bytes = lmb_shape_bytes(&y->shape, y->dtype);
        out[k] = y->dtype == LMB_F32 ? malloc(bytes + 1) : NULL;
        if (out[k])
            memcpy(out[k], lmb_plan_data(p, g->output[k].value), bytes);
    }
    lmb_plan_destroy(p);
    return st;
}

__attribute__((visibility("default"))) int doubles_run(int which, uint64_t seed, const double *const *value,
                                                       int n_values, double **out, int n_out, char why[256])
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_graph *g = NULL;

    lmb_status st = lmb_case_graph(any_case(which), seed, false, false, &g, &err);
    if (st == LMB_OK)
        st = run_graph(g, value, n_values, out, n_out, &err);
    lmb_graph_destroy(g);
    snprintf(why, 256, "%s", err.msg);
    return st != LMB_OK;
}
