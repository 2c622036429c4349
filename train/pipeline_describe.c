/* train/pipeline_describe.c - the stages of a pipeline in words, before any rank is started. See pipeline.h. */
#include <stdlib.h>

#include "core/base/str.h"
#include "train/pipeline.h"

/* Of a stage: what it trains, and bytes of it that its rank keeps. */
typedef struct share {
    size_t numbers;
    double kept;
} share;

/* Weights, their average, the best ones, what the optimizer remembers, and a gradient of each microbatch of this rank;
 * on a GPU of each under way, and of each level of the tree that sums them. */
static share share_of(const lmb_train_config *c, const lmb_state_layout *l, const int *owner, int stage, int vectors,
                      int ranks, int of_one, int in_flight)
{
    int64_t slots = 1;
    size_t state = 0;
    share s = { 0, 0 };

    while (slots < c->pipeline.microbatches)
        slots *= 2;
    slots = slots / (ranks / of_one) > 0 ? slots / (ranks / of_one) : 1;
    if (lmb_train_on_gpu(c)) {
        int64_t levels = 1;
        for (; slots > 1; slots /= 2)
            levels++;
        slots = levels + in_flight;
    }
    for (int i = 0; i < l->n; i++) {
        state += owner[i] == stage ? l->segment[i].count : 0;
        s.numbers += owner[i] == stage && l->segment[i].role == LMB_ROLE_PARAMETER ? l->segment[i].count : 0;
    }
    s.kept = (double)state * sizeof(float) * (double)(2 + (c->ema > 0) + vectors + slots);
    return s;
}

/* The plan says how much memory a microbatch takes there. */
static lmb_status describe_stage(const lmbi_cuts *cuts, int k, const lmbi_stage_options *o, int ranks, int in_flight,
                                 double all, share s_of, lmb_str *out, lmb_error *err)
{
    const lmb_stage *s = &cuts->stage[k];
    lmbi_copy *copy = NULL;

    LMB_TRY(lmbi_copy_create(cuts, k, o, &copy, err));
    size_t bytes = lmbi_copy_bytes(copy);
    lmbi_copy_destroy(copy);
    lmb_str_addf(out, "  %-5d %-4d %4.0f %%  %14.0f %10zu %9.1f %14.1f %9d", k, k / (cuts->n / ranks),
                 all > 0 ? 100 * s->cost / all : 0, s->macs, s_of.numbers, s_of.kept / 1e6,
                 (double)bytes * in_flight / 1e6, in_flight);
    if (k < cuts->n - 1)
        lmb_str_addf(out, " %10.1f kB in %d, behind %s", (double)s->bytes / 1e3, s->values,
                     cuts->g->value[cuts->g->node[s->end - 1].out[0]].name);
    lmb_str_addf(out, "\n");
    return lmb_str_check(out, err);
}

lmb_status lmbi_pipeline_describe(const lmb_train_config *c, const lmb_graph *model, const lmb_loss *loss,
                                  const lmb_state_layout *l, int64_t rows, int slots, int ranks, lmb_str *out,
                                  lmb_error *err)
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
    lmbi_stage_options o = {
        .backends = backends, .loss = loss, .layout = l, .from = from, .small_memory = memory != SIZE_MAX
    };
    if (st == LMB_OK)
        st = timed ? lmbi_cuts_timed(model, rows, (int)c->pipeline.stages, &o, &cuts, err)
                   : lmbi_cuts_make(model, loss, rows, (int)c->pipeline.stages, NULL, &cuts, err);
    if (st == LMB_OK) {
        lmbi_cuts_owners(cuts, l, owner);
        for (int k = 0; k < cuts->n; k++)
            all += cuts->stage[k].cost;
        lmb_str_addf(
            out,
            "pipeline of %d stages on %d ranks%s, cut by %s cost, microbatches of %lld samples; of one microbatch:\n",
            cuts->n, of_one, ranks > of_one ? ", several side by side" : "", timed ? "measured" : "counted",
            (long long)rows);
        lmb_str_addf(out, "  stage rank  cost            MACs parameters state, MB     memory, MB in flight   crosses "
                          "the cut behind it\n");
        for (int k = 0; k < cuts->n && st == LMB_OK; k++) {
            int in_flight = lmbi_pipeline_in_flight(of_one, k / (cuts->n / of_one), lmb_train_on_gpu(c));
            share s = share_of(c, l, owner, k, slots, ranks, of_one, in_flight);
            st = describe_stage(cuts, k, &o, of_one, in_flight, all, s, out, err);
        }
    }
    lmbi_cuts_destroy(cuts);
    free(from);
    free(owner);
    return st;
}
