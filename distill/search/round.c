/* distill/search/round.c - candidates of a step, shared by all ranks. See search.h.
 *
 * Rank 0 writes the candidates' models and says which points they are; rank r trains and judges every one whose place
 * in the round is r, modulo the ranks. All goes through files, with one rank as well, so that the bits do not tell how
 * many there were.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/onnx/onnx.h"
#include "distill/search/internal.h"

typedef struct order { int64_t first, n; } order; /* n 0: the search is over */

/* The .lmb, as it was judged, says so. */
static lmb_status write_lmb(const lmbi_search *s, int id, const lmb_deployed *d, const lmbi_outcome *o, lmb_error *err)
{
    lmb_facts f = s->facts;
    lmb_str file = LMB_STR_INIT;
    char path[LMB_SEARCH_PATH];

    f.point = id;
    f.right = o->right;
    f.samples = o->pair.n;
    lmb_str_add_n(&file, d->file.text, d->file.n);
    lmb_status st = lmb_str_check(&file, err);
    if (st == LMB_OK)
        st = lmb_facts_put(&file, &f, err);
    if (st == LMB_OK)
        st = lmb_search_file(path, s->r->folder, id, "model.lmb", err);
    if (st == LMB_OK)
        st = lmb_file_write(path, file.text, file.n, err);
    lmb_str_free(&file);
    return st;
}

static lmb_status write_deployed(const lmbi_search *s, int id, const lmb_graph *frozen, const lmb_graph *qdq,
                                 const lmb_deployed *d, const lmbi_outcome *o, lmb_error *err)
{
    const lmb_onnx_export_options strict = { .strict = true };
    char path[LMB_SEARCH_PATH];

    LMB_TRY(lmb_search_file(path, s->r->folder, id, "", err));
    LMB_TRY(lmb_file_make_dirs(path, err));
    LMB_TRY(lmb_search_file(path, s->r->folder, id, "qat.onnx", err));
    LMB_TRY(lmb_onnx_write(path, frozen, NULL, err));
    LMB_TRY(lmb_search_file(path, s->r->folder, id, "model-int8.onnx", err));
    LMB_TRY(lmb_onnx_write(path, qdq, &strict, err));
    return write_lmb(s, id, d, o, err);
}

lmb_status lmbi_round_deploy(lmbi_search *s, int id, const lmb_graph *frozen, lmbi_outcome *out, lmb_error *err)
{
    lmb_deployed d = { .file = LMB_STR_INIT };
    lmb_graph *qdq = NULL;

    LMB_TRY(lmb_deployed_real(frozen, &d, &qdq, err));
    lmb_status st = lmb_judge_compare(s->judge, &d, &out->pair, &out->right, err);
    if (st == LMB_OK)
        st = write_deployed(s, id, frozen, qdq, &d, out, err);
    lmb_graph_destroy(qdq);
    lmb_deployed_free(&d);
    return st;
}

/* One candidate, from its model to its outcome. */
static lmb_status work(lmbi_search *s, int id, lmbi_outcome *out, lmb_error *err)
{
    lmb_graph *model = NULL, *tuned = NULL, *frozen = NULL;
    lmb_status st;

    LMB_TRY(lmbi_search_read(s, id, &model, err));
    LMB_TRY_GOTO(st, done, lmb_judge_tune(s->judge, model, id, err));
    LMB_TRY_GOTO(st, done, lmbi_search_write(s, id, model, err));
    LMB_TRY_GOTO(st, done, lmbi_search_read(s, id, &tuned, err)); /* what a search that goes on will have */
    LMB_TRY_GOTO(st, done, lmb_judge_quantise(s->judge, tuned, &frozen, err));
    st = lmbi_round_deploy(s, id, frozen, out, err);
done:
    lmb_graph_destroy(model);
    lmb_graph_destroy(tuned);
    lmb_graph_destroy(frozen);
    return st;
}

/* This rank's part, then everyone's outcomes. E_STOPPED on all ranks when one was stopped. */
static lmb_status share(lmbi_search *s, const order *o, lmbi_outcome *out, lmb_error *err)
{
    lmb_comm *c = s->r->comm;
    size_t n = (size_t)o->n;
    lmbi_outcome *all = calloc(n * (size_t)c->size + n, sizeof *all), *mine = all ? all + n * (size_t)c->size : NULL;
    lmb_status st = all ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a round of %zu candidates", n);

    for (int64_t k = c->rank; st == LMB_OK && k < o->n; k += c->size) {
        st = work(s, (int)(o->first + k), &mine[k], err);
        mine[k].status = st;
    }
    if (st == LMB_OK || st == LMB_E_STOPPED) /* any other failure ends all ranks (lmb_comm.abort) */
        if (mine && c->gather_all(c, mine, all, n * sizeof *mine, err) != LMB_OK)
            st = LMB_E_PEER;
    for (size_t k = 0; st == LMB_OK && k < n * (size_t)c->size; k++)
        if (all[k].status == LMB_E_STOPPED)
            st = LMB_E_STOPPED;
    for (size_t k = 0; st == LMB_OK && k < n; k++)
        out[k] = all[(k % (size_t)c->size) * n + k];
    free(all);
    return st;
}

lmb_status lmbi_round_run(lmbi_search *s, int first, int n, lmbi_outcome *out, lmb_error *err)
{
    order o = { first, n };

    LMB_TRY(s->r->comm->broadcast(s->r->comm, &o, sizeof o, 0, err));
    return share(s, &o, out, err);
}

lmb_status lmbi_round_serve(lmbi_search *s, lmb_error *err)
{
    lmbi_outcome out[LMB_SEARCH_CANDIDATES];

    for (;;) {
        order o = { 0, 0 };
        LMB_TRY(s->r->comm->broadcast(s->r->comm, &o, sizeof o, 0, err));
        if (o.n == 0)
            return LMB_OK;
        lmb_status st = share(s, &o, out, err);
        if (st != LMB_OK && st != LMB_E_STOPPED) /* after a stop rank 0 says that it is over */
            return st;
    }
}

lmb_status lmbi_round_end(lmbi_search *s, lmb_error *err)
{
    order o = { 0, 0 };
    return s->r->comm->broadcast(s->r->comm, &o, sizeof o, 0, err);
}
