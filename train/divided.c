/* train/divided.c - what ranks divide of a trainer's state, put together on rank 0 and handed out again. See trainer.h. */
#include <stdlib.h>

#include "train/trainer_internal.h"

void lmb_trainer_drop(lmb_trainer *t)
{
    for (int i = 0; i < t->s.n_slots && t->s.in_parts; i++) {
        free(t->s.slot[i]);
        t->s.slot[i] = NULL;
    }
}

lmb_status lmbi_trainer_together(lmb_trainer *t, lmb_error *err)
{
    if (!t->parts->lazy)
        return LMB_OK;
    LMB_TRY(lmbi_parts_share(t->parts, t->s.state, err));
    return t->s.ema ? lmbi_parts_share(t->parts, t->s.ema, err) : LMB_OK;
}

lmb_status lmb_trainer_gather(lmb_trainer *t, lmb_error *err)
{
    char enough = 1; /* memory on rank 0, which the others can not see */

    if (!t->s.in_parts)
        return LMB_OK;
    LMB_TRY(lmbi_trainer_together(t, err));
    for (int i = 0; i < t->s.n_slots && t->comm->rank == 0; i++)
        enough = (t->s.slot[i] = calloc(t->n + 1, sizeof *t->s.slot[i])) != NULL && enough;
    LMB_TRY(t->comm->broadcast(t->comm, &enough, 1, 0, err));
    if (!enough)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory on rank 0 to put together what the optimizer remembers of %zu numbers", t->n);
    for (int i = 0; i < t->s.n_slots; i++)
        LMB_TRY(lmbi_parts_gather(t->parts, t->slot[i], t->s.slot[i], err));
    return LMB_OK;
}

lmb_status lmb_trainer_scatter(lmb_trainer *t, lmb_error *err)
{
    for (int i = 0; i < t->s.n_slots && t->s.in_parts; i++)
        LMB_TRY(lmbi_parts_scatter(t->parts, t->s.slot[i], t->slot[i], err));
    lmb_trainer_drop(t);
    return LMB_OK;
}

lmb_trainer_memory lmb_trainer_slots(const lmb_trainer *t)
{
    size_t each = sizeof(float) * (size_t)t->s.n_slots;
    return (lmb_trainer_memory){ each * t->n, each * t->parts->own_count };
}

lmb_trainer_flow lmb_trainer_pipeline(const lmb_trainer *t)
{
    lmb_trainer_flow f = { t->of_one, t->pipeline ? t->c.pipeline.stages : 0, t->c.pipeline.microbatches, 0, 0 };
    if (t->pipeline)
        lmbi_pipeline_times(t->pipeline, &f.seconds, &f.waited);
    return f;
}
