/* federated/server_all.c - rounds for which single updates are needed once all are there: by an aggregator that looks at them
 * together, or by what refines the model. They are read from the spooled files, in blocks. */
#include <stdlib.h>

#include "federated/codec.h"
#include "federated/server_parts.h"

static int by_id(const void *a, const void *b)
{
    const member *x = *(member *const *)a, *y = *(member *const *)b;
    return (x->id > y->id) - (x->id < y->id);
}

static lmb_status read_update(void *ctx, int update, size_t at, size_t count, float *out, lmb_error *err)
{
    member *const *m = ctx;
    return lmb_upload_read(&m[update]->upload, out, at, count, err);
}

/* From the file, which stays. */
static lmb_status absorb_kept(lmb_server *s, const lmb_upload *u, lmb_error *err)
{
    float *block = malloc(LMB_CODEC_BLOCK * sizeof *block);
    lmb_status st = block ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a block of an update");

    for (size_t at = 0; st == LMB_OK && at < s->job.n; at += LMB_CODEC_BLOCK) {
        size_t count = s->job.n - at < LMB_CODEC_BLOCK ? s->job.n - at : LMB_CODEC_BLOCK;
        st = lmb_upload_read(u, block, at, count, err);
        if (st == LMB_OK)
            s->aggregator->absorb(s->sum, at, block, count, u->head.examples, at == 0);
    }
    free(block);
    return st;
}

lmb_status lmbi_round_take(lmb_server *s, member *m, lmb_error *err)
{
    if (!lmbi_round_keeps(s))
        return lmb_upload_absorb(&m->upload, s->aggregator, s->sum, err);
    LMB_TRY(lmb_upload_check(&m->upload, err));
    return s->aggregator->needs_all ? LMB_OK : absorb_kept(s, &m->upload, err);
}

/* Call `use` with the updates of all who have delivered. */
static lmb_status with_updates(lmb_server *s, lmb_status (*use)(lmb_server *s, const lmb_updates *u, lmb_error *err), lmb_error *err)
{
    size_t n = 0;
    for (const member *m = s->members; m; m = m->next)
        n += lmb_upload_complete(&m->upload);
    member **from = calloc(n + 1, sizeof *from);
    uint64_t *examples = calloc(n + 1, sizeof *examples);
    lmb_status st = from && examples ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu updates", n);

    n = 0;
    for (member *m = s->members; st == LMB_OK && m; m = m->next)
        if (lmb_upload_complete(&m->upload))
            from[n++] = m;
    if (st == LMB_OK) {
        qsort(from, n, sizeof *from, by_id);
        for (size_t i = 0; i < n; i++)
            examples[i] = from[i]->upload.head.examples;
        lmb_updates u = { s->job.n, (int)n, examples, read_update, from };
        st = use(s, &u, err);
    }
    free(from);
    free(examples);
    return st;
}

static lmb_status aggregate(lmb_server *s, const lmb_updates *u, lmb_error *err) { return s->aggregator->all(s->sum, u, s->delta, err); }
lmb_status lmbi_round_all(lmb_server *s, lmb_error *err) { return with_updates(s, aggregate, err); }

static lmb_status refine(lmb_server *s, const lmb_updates *u, lmb_error *err)
{
    return s->job.refine(s->job.ctx, s->report.round, s->before, u, s->model, err);
}
lmb_status lmbi_round_refine(lmb_server *s, lmb_error *err) { return with_updates(s, refine, err); }
