/* comm/group.c - see group.h. */
#include "comm/group.h"

#include <stdlib.h>
#include <string.h>

typedef struct group {
    lmb_comm base;
    lmb_comm *all;
    int stride;
} group;

static int outside(const lmb_comm *c, int rank)
{
    const group *g = (const group *)c;
    return rank < 0 ? -1 : g->all->rank % g->stride + rank * g->stride;
}

static lmb_status exchange(lmb_comm *c, const void *send, int to, void *recv, int from, size_t n, lmb_error *err)
{
    lmb_comm *all = ((group *)c)->all;
    return all->exchange(all, send, outside(c, to), recv, outside(c, from), n, err);
}

static lmb_status broadcast(lmb_comm *c, void *data, size_t n, int root, lmb_error *err)
{
    if (c->rank != root)
        return exchange(c, NULL, -1, data, root, n, err);
    for (int r = 0; r < c->size; r++)
        if (r != root)
            LMB_TRY(exchange(c, data, r, NULL, -1, n, err));
    return LMB_OK;
}

/* In round k everybody sends to the k-th behind, and hears of the k-th in front. */
static lmb_status gather_all(lmb_comm *c, const void *mine, void *all, size_t n, lmb_error *err)
{
    memcpy((char *)all + (size_t)c->rank * n, mine, n);
    for (int k = 1; k < c->size; k++) {
        int from = (c->rank + c->size - k) % c->size;
        LMB_TRY(exchange(c, mine, (c->rank + k) % c->size, (char *)all + (size_t)from * n, from, n, err));
    }
    return LMB_OK;
}

static void end(lmb_comm *c) { free(c); }
static void end_all(lmb_comm *c, int code) { ((group *)c)->all->abort(((group *)c)->all, code); }

static lmb_status share(lmb_comm *c, size_t bytes, const lmb_shared **out, lmb_error *err)
{
    (void)c, (void)bytes, (void)err;
    *out = NULL;
    return LMB_OK;
}

static void unshare(lmb_comm *c, const lmb_shared *s) { (void)c, (void)s; }

lmb_status lmb_comm_group(lmb_comm *all, int stride, lmb_comm **out, lmb_error *err)
{
    group *g = malloc(sizeof *g);

    if (!g)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a group of ranks");
    *g = (group){ { all->rank / stride, (all->size - all->rank % stride + stride - 1) / stride, all->name, exchange,
                    broadcast, gather_all, end, end_all, all->any_thread, share, unshare },
                  all,
                  stride };
    *out = &g->base;
    return LMB_OK;
}
