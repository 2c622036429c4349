/* distill/search/round.c - what all ranks do of a search. See search.h.
 *
 *   moves        each rank tries some of those that rank 0 found (probe.h)
 *   candidates   rank 0 writes their models and says which points they are; rank r trains and judges every one whose
 *                place in the round is r, modulo the ranks
 *   finish       the last trainings, one batch shared by all (judge.h)
 *
 * Rank 0 gives the orders and decides. Models go through files, with one rank as well, so that the bits do not tell how
 * many there were.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/onnx/onnx.h"
#include "distill/search/internal.h"
#include "distill/search/probe.h"

typedef enum { END, TRY_MOVES, CANDIDATES, FINISH } task;
/*   TRY_MOVES   of point `from`, as `id` will be chosen
 *   CANDIDATES  points id .. id + n
 *   FINISH      point `from` becomes `id` */
typedef struct order { int64_t what, from, id, n; } order;

static lmb_status give(const lmbi_search *s, order o, lmb_error *err)
{
    return s->r->comm->broadcast(s->r->comm, &o, sizeof o, 0, err);
}

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

/* `model` into the file of its number, and as integers from there: what a search that goes on will have. */
static lmb_status settle_in(lmbi_search *s, int id, const lmb_graph *model, lmb_graph **frozen, lmb_error *err)
{
    lmb_graph *kept;

    LMB_TRY(lmbi_search_write(s, id, model, err));
    LMB_TRY(lmbi_search_read(s, id, &kept, err));
    lmb_status st = lmb_judge_quantise(s->judge, kept, frozen, err);
    lmb_graph_destroy(kept);
    return st;
}

/* One candidate, from its model to its outcome. If its training diverges it stays as it was. */
static lmb_status work(lmbi_search *s, int id, lmbi_outcome *out, lmb_error *err)
{
    lmb_graph *model = NULL, *tuned = NULL, *frozen = NULL;
    lmb_status st;

    LMB_TRY(lmbi_search_read(s, id, &model, err));
    LMB_TRY_GOTO(st, done, lmb_graph_copy(model, &tuned, err));
    st = lmb_judge_tune(s->judge, tuned, id, err);
    if (st == LMB_OK)
        st = settle_in(s, id, tuned, &frozen, err);
    out->diverged = st == LMB_E_NUMERIC;
    if (out->diverged) {
        lmb_error_clear(err);
        st = settle_in(s, id, model, &frozen, err);
    }
    if (st == LMB_OK)
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
        st = work(s, (int)(o->id + k), &mine[k], err);
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
    order o = { CANDIDATES, -1, first, n };

    LMB_TRY(give(s, o, err));
    return share(s, &o, out, err);
}

/* ---- moves ---- */

static lmb_status try_moves(const lmbi_search *s, int id, lmb_moves *m, lmb_error *err)
{
    const lmb_search_config *c = s->r->c;
    lmb_probe_config pc = { c->probe,
                            (uint64_t)(c->seed + id),
                            c->tune.backend,
                            (int)s->jc.tune.threads,
                            c->distill.temperature,
                            s->r->watch.work.work,
                            s->r->watch.work.ctx,
                            s->r->comm };
    return lmb_probe_moves(m, s->r->train, &pc, err);
}

lmb_status lmbi_round_try(lmbi_search *s, int from, int id, lmb_moves *m, lmb_error *err)
{
    LMB_TRY(give(s, (order){ TRY_MOVES, from, id, 0 }, err));
    LMB_TRY(lmb_moves_share(m, m->g, s->r->comm, err));
    return try_moves(s, id, m, err);
}

static lmb_status help_to_try(const lmbi_search *s, const order *o, lmb_error *err)
{
    lmb_graph *model = NULL;
    lmb_moves m = { 0 };

    LMB_TRY(lmbi_search_read(s, (int)o->from, &model, err));
    lmb_status st = lmb_moves_share(&m, model, s->r->comm, err);
    if (st == LMB_OK)
        st = try_moves(s, (int)o->id, &m, err);
    lmb_moves_free(&m);
    lmb_graph_destroy(model);
    return st;
}

/* ---- the last trainings ---- */

static lmb_status finish(lmbi_search *s, const order *o, lmb_graph **frozen, lmb_judge_last *last, lmb_error *err)
{
    lmb_graph *model = NULL;

    LMB_TRY(lmbi_search_read(s, (int)o->from, &model, err));
    lmb_status st = lmb_judge_finish(s->judge, model, (int)o->id, frozen, last, err);
    lmb_graph_destroy(model);
    return st;
}

lmb_status lmbi_round_last_lessons(lmbi_search *s, int of, int id, lmb_graph **frozen, lmb_judge_last *last,
                                   lmb_error *err)
{
    order o = { FINISH, of, id, 0 };

    if (lmb_judge_on_all(s->judge))
        LMB_TRY(give(s, o, err));
    return finish(s, &o, frozen, last, err);
}

static lmb_status help_to_finish(lmbi_search *s, const order *o, lmb_error *err)
{
    lmb_graph *frozen = NULL; /* rank 0 has the same */
    lmb_judge_last last = { 0 };
    lmb_status st = finish(s, o, &frozen, &last, err);

    lmb_graph_destroy(last.floats);
    lmb_graph_destroy(frozen);
    return st;
}

/* ---- the other ranks ---- */

lmb_status lmbi_round_serve(lmbi_search *s, lmb_error *err)
{
    lmbi_outcome out[LMB_SEARCH_CANDIDATES];

    for (;;) {
        order o = { END, -1, -1, 0 };
        lmb_status st = LMB_OK;
        LMB_TRY(s->r->comm->broadcast(s->r->comm, &o, sizeof o, 0, err));
        switch ((task)o.what) {
        case END: return LMB_OK;
        case TRY_MOVES: st = help_to_try(s, &o, err); break;
        case CANDIDATES: st = share(s, &o, out, err); break;
        case FINISH: st = help_to_finish(s, &o, err); break;
        }
        if (st != LMB_OK && st != LMB_E_STOPPED) /* after a stop rank 0 says that it is over */
            return st;
    }
}

lmb_status lmbi_round_end(lmbi_search *s, lmb_error *err) { return give(s, (order){ END, -1, -1, 0 }, err); }
