/* core/edge/plan.h - static memory plan: a place for every tensor so that no two alive at once overlap.
 *
 * Greedy best fit, largest tensor first (the greedy planner of TensorFlow Lite Micro): each block goes into the
 * smallest gap, among the blocks already placed whose lives touch its own, that holds it. A tensor that takes the
 * place of another (`shares`) forms one block with it.
 */
#ifndef LMB_CORE_EDGE_PLAN_H
#define LMB_CORE_EDGE_PLAN_H

#include <stdint.h>

typedef struct lmbi_edge_life {
    uint64_t bytes;
    int first, last; /* times, inclusive                                          */
    int shares;      /* an earlier tensor of the same size whose place it takes, or -1 */
    uint64_t place;  /* out: multiple of 64                                       */
} lmbi_edge_life;

/* Fills `place` of all n. `order` is room for n numbers. Returns the bytes of the arena. */
uint64_t lmbi_edge_plan(lmbi_edge_life *t, int n, int *order);

#endif
