/* distill/prune/lineage.h - where the numbers of a smaller model come from.
 *
 * Idea: for each segment of the new state, the old segment and, along each axis, the old indices that are left. What is
 * as long as the state goes the same way: weights, their average, an optimizer's slots, masks.
 *
 *   owns     a lineage owns its arrays
 *   threads  read-only once made
 */
#ifndef LMB_DISTILL_PRUNE_LINEAGE_H
#define LMB_DISTILL_PRUNE_LINEAGE_H

#include "core/graph/state.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Old indices that are left along an axis; n < 0: all of them. */
typedef struct lmb_kept { int64_t n; int64_t *index; } lmb_kept;

typedef struct lmb_lineage_row {
    lmb_shape was;
    size_t from, to; /* offsets in the old and the new state, in floats */
    lmb_kept kept[LMB_MAX_DIMS];
} lmb_lineage_row;

typedef struct lmb_lineage {
    int n;                    /* segments, in the order of the new state */
    lmb_lineage_row *row;
    size_t count_was, count;  /* floats of the old and the new state */
} lmb_lineage;

void lmb_lineage_destroy(lmb_lineage *l);
/* A vector over the old state becomes one over the new: from [count_was], to [count]. */
void lmb_lineage_carry(const lmb_lineage *l, const float *from, float *to);

/* The elements of a tensor that are left, in order; `size` bytes each. */
void lmbi_gather(const void *from, const lmb_shape *was, const lmb_kept *kept, size_t size, void *to);

#ifdef __cplusplus
}
#endif
#endif
