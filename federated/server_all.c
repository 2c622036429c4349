/* federated/server_all.c - the end of a round whose aggregator needs all updates at once: it reads the spooled files. */
#include <stdlib.h>

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

lmb_status lmbi_round_all(lmb_server *s, lmb_error *err)
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
        st = s->aggregator->all(s->sum, &u, s->delta, err);
    }
    free(from);
    free(examples);
    return st;
}
