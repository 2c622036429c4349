/* federated/server_all.c - rounds for which single updates are needed once all are there: by an aggregator that looks
 * at them together, or by what refines the model. They are read from the spooled files, in blocks. */
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

void lmbi_round_drop(lmb_server *s)
{
    free(s->next.from);
    free(s->next.examples);
    s->next.from = NULL;
    s->next.examples = NULL;
    s->next.updates = (lmb_updates){ 0 };
}

/* The worker reads them; the list of members is the loop's. */
lmb_status lmbi_round_gather(lmb_server *s, lmb_error *err)
{
    lmbi_next *f = &s->next;
    size_t n = 0;

    for (const member *m = s->members; m; m = m->next)
        n += m->status == MEMBER_DELIVERED;
    lmbi_round_drop(s);
    f->from = calloc(n + 1, sizeof(member *));
    f->examples = calloc(n + 1, sizeof *f->examples);
    if (!f->from || !f->examples)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu updates", n);
    n = 0;
    for (member *m = s->members; m; m = m->next)
        if (m->status == MEMBER_DELIVERED)
            f->from[n++] = m;
    qsort(f->from, n, sizeof(member *), by_id);
    for (size_t i = 0; i < n; i++)
        f->examples[i] = f->from[i]->upload.head.examples;
    f->updates = (lmb_updates){ s->job.n, (int)n, f->examples, read_update, f->from };
    return LMB_OK;
}
