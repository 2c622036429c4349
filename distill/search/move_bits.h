/* distill/search/move_bits.h - the move "fewer bits for this layer's weights". Private to moves.c. */
#ifndef LMB_DISTILL_SEARCH_MOVE_BITS_H
#define LMB_DISTILL_SEARCH_MOVE_BITS_H

#include "distill/quantize/bits.h"
#include "distill/search/moves.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Moves to the next fewer bits of each layer, down to bits_min, with what rounding to them adds to the loss. */
lmb_status lmbi_bits_find(lmb_moves *m, int bits_min, const lmb_taylor *taylor, lmb_latency *latency, lmb_error *err);
/* The weight of that name in g says its new bits. */
void lmbi_bits_apply(lmb_graph *g, const lmb_move *move);

#ifdef __cplusplus
}
#endif
#endif
