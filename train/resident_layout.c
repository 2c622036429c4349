/* train/resident_layout.c - where things are in a resident step's vectors, and whose they are. See resident.h.
 *
 * Idea: a segment of the state begins at a multiple of LMB_STEP_ALIGN numbers and is cut into chunks
 * (core/plan/device_step.h), segments are put together to buckets from the end, as train/reduce.c does, and ranks that
 * step parts own whole chunks (train/device_sum.h). What is remembered of own chunks lies one after another, so that a
 * rank has memory for its part alone.
 */
#include <stdlib.h>

#include "train/resident_internal.h"

static size_t aligned(size_t floats) { return (floats + LMB_STEP_ALIGN - 1) / LMB_STEP_ALIGN * LMB_STEP_ALIGN; }

static lmb_chunk_kind kind_of(const lmb_segment *s)
{
    if (s->role == LMB_ROLE_PARAMETER && !s->frozen)
        return LMB_CHUNK_TRAIN;
    return s->has_next || (s->role == LMB_ROLE_STATISTIC && !s->frozen) ? LMB_CHUNK_NEXT : LMB_CHUNK_KEEP;
}

static lmb_status cut_chunks(lmbi_resident *r, lmb_error *err)
{
    const lmb_state_layout *l = r->o.layout;
    int n = 0;

    for (int i = 0; i < l->n; i++)
        n += (int)((l->segment[i].count + LMB_STEP_CHUNK - 1) / LMB_STEP_CHUNK);
    r->at = calloc((size_t)l->n + 1, sizeof *r->at);
    r->chunk_of = calloc((size_t)l->n + 1, sizeof *r->chunk_of);
    r->chunk = calloc((size_t)n + 1, sizeof *r->chunk);
    r->bucket = calloc((size_t)l->n + 1, sizeof *r->bucket);
    if (!r->at || !r->chunk_of || !r->chunk || !r->bucket)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for steps on a device");
    for (int i = 0; i < l->n; i++) {
        const lmb_segment *s = &l->segment[i];
        r->at[i] = r->count;
        r->chunk_of[i] = r->n_chunks;
        for (size_t from = 0; from < s->count; from += LMB_STEP_CHUNK) {
            size_t left = s->count - from;
            r->chunk[r->n_chunks++] = (lmb_step_chunk){ .at = r->count + from,
                                                        .n = (int32_t)(left < LMB_STEP_CHUNK ? left : LMB_STEP_CHUNK),
                                                        .kind = (uint8_t)kind_of(s),
                                                        .reduce = (uint8_t)s->reduce,
                                                        .counts = s->role == LMB_ROLE_PARAMETER,
                                                        .own = 1,
                                                        .decay = s->decay };
        }
        r->count += aligned(s->count);
    }
    r->chunk_of[l->n] = r->n_chunks;
    return LMB_OK;
}

/* From the last segment to the first, as train/reduce.c does. */
static void cut_buckets(lmbi_resident *r)
{
    size_t end = LMB_STEP_HEAD + r->count;
    int last = r->o.layout->n;

    for (int i = last - 1; i >= 0; i--) {
        size_t lo = LMB_STEP_HEAD + r->at[i];
        if (i == 0 || (r->o.bucket_bytes && (end - lo) * sizeof(float) >= r->o.bucket_bytes)) {
            lo = i ? lo : 0;
            r->bucket[r->n_buckets++] = (lmb_device_bucket){ lo, end - lo, i, last };
            end = lo;
            last = i;
        }
    }
}

/* ---- who steps what ---- */

/* Numbers of a part in vectors of the layout, up to where the next chunk may begin. */
static size_t part_begin(const lmbi_resident *r, const lmb_device_part *p) { return r->chunk[p->first].at; }
static size_t part_count(const lmbi_resident *r, const lmb_device_part *p)
{
    const lmb_step_chunk *last = &r->chunk[p->last - 1];
    return (size_t)last->at + aligned((size_t)last->n) - part_begin(r, p);
}

/* This rank's parts alone are remembered, one after another; within one places are as in the layout. */
static void own_parts(lmbi_resident *r)
{
    r->own = 0;
    for (int i = 0; i < r->n_chunks; i++) {
        r->chunk[i].own = 0;
        r->chunk[i].slot = 0;
    }
    for (int i = 0; i < r->n_parts; i++) {
        const lmb_device_part *p = &r->own_part[i];
        for (int k = p->first; k < p->last; k++) {
            r->chunk[k].own = 1;
            r->chunk[k].slot = r->own + (r->chunk[k].at - part_begin(r, p));
        }
        r->own += part_count(r, p);
    }
}

/* Before there is memory: what ranks divide needs less of it. */
static lmb_status divide(lmbi_resident *r, lmb_error *err)
{
    const lmb_device_vector v = { .layout = r->o.layout,
                                  .device = r->d,
                                  .stream = r->d->stream,
                                  .count = r->count,
                                  .at = r->at,
                                  .n_buckets = r->n_buckets,
                                  .n_chunks = r->n_chunks,
                                  .bucket = r->bucket,
                                  .chunk = r->chunk };

    r->own = r->count;
    for (int i = 0; i < r->n_chunks; i++)
        r->chunk[i].slot = r->chunk[i].at;
    if (!r->o.sum)
        return LMB_OK;
    LMB_TRY(r->o.sum->divide(r->o.sum, &v, &r->n_parts, &r->own_part, err));
    r->parts = r->n_parts >= 0;
    if (r->parts)
        own_parts(r);
    return LMB_OK;
}

lmb_status lmbi_layout_create(lmbi_resident *r, lmb_error *err)
{
    LMB_TRY(cut_chunks(r, err));
    cut_buckets(r);
    return divide(r, err);
}

void lmbi_layout_destroy(lmbi_resident *r)
{
    free(r->at);
    free(r->chunk_of);
    free(r->chunk);
    free(r->bucket);
}
