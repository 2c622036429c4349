/* distill/search/move_blocks.h - the move "this residual block goes, its shortcut stays". Private to moves.c. */
#ifndef LMB_DISTILL_SEARCH_MOVE_BLOCKS_H
#define LMB_DISTILL_SEARCH_MOVE_BLOCKS_H

#include "distill/search/moves.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A move for each block, with what its channels are worth together. */
lmb_status lmbi_blocks_find(lmb_moves *m, const lmb_taylor *taylor, lmb_latency *latency, lmb_error *err);
/* *g, the caller's, without the blocks of some moves. */
lmb_status lmbi_blocks_apply(const lmb_moves *m, const int *which, int n, lmb_graph **g, lmb_error *err);
/* Does the other move change only what would go? */
bool lmbi_blocks_clash(const lmb_moves *m, const lmb_move *block, const lmb_move *other);

#ifdef __cplusplus
}
#endif
#endif
