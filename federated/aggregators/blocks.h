/* federated/aggregators/blocks.h - walking over all updates of a round, a block of coordinates at a time.
 *
 * Idea: a row that needs all updates sees a matrix [updates][coordinates] that may be far larger than memory. It is
 * read in column blocks of about 4 MB.
 */
#ifndef LMB_FEDERATED_AGGREGATORS_BLOCKS_H
#define LMB_FEDERATED_AGGREGATORS_BLOCKS_H

#include "federated/aggregator.h"

typedef struct lmbi_blocks {
    const lmb_updates *u;
    size_t at, count; /* the block at hand: coordinates [at, at + count) */
    size_t width;     /* of a row of `rows`                              */
    float *rows;      /* [updates][width]                                */
} lmbi_blocks;

LMB_MUST_CHECK lmb_status lmbi_blocks_open(lmbi_blocks *b, const lmb_updates *u, lmb_error *err);
/* The next block; *more is false behind the last. */
LMB_MUST_CHECK lmb_status lmbi_blocks_next(lmbi_blocks *b, bool *more, lmb_error *err);
void lmbi_blocks_close(lmbi_blocks *b);

#endif
