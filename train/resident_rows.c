/* train/resident_rows.c - what a loss is fed, kept where steps reach it: a teacher's logits of all samples.
 *
 * Idea: a teacher that was asked once need not travel with every batch: its answers are sent once, and a step looks
 * up the rows of its samples by their numbers, which are on the device as well. A recorded step does so too. Where
 * the table takes more than the loss allows there, or than there is memory, it is put into pinned memory of the host,
 * which the kernel that looks rows up reads across the bus: one read of the rows of a shard, and the host neither
 * gathers nor copies anything. Where that is too small as well, rows come with their batch. All three are the same
 * bits.
 *   source  CUDA C++ Programming Guide, Mapped Memory and Unified Virtual Address Space: pinned memory has one address
 */
#include <stdlib.h>

#include "core/base/threads.h"
#include "train/resident_internal.h"

enum { AT_ONCE = 4096 }; /* rows asked and sent */

/* Rows [first, first + n) of an epoch, to their place in the table. */
static lmb_status send_some(lmbi_resident *r, const lmb_loss *loss, int64_t epoch, int64_t first, int64_t n,
                            uint32_t *sample, float *rows, lmb_error *err)
{
    lmb_step_info info = { 0, (uint32_t)epoch, sample };

    size_t row = (size_t)r->width, at = (size_t)(epoch * loss->table.samples + first) * row;

    for (int64_t i = 0; i < n; i++)
        sample[i] = (uint32_t)(first + i);
    if (r->table_pinned)
        return loss->feed(loss->ctx, &info, NULL, n, r->table + at, err);
    LMB_TRY(loss->feed(loss->ctx, &info, NULL, n, rows, err));
    LMB_TRY(r->d->upload(r->d, r->table + at, rows, (size_t)n * row * sizeof *rows, err));
    return r->d->finish(r->d, err); /* `rows` is filled anew */
}

static lmb_status send_all(lmbi_resident *r, const lmb_loss *loss, lmb_error *err)
{
    uint32_t *sample = malloc(AT_ONCE * sizeof *sample);
    float *rows = malloc((size_t)AT_ONCE * (size_t)r->width * sizeof *rows);
    lmb_status st =
        sample && rows ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d rows of a teacher's answers", AT_ONCE);

    for (int64_t e = 0; e < loss->table.epochs && st == LMB_OK; e++)
        for (int64_t at = 0; at < loss->table.samples && st == LMB_OK; at += AT_ONCE) {
            int64_t left = loss->table.samples - at;
            st = send_some(r, loss, e, at, left < AT_ONCE ? left : AT_ONCE, sample, rows, err);
        }
    free(sample);
    free(rows);
    return st;
}

/* Memory for a table of so many bytes; none: rows come with the batch. */
static void make_table(lmbi_resident *r, const lmb_loss *loss, size_t bytes)
{
    lmb_error none = LMB_ERROR_INIT;
    void *memory = NULL;

    if (bytes <= loss->table.most && r->d->alloc(r->d, bytes, &memory, &none) == LMB_OK) {
        r->table = memory;
        return;
    }
    memory = NULL;
    /* pages that the system can not use otherwise: a quarter of the machine's at most */
    if (bytes <= loss->table.pinned && (double)bytes <= lmb_memory_bytes() / 4 &&
        r->d->pin(r->d, bytes, &memory, &none) == LMB_OK) {
        r->table = memory;
        r->table_pinned = true;
    }
}

static void drop_table(lmbi_resident *r)
{
    if (r->table_pinned)
        r->d->unpin(r->d, r->table);
    else if (r->table)
        r->d->free(r->d, r->table);
    r->table = NULL;
    r->table_pinned = false;
}

lmb_status lmbi_rows_create(lmbi_resident *r, lmb_error *err)
{
    const lmb_loss *loss = lmb_program_loss(r->o.program);
    lmb_error none = LMB_ERROR_INIT;
    size_t feed = 0;

    if (!loss->feed || loss->table.samples < 1 || loss->table.epochs < 1)
        return LMB_OK;
    LMB_TRY(lmbi_flow_feed(r, r->o.rows, NULL, NULL, NULL, &feed, err));
    size_t row = feed / (size_t)r->o.rows, rows = (size_t)loss->table.epochs * (size_t)loss->table.samples;
    if (!row || loss->table.epochs > INT32_MAX || rows > SIZE_MAX / row)
        return LMB_OK;
    r->width = (int)(row / sizeof(float));
    make_table(r, loss, rows * row);
    if (r->table && r->d->alloc(r->d, feed, (void **)&r->fed, &none) != LMB_OK)
        drop_table(r); /* it left no room for what it is looked up into */
    return r->table ? send_all(r, loss, err) : LMB_OK;
}

void lmbi_rows_destroy(lmbi_resident *r)
{
    drop_table(r);
    if (r->fed)
        r->d->free(r->d, r->fed);
}

lmb_status lmbi_rows_take(lmbi_resident *r, const uint32_t *sample, int64_t rows, lmb_error *err)
{
    const lmb_loss *loss = lmb_program_loss(r->o.program);
    const lmb_step_work w = { .kind = LMB_WORK_ROWS,
                              .now = lmbi_input_now(r),
                              .vector = r->fed,
                              .from = r->table,
                              .sample = sample,
                              .rows = (int)rows,
                              .classes = r->width,
                              .last = (int)loss->table.epochs,
                              .samples = loss->table.samples };
    return r->d->work(r->d, &w, err);
}
