/* train/no_pipeline.c - builds for clients, which are alone and have room for their model: no stages. See
 * pipeline.h. */
#include "train/pipeline.h"

static lmb_status fail(lmb_error *err)
{
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "this build for clients trains in one piece: leave out train.pipeline");
}

lmb_status lmbi_pipeline_ranks(const lmb_pipeline_config *c, int ranks, int *of_one, lmb_error *err)
{
    (void)c, (void)ranks, (void)of_one;
    return fail(err);
}

lmb_status lmbi_pipeline_create(const lmbi_pipeline_options *o, lmbi_pipeline **out, lmb_error *err)
{
    (void)o, (void)out;
    return fail(err);
}

lmb_status lmbi_pipeline_run(lmbi_pipeline *p, const lmbi_flow *f, lmb_error *err)
{
    (void)p, (void)f;
    return fail(err);
}

lmb_status lmbi_pipeline_describe(const lmb_train_config *c, const lmb_graph *model, const lmb_loss *loss,
                                  const lmb_state_layout *l, int64_t rows, int slots, int ranks, struct lmb_str *out,
                                  lmb_error *err)
{
    (void)c, (void)model, (void)loss, (void)l, (void)rows, (void)slots, (void)ranks, (void)out;
    return fail(err);
}

void lmbi_pipeline_destroy(lmbi_pipeline *p) { (void)p; }
void lmbi_pipeline_trace(lmbi_pipeline *p, lmb_trace *t) { (void)p, (void)t; }
const int32_t *lmbi_pipeline_ends(const lmbi_pipeline *p) { (void)p; return NULL; }
const lmb_state_layout *lmbi_pipeline_layout(const lmbi_pipeline *p) { (void)p; return NULL; }
const int *lmbi_pipeline_owners(const lmbi_pipeline *p) { (void)p; return NULL; }
const size_t *lmbi_pipeline_places(const lmbi_pipeline *p) { (void)p; return NULL; }
void lmbi_pipeline_times(const lmbi_pipeline *p, double *all, double *waited) { (void)p; *all = *waited = 0; }
