/* distill/quantize/freeze.c - what training moved becomes constants: observed ranges and learned steps. See qat.h. */
#include <string.h>

#include "core/passes/fold.h"
#include "core/passes/rewrite.h"
#include "distill/quantize/qat.h"
#include "distill/quantize/steps.h"

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* The scale and zero point that RangeToScale computes from the stored range of an ObserveRange. */
static lmb_status frozen_scale(lmb_rewrite *r, const lmb_node *n, lmb_vid *out, lmb_error *err)
{
    float scale, zero;

    LMB_TRY(lmbi_range_scale(r->old, n, &scale, &zero, err));
    out[0] = lmb_emit_scalar(&r->b, scale);
    out[1] = lmb_emit_scalar(&r->b, zero);
    return lmb_builder_status(&r->b);
}

static lmb_status freeze_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                              lmb_error *err)
{
    (void)in;
    if (is(n, "ObserveRange")) {
        out[0] = out[1] = LMB_NONE;
        *done = true;
    } else if (is(n, "RangeToScale")) {
        *done = true;
        return frozen_scale(r, n, out, err);
    } else if (lmbi_is_step(r->old, n)) {
        *done = true;
        return lmbi_freeze_step(r, n, out, err);
    }
    return LMB_OK;
}

static lmb_status freeze_value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    int i = lmb_sole_reader(r->old, v);

    (void)err;
    if (r->old->value[v].role == LMB_ROLE_OBSERVER ||
        (i >= 0 && lmbi_is_step(r->old, &r->old->node[i]) && r->old->node[i].in[0] == v)) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

lmb_status lmb_pass_qat_freeze(const lmb_graph *qat, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = freeze_node, .value = freeze_value };
    return lmb_rewrite_run(&r, qat, out, NULL, err);
}
