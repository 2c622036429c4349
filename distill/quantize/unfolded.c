/* distill/quantize/unfolded.c - see unfolded.h. */
#include "distill/quantize/unfolded.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/batch_norm.h"
#include "core/passes/fold.h"
#include "distill/quantize/steps.h"
#include "train/loss.h"

/* Weights are rounded, too: with steps of their own if these are learned. */
static lmb_status round_weights(const lmb_graph *g, const lmb_qat_config *c, lmb_graph **out, lmb_error *err)
{
    lmb_graph *ranged;

    if (c->scheme != LMB_QAT_LEARNED)
        return lmbi_qat_insert(g, c, LMBI_QAT_WEIGHTS, out, err);
    LMB_TRY(lmbi_qat_insert(g, c, LMBI_QAT_WEIGHTS, &ranged, err));
    lmb_status st = lmb_pass_steps(ranged, out, err);
    lmb_graph_destroy(ranged);
    return st;
}

static lmb_status round_activations(const lmb_graph *model, const lmb_ptq_config *c, const lmb_dataset *train,
                                    lmb_graph **out, lmb_error *err)
{
    lmb_graph *ranged;

    LMB_TRY(lmbi_qat_insert(model, c->qat, LMBI_QAT_ACTIVATIONS | LMBI_QAT_UNFOLDED, &ranged, err));
    lmb_status st = c->calibration ? lmb_ptq_observe(ranged, c, train, err) : LMB_OK;
    if (st == LMB_OK)
        st = lmbi_ptq_settle(&ranged, c, err);
    if (st == LMB_OK)
        *out = ranged;
    else
        lmb_graph_destroy(ranged);
    return st;
}

lmb_status lmb_unfolded_start(const lmb_graph *model, const lmb_ptq_config *c, const lmb_dataset *train,
                              lmb_graph **base, lmb_graph **first, lmb_error *err)
{
    lmb_graph *made;

    LMB_TRY(round_activations(model, c, train, &made, err));
    lmb_status st = round_weights(made, c->qat, first, err);
    if (st == LMB_OK)
        *base = made;
    else
        lmb_graph_destroy(made);
    return st;
}

/* ---- learned steps of weights ---- */

static lmb_vid step_of(const lmb_graph *g, const char *weight)
{
    char name[220];
    snprintf(name, sizeof name, "%.200s.step", weight);
    return lmb_graph_find(g, name);
}

/* Row c's step, times what folding has multiplied the row with. */
static lmb_status fold_step(const lmb_graph *base, const lmb_node *n, const lmb_graph *first, lmb_graph *out,
                            lmb_error *err)
{
    const char *weight = base->value[n->in[1]].name;
    lmb_vid from = step_of(first, weight), to = step_of(out, weight);
    const lmb_node *bn = lmb_norm_after(base, n);

    if (from == LMB_NONE || to == LMB_NONE)
        return LMB_FAIL(err, LMB_E_ARG, "%s has no learned step; fold with the scheme that the training began with",
                        weight);
    int64_t rows = lmb_shape_count(&out->value[to].shape);
    const float *step = first->value[from].data, *scale = bn ? base->value[bn->in[1]].data : NULL,
                *var = bn ? base->value[bn->in[4]].data : NULL;
    float *folded = malloc(sizeof *folded * (size_t)(rows + 1));
    if (!folded)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld steps", (long long)rows);
    for (int64_t c = 0; c < rows; c++)
        folded[c] = bn ? (float)(step[c] * fabs((double)scale[c]) /
                                 sqrt((double)var[c] + ((const lmb_batch_norm_attr *)bn->attr)->epsilon))
                       : step[c];
    lmb_status st = lmb_graph_set_data(out, to, folded, err);
    free(folded);
    return st;
}

static lmb_status fold_steps(const lmb_graph *base, const lmb_graph *first, lmb_graph *out, lmb_error *err)
{
    for (int i = 0; i < base->n_nodes; i++)
        if (strcmp(base->node[i].op->name, "Conv") == 0 || strcmp(base->node[i].op->name, "Gemm") == 0)
            LMB_TRY(fold_step(base, &base->node[i], first, out, err));
    return LMB_OK;
}

lmb_status lmb_unfolded_fold(lmb_graph *base, const lmb_graph *first, const lmb_qat_config *c, lmb_graph **out,
                             lmb_error *err)
{
    lmb_graph *folded = NULL, *made = NULL;
    lmb_status st;

    LMB_TRY(lmb_objective_finish(first, base, err));
    LMB_TRY_GOTO(st, done, lmb_pass_fold(base, &folded, err));
    LMB_TRY_GOTO(st, done, round_weights(folded, c, &made, err));
    if (c->scheme == LMB_QAT_LEARNED)
        LMB_TRY_GOTO(st, done, fold_steps(base, first, made, err));
    *out = made;
    made = NULL;
done:
    lmb_graph_destroy(folded);
    lmb_graph_destroy(made);
    return st;
}
