/* core/plan/print.c - a plan for people: what runs, with which kernel and why, how many bytes. */
#include <stdio.h>

#include "core/base/str.h"
#include "core/plan/internal.h"

lmb_plan_info lmb_plan_describe(const lmb_plan *p)
{
    lmb_plan_info info = { .arena_bytes = p->arena_bytes, .live_bytes = p->live_bytes,
                           .scratch_bytes = p->scratch_bytes, .steps = p->n_steps, .replayed = p->replayed };

    for (int i = 0; i < p->n_storage; i++)
        if (p->storage[i].external)
            info.state_bytes += p->storage[i].bytes;
    for (int i = 0; i < p->n_steps; i++) {
        info.cost.macs += p->step[i].cost.macs;
        info.cost.flops += p->step[i].cost.flops;
        info.cost.bytes += p->step[i].cost.bytes;
        info.conversions += p->step[i].convert;
    }
    return info;
}

lmb_plan_step lmb_plan_step_at(const lmb_plan *p, int step)
{
    const lmbi_step *s = &p->step[step];
    lmb_plan_step out = { .kernel = s->label, .node = s->node ? s->node->name : p->value[s->in[0]].name,
                          .op = s->node ? s->node->op->name : NULL, .refused = s->refused, .cost = s->cost,
                          .seconds = s->runs ? s->seconds / (double)s->runs : 0, .best = s->best };

    for (int k = s->n_out - 1; k >= 0; k--)
        if (s->out[k] >= 0) {
            out.dtype = p->value[s->out[k]].dtype;
            out.shape = p->value[s->out[k]].shape;
        }
    return out;
}

void lmb_plan_print(const lmb_plan *p, struct lmb_str *out)
{
    char shape[LMB_SHAPE_TEXT];

    lmb_str_addf(out, "%4s  %-24s %-28s %-22s %10s %10s  %s\n", "step", "kernel", "node", "output", "MACs", "offset",
                 p->timing ? "microseconds" : "");
    for (int i = 0; i < p->n_steps; i++) {
        const lmbi_step *s = &p->step[i];
        const lmbi_pvalue *y = s->out[0] >= 0 ? &p->value[s->out[0]] : NULL;
        const lmbi_storage *m = y ? &p->storage[y->storage] : NULL;
        lmb_str_addf(out, "%4d  %-24s %-28.28s %-4s%-18s %10.0f %10zu", i, s->label,
                     s->node ? s->node->name : p->value[s->in[0]].name, y ? lmb_dtype_name(y->dtype) : "",
                     y ? lmb_shape_text(&y->shape, shape, sizeof shape) : "", s->cost.macs,
                     m && !m->external ? m->offset : 0);
        if (p->timing && s->runs)
            lmb_str_addf(out, "  %10.1f", 1e6 * s->seconds / (double)s->runs);
        if (s->refused)
            lmb_str_addf(out, "  (%s)", s->refused);
        const char *note = s->kernel && s->kernel->note ? s->kernel->note(s->state) : "";
        if (*note)
            lmb_str_addf(out, "  [%s]", note);
        lmb_str_add(out, "\n");
    }
    lmb_plan_info info = lmb_plan_describe(p);
    lmb_str_addf(out, "%d steps (%d conversions), %.0f MACs, arena %zu bytes (most alive at once %zu, "
                 "scratch %zu), state and constants %zu bytes\n", info.steps, info.conversions, info.cost.macs,
                 info.arena_bytes, info.live_bytes, info.scratch_bytes, info.state_bytes);
}
