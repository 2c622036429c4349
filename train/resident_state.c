/* train/resident_state.c - vectors between the host's layout and the device's, once an epoch or when somebody looks. */
#include <string.h>

#include "train/resident_internal.h"

/* Where the host's vector has segment i: what an optimizer remembers is of this rank's numbers alone. */
static size_t offset(const lmbi_resident *r, int i, bool slot)
{
    return r->o.offset && !slot ? r->o.offset[i] : r->o.layout->segment[i].offset;
}

/* The host's dense vector into the mirror, segment by segment, or back. */
static void spread(lmbi_resident *r, const float *dense, bool slot)
{
    for (int i = 0; i < r->o.layout->n; i++)
        memcpy(r->mirror + r->at[i], dense + offset(r, i, slot), r->o.layout->segment[i].count * sizeof *dense);
}

static void gather(const lmbi_resident *r, float *dense, bool slot)
{
    for (int i = 0; i < r->o.layout->n; i++)
        memcpy(dense + offset(r, i, slot), r->mirror + r->at[i], r->o.layout->segment[i].count * sizeof *dense);
}

/* One mirror for all: each is waited for. */
static lmb_status send_one(lmbi_resident *r, float *there, const float *dense, bool slot, lmb_error *err)
{
    if (!there || !dense)
        return LMB_OK;
    memset(r->mirror, 0, r->count * sizeof *r->mirror);
    spread(r, dense, slot);
    LMB_TRY(r->d->upload(r->d, there, r->mirror, r->count * sizeof *there, err));
    return lmbi_resident_wait(r, err);
}

/* From a vector of the device's layout. */
static lmb_status fetch_one(lmbi_resident *r, const float *there, float *dense, bool slot, lmb_error *err)
{
    if (!there || !dense)
        return LMB_OK;
    LMB_TRY(r->d->download(r->d, r->mirror, there, r->count * sizeof *there, err));
    LMB_TRY(lmbi_resident_wait(r, err));
    gather(r, dense, slot);
    return LMB_OK;
}

/* ---- what the optimizer remembers ---- */

/* Of own chunks alone, where ranks step parts. */
static lmb_status send_slot(lmbi_resident *r, float *there, const float *dense, lmb_error *err)
{
    if (!r->parts)
        return send_one(r, there, dense, true, err);
    memset(r->mirror, 0, r->own * sizeof *r->mirror);
    for (int i = 0; i < r->o.layout->n; i++)
        for (int k = r->chunk_of[i]; k < r->chunk_of[i + 1]; k++) {
            const lmb_step_chunk *c = &r->chunk[k];
            if (c->own)
                memcpy(r->mirror + c->slot, dense + r->o.layout->segment[i].offset + (c->at - r->at[i]),
                       (size_t)c->n * sizeof *dense);
        }
    LMB_TRY(r->d->upload(r->d, there, r->mirror, r->own * sizeof *there, err));
    return lmbi_resident_wait(r, err);
}

/* All ranks' parts meet in the gradient's vector, which is used up between steps. */
static lmb_status fetch_slot(lmbi_resident *r, const float *there, float *dense, lmb_error *err)
{
    float *all = r->vector[0] + LMB_STEP_HEAD;

    if (!r->parts)
        return fetch_one(r, there, dense, true, err);
    for (int i = 0; i < r->n_parts; i++) {
        const lmb_device_part *p = &r->own_part[i];
        const lmb_step_chunk *first = &r->chunk[p->first];
        size_t end = i + 1 < r->n_parts ? (size_t)r->chunk[r->own_part[i + 1].first].slot : r->own;
        LMB_TRY(r->d->copy(r->d, all + first->at, there + first->slot, (end - (size_t)first->slot) * sizeof *all, err));
    }
    LMB_TRY(r->o.sum->gather(r->o.sum, all, err));
    return fetch_one(r, all, dense, true, err);
}

/* ---- all of it ---- */

lmb_status lmbi_resident_send(lmbi_resident *r, const lmbi_resident_vectors *v, lmb_error *err)
{
    if (r->anchored != (v->anchor != NULL) || r->shifted != (v->shift != NULL))
        lmbi_graph_forget(r); /* which operands a step has is part of what was recorded */
    r->anchored = v->anchor != NULL;
    r->shifted = v->shift != NULL;
    LMB_TRY(send_one(r, r->state, v->state, false, err));
    LMB_TRY(send_one(r, r->ema, v->ema, false, err));
    for (int i = 0; i < r->o.optimizer->n_slots; i++)
        LMB_TRY(send_slot(r, r->slot[i], v->slot[i], err));
    LMB_TRY(send_one(r, r->anchor, v->anchor, false, err));
    LMB_TRY(send_one(r, r->shift, v->shift, false, err));
    *r->seen = (lmb_step_tally){ .loss = v->loss, .correct = v->correct, .failed = -1, .shrink = 1 };
    LMB_TRY(r->d->upload(r->d, r->tally, r->seen, sizeof *r->seen, err));
    return lmbi_resident_wait(r, err);
}

const float *lmbi_resident_weights(const lmbi_resident *r, bool average, const size_t **at)
{
    *at = r->at;
    return average ? r->ema : r->state;
}

lmb_status lmbi_resident_look(lmbi_resident *r, double *loss, int64_t *correct, lmb_error *err)
{
    LMB_TRY(r->d->download(r->d, r->seen, r->tally, sizeof *r->seen, err));
    LMB_TRY(lmbi_resident_wait(r, err));
    *loss = r->seen->loss;
    *correct = r->seen->correct;
    if (r->seen->failed >= 0)
        return LMB_FAIL(err, LMB_E_NUMERIC,
                        "step %lld: the gradient is not finite; use a smaller learning rate (now %g), warm-up or "
                        "clip%s",
                        (long long)r->seen->failed, r->seen->rate,
                        r->o.loss_scale > 1 ? ", or a smaller train.loss_scale" : "");
    return LMB_OK;
}

lmb_status lmbi_resident_fetch(lmbi_resident *r, lmbi_resident_vectors *v, lmb_error *err)
{
    if (r->parts && r->ema)
        LMB_TRY(r->o.sum->gather(r->o.sum, r->ema, err));
    LMB_TRY(fetch_one(r, r->state, v->state, false, err));
    LMB_TRY(fetch_one(r, r->ema, v->ema, false, err));
    for (int i = 0; i < r->o.optimizer->n_slots; i++)
        LMB_TRY(fetch_slot(r, r->slot[i], v->slot[i], err));
    return lmbi_resident_look(r, &v->loss, &v->correct, err);
}
