/* distill/search/moves_share.c - one rank's moves on all ranks: see moves.h.
 *
 * What a move is goes from rank 0 to the others, and what each channel is worth, by which shrinking chooses. The map of
 * channels each makes of its own graph; decompositions are computed where a layer is factorised.
 */
#include <stdlib.h>

#include "distill/search/moves.h"

typedef struct counts { int64_t moves, bases, channels; } counts;

/* Room for rank 0's moves. */
static lmb_status make_room(lmb_moves *m, const lmb_graph *g, const counts *n, lmb_error *err)
{
    m->g = g;
    LMB_TRY(lmb_axis_map_create(g, &m->map, err));
    if (m->map->n_channels != n->channels)
        return LMB_FAIL(err, LMB_E_PEER, "a model of %lld channels, rank 0 has one of %lld: is it the same file?",
                        (long long)m->map->n_channels, (long long)n->channels);
    m->move = calloc((size_t)n->moves + 1, sizeof *m->move);
    m->score = malloc(sizeof *m->score * ((size_t)n->channels + 1));
    m->basis = calloc((size_t)n->bases + 1, sizeof *m->basis);
    if (!m->move || !m->score || !m->basis)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld moves", (long long)n->moves);
    m->n = m->room = (int)n->moves;
    m->n_bases = (int)n->bases;
    return LMB_OK;
}

lmb_status lmb_moves_share(lmb_moves *m, const lmb_graph *g, lmb_comm *comm, lmb_error *err)
{
    counts n = { m->n, m->n_bases, m->map ? m->map->n_channels : 0 };

    LMB_TRY(comm->broadcast(comm, &n, sizeof n, 0, err));
    lmb_status st = comm->rank ? make_room(m, g, &n, err) : LMB_OK;
    if (st == LMB_OK)
        st = comm->broadcast(comm, m->score, sizeof *m->score * (size_t)n.channels, 0, err);
    if (st == LMB_OK)
        st = comm->broadcast(comm, m->move, sizeof *m->move * (size_t)n.moves, 0, err);
    if (st != LMB_OK && comm->rank)
        lmb_moves_free(m);
    return st;
}
