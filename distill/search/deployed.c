/* distill/search/deployed.c - see deployed.h. */
#include "distill/search/deployed.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/graph/op.h"
#include "core/passes/fold.h"
#include "distill/quantize/facts.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/qdq.h"

void lmb_deployed_free(lmb_deployed *d)
{
    lmb_str_free(&d->file);
    free(d->prepared);
    d->prepared = NULL;
}

static lmb_status open_file(lmb_deployed *d, lmb_error *err)
{
    char why[200] = "";

    if (lmb_edge_open(d->file.text, d->file.n, &d->model, why, sizeof why) != LMB_EDGE_OK)
        return LMB_FAIL(err, LMB_E_FORMAT, "the lowered model can not be opened: %s", why);
    d->prepared = malloc(lmb_edge_prepare_bytes(&d->model));
    if (!d->prepared)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to load a model");
    lmb_edge_prepare(&d->model, d->prepared);
    return LMB_OK;
}

lmb_status lmb_deployed_read(const char *path, lmb_deployed *out, lmb_error *err)
{
    lmb_deployed d = { .file = LMB_STR_INIT };
    void *data;
    size_t n;

    LMB_TRY(lmb_file_read(path, (size_t)1 << 30, &data, &n, err));
    lmb_str_add_n(&d.file, data, n);
    free(data);
    lmb_status st = lmb_str_check(&d.file, err);
    if (st == LMB_OK)
        st = open_file(&d, err);
    if (st == LMB_OK) {
        *out = d;
        return LMB_OK;
    }
    lmb_deployed_free(&d);
    return lmb_error_context(err, "%s", path);
}

lmb_status lmb_deployed_real(const lmb_graph *frozen, lmb_deployed *out, lmb_graph **qdq, lmb_error *err)
{
    lmb_deployed d = { .file = LMB_STR_INIT };
    lmb_graph *q = NULL;

    LMB_TRY(lmb_pass_qdq(frozen, &q, err));
    lmb_status st = lmb_lower(q, &d.file, err);
    if (st == LMB_OK)
        st = lmb_facts_put(&d.file, &lmb_facts_blank, err);
    if (st == LMB_OK)
        st = open_file(&d, err);
    if (st == LMB_OK && qdq) {
        *qdq = q;
        q = NULL;
    }
    lmb_graph_destroy(q);
    if (st != LMB_OK)
        lmb_deployed_free(&d);
    else
        *out = d;
    return st;
}

/* All activations in 0 .. 1: below any Clip, and with a zero point that suits a Relu. */
static lmb_status make_up_ranges(lmb_graph *qat, lmb_error *err)
{
    const float lo = 0, hi = 1;

    for (int i = 0; i < qat->n_nodes; i++)
        if (strcmp(qat->node[i].op->name, "ObserveRange") == 0) {
            LMB_TRY(lmb_graph_set_data(qat, qat->node[i].in[1], &lo, err));
            LMB_TRY(lmb_graph_set_data(qat, qat->node[i].in[2], &hi, err));
        }
    return LMB_OK;
}

lmb_status lmb_deployed_sketch(const lmb_graph *model, const lmb_qat_config *qat_config, lmb_deployed *out,
                               lmb_error *err)
{
    lmb_graph *folded = NULL, *qat = NULL, *frozen = NULL;
    lmb_qat_config q;
    lmb_status st;

    lmb_fields_default(lmb_qat_fields, &q);
    LMB_TRY_GOTO(st, done, lmb_pass_fold(model, &folded, err));
    LMB_TRY_GOTO(st, done, lmb_pass_qat(folded, qat_config ? qat_config : &q, &qat, err));
    LMB_TRY_GOTO(st, done, make_up_ranges(qat, err));
    LMB_TRY_GOTO(st, done, lmb_pass_qat_freeze(qat, &frozen, err));
    st = lmb_deployed_real(frozen, out, NULL, err);
done:
    lmb_graph_destroy(folded);
    lmb_graph_destroy(qat);
    lmb_graph_destroy(frozen);
    return st;
}

lmb_status lmb_deployed_costs(const lmb_deployed *d, lmb_latency *t, double cost[LMB_COSTS], lmb_error *err)
{
    LMB_TRY(lmb_latency_ops(t, d, NULL, &cost[LMB_GOAL_LATENCY], err));
    cost[LMB_GOAL_BYTES] = (double)d->file.n;
    cost[LMB_GOAL_MACS] = (double)lmb_edge_macs(&d->model);
    return LMB_OK;
}
