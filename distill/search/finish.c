/* distill/search/finish.c - the last training of what may go out. See search.h. */
#include <stdlib.h>
#include <string.h>

#include "distill/search/internal.h"

/* A point's deployed file beside that of its parent, on the held-out samples. */
static lmb_status against_parent(lmbi_search *s, lmb_point *p, lmb_error *err)
{
    char path[LMB_SEARCH_PATH];
    lmb_deployed was, is;

    LMB_TRY(lmb_search_file(path, s->r->folder, p->parent, "model.lmb", err));
    LMB_TRY(lmb_deployed_read(path, &was, err));
    lmb_status st = lmb_search_file(path, s->r->folder, p->id, "model.lmb", err);
    if (st == LMB_OK && (st = lmb_deployed_read(path, &is, err)) == LMB_OK) {
        st = lmb_judge_against(s->judge, &was, &is, &p->before, err);
        lmb_deployed_free(&is);
    }
    lmb_deployed_free(&was);
    return st;
}

/* The finished form of point `of`, made if it is not there. good: one of the two is within the accuracy. */
static lmb_status finish_one(lmbi_search *s, int of, bool *good, lmb_error *err)
{
    lmb_graph *frozen = NULL;

    *good = lmbi_search_loses_little(s, &s->points->point[of], 0);
    for (int i = 0; i < s->points->n; i++)
        if (s->points->point[i].kind == LMB_POINT_FINISHED && s->points->point[i].parent == of) {
            *good |= s->points->point[i].accepted;
            lmb_judge_forget(s->judge, i); /* it may have been killed before it could */
            return LMB_OK;
        }
    lmb_point p = { .id = s->points->n,
                    .parent = of,
                    .round = lmbi_search_next_round(s),
                    .kind = LMB_POINT_FINISHED,
                    .goal = s->points->point[of].goal };
    lmbi_outcome o = { .status = LMB_OK };
    lmb_judge_last last = { 0 };
    memcpy(p.predicted, s->points->point[of].predicted, sizeof p.predicted);
    LMB_TRY(lmb_latency_ready(s->latency, err)); /* nothing is trained that nobody could measure */
    lmb_status st = lmbi_round_last_lessons(s, of, p.id, &frozen, &last, err);
    p.proof = last.proof;
    o.diverged = last.diverged;
    if (st == LMB_OK)
        st = lmbi_search_write(s, p.id, last.floats, err);
    if (st == LMB_OK)
        st = lmbi_round_deploy(s, p.id, frozen, &o, err);
    lmb_graph_destroy(last.floats);
    lmb_graph_destroy(frozen);
    LMB_TRY(st);
    LMB_TRY(against_parent(s, &p, err));
    LMB_TRY(lmbi_search_settle(s, &p, &o, 1, 0, err));
    lmb_judge_forget(s->judge, p.id);
    *good |= s->points->point[s->points->n - 1].accepted;
    return LMB_OK;
}

/* What may be finished, from the teacher on: the accepted points that keep all limits of costs, which no training
 * changes; all of them if none does. */
static int chain_of(const lmbi_search *s, int *chain)
{
    int n = 0;

    for (int within = 1; within >= 0 && !n; within--)
        for (int i = 0; i < s->points->n; i++) {
            const lmb_point *p = &s->points->point[i];
            bool met;
            (void)lmb_budget_next(&s->budget, p->cost, &met);
            if (p->accepted && p->kind != LMB_POINT_FINISHED && (met || !within))
                chain[n++] = i;
        }
    return n;
}

/* The cheapest accepted point that is within the accuracy once it is finished, found by halving. */
lmb_status lmbi_search_finish(lmbi_search *s, lmb_error *err)
{
    int *chain = malloc(sizeof *chain * (size_t)s->points->n), n = chain ? chain_of(s, chain) : 0;
    bool good = false;
    lmb_status st = chain ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d points", s->points->n);

    if (st == LMB_OK)
        st = finish_one(s, chain[n - 1], &good, err);
    for (int lo = 0, hi = n - 2; st == LMB_OK && !good && lo <= hi;) {
        bool mid_good;
        int mid = (lo + hi + 1) / 2;
        /* a longer training makes the teacher no cheaper */
        if (chain[mid] == 0 && lmbi_search_loses_little(s, &s->points->point[0], 0))
            break;
        st = finish_one(s, chain[mid], &mid_good, err);
        if (mid_good)
            lo = mid + 1;
        else
            hi = mid - 1;
    }
    free(chain);
    return st;
}
