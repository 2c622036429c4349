/* train/pipeline_describe.c - the stages of a pipeline in words, before any rank is started. See pipeline.h. */
#include <stdlib.h>

#include "core/base/str.h"
#include "train/pipeline.h"

/* numbers: that the stage trains. Its plan says how much memory a microbatch takes there. */
static lmb_status describe_stage(const lmbi_cuts *cuts, int k, const lmbi_stage_options *o, int ranks, int in_flight,
                                 double all, size_t numbers, lmb_str *out, lmb_error *err)
{
    const lmb_stage *s = &cuts->stage[k];
    lmbi_copy *copy = NULL;

    LMB_TRY(lmbi_copy_create(cuts, k, o, &copy, err));
    size_t bytes = lmbi_copy_bytes(copy);
    lmbi_copy_destroy(copy);
    lmb_str_addf(out, "  %-5d %-4d %4.0f %%  %14.0f %10zu %14.1f %9d", k, k / (cuts->n / ranks),
                 all > 0 ? 100 * s->cost / all : 0, s->macs, numbers, (double)bytes * in_flight / 1e6, in_flight);
    if (k < cuts->n - 1)
        lmb_str_addf(out, " %10.1f kB in %d, behind %s", (double)s->bytes / 1e3, s->values,
                     cuts->g->value[cuts->g->node[s->end - 1].out[0]].name);
    lmb_str_addf(out, "\n");
    return lmb_str_check(out, err);
}

lmb_status lmbi_pipeline_describe(const lmb_train_config *c, const lmb_graph *model, const lmb_loss *loss,
                                  const lmb_state_layout *l, int64_t rows, int ranks, lmb_str *out, lmb_error *err)
{
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    lmbi_cuts *cuts = NULL;
    size_t *from = calloc((size_t)l->n + 1, sizeof *from), memory = SIZE_MAX;
    int *owner = calloc((size_t)l->n + 1, sizeof *owner), of_one = 1;
    double all = 0;
    lmb_status st = from && owner ? lmbi_pipeline_ranks(&c->pipeline, ranks, &of_one, err)
                                  : LMB_FAIL(err, LMB_E_NOMEM, "no memory to describe a pipeline");

    if (st == LMB_OK)
        st = lmb_train_backends(c, backends, err);
    if (st == LMB_OK)
        st = lmb_train_memory(c, 1, &memory, err);
    bool timed = c->pipeline.cost == LMB_COST_MEASURED;
    lmbi_stage_options o = { .backends = backends, .loss = loss, .layout = l, .from = from, .small_memory = memory != SIZE_MAX };
    if (st == LMB_OK)
        st = timed ? lmbi_cuts_timed(model, rows, (int)c->pipeline.stages, &o, &cuts, err)
                   : lmbi_cuts_make(model, loss, rows, (int)c->pipeline.stages, NULL, &cuts, err);
    if (st == LMB_OK) {
        lmbi_cuts_owners(cuts, l, owner);
        for (int k = 0; k < cuts->n; k++)
            all += cuts->stage[k].cost;
        lmb_str_addf(out, "pipeline of %d stages on %d ranks%s, cut by %s cost, microbatches of %lld samples; of one microbatch:\n",
                     cuts->n, of_one, ranks > of_one ? ", several side by side" : "", timed ? "measured" : "counted", (long long)rows);
        lmb_str_addf(
            out,
            "  stage rank  cost            MACs parameters     memory, MB in flight   crosses the cut behind it\n");
        for (int k = 0; k < cuts->n && st == LMB_OK; k++) {
            size_t numbers = 0;
            for (int i = 0; i < l->n; i++)
                numbers += owner[i] == k && l->segment[i].role == LMB_ROLE_PARAMETER ? l->segment[i].count : 0;
            st = describe_stage(cuts, k, &o, of_one, of_one - k / (cuts->n / of_one), all, numbers, out, err);
        }
    }
    lmbi_cuts_destroy(cuts);
    free(from);
    free(owner);
    return st;
}
