/* comm/scatter.h - the sum over ranks, of which each rank keeps a part; and the parts put together again.
 *
 * Idea: recursive halving. Ranks that differ in bit 0 exchange halves of the vector and add up what they keep, then
 * those that differ in bit 1, and so on: every number is added along the tree of lmb_comm_reduce_all(), so the bits are
 * the same, and a rank sends less than one vector. Putting together runs the same steps backwards. Ranks beyond the
 * largest power of two hand their vector to a partner and keep no part.
 *
 *   part     of rank r: its bits reversed, which is where halving from bit 0 on leaves it
 *   cut      [lmb_comm_parts + 1] ascending positions: part k is v[cut[k] .. cut[k + 1]), which may be empty
 *   scratch  room for as many floats as lie between the first and the last cut
 *   source   Thakur, Rabenseifner, Gropp 2005, section 4.3 (recursive halving)
 */
#ifndef LMB_COMM_SCATTER_H
#define LMB_COMM_SCATTER_H

#include "comm/collective.h"

#ifdef __cplusplus
extern "C" {
#endif

int lmb_comm_parts(const lmb_comm *c);            /* the largest power of two of ranks */
int lmb_comm_keeper(const lmb_comm *c, int part); /* the rank that keeps it           */

/* This rank's part of v = combination over all ranks; the rest of v is left in between. */
LMB_MUST_CHECK lmb_status lmb_comm_reduce_scatter(lmb_comm *c, float *v, float *scratch, const size_t *cut,
                                                  lmb_combine combine, void *ctx, lmb_error *err);
/* All parts of v from the ranks that keep them. */
LMB_MUST_CHECK lmb_status lmb_comm_gather_parts(lmb_comm *c, float *v, float *scratch, const size_t *cut,
                                                lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
