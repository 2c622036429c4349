/* core/edge/plan.c - place activations in one arena.
 *
 * Idea: the steps and their order are known, so every tensor's life is an interval. Tensors are placed largest
 * first; each goes into the smallest gap left between those already placed that live at the same time, or on top of
 * them. Simple, and for chains with residual branches usually optimal: the arena is then the largest set of tensors
 * that live together.
 *
 *   source   greedy by size: Pisarchyk, Lee 2020, Efficient memory management for deep neural net inference,
 *            arXiv:2001.03288; the planner of TensorFlow Lite Micro is of the same kind
 */
#include <stdlib.h>

#include "core/edge/write.h"

enum { ALIGN = 16 };

static uint64_t padded(uint64_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

typedef struct {
    const uint64_t *bytes, *offset;
    const uint32_t *birth, *death;
    const uint32_t *placed; /* by ascending offset */
    uint32_t n_placed;
} layout;

/* The best place for tensor t among the placed ones. */
static uint64_t best_gap(const layout *l, uint32_t t)
{
    uint64_t end = 0, best = UINT64_MAX, best_size = UINT64_MAX;
    uint32_t i;
    for (i = 0; i < l->n_placed; i++) {
        uint32_t p = l->placed[i];
        if (l->death[p] < l->birth[t] || l->birth[p] > l->death[t])
            continue;
        if (l->offset[p] > end && l->offset[p] - end >= padded(l->bytes[t]) && l->offset[p] - end < best_size) {
            best = end;
            best_size = l->offset[p] - end;
        }
        if (l->offset[p] + padded(l->bytes[p]) > end)
            end = l->offset[p] + padded(l->bytes[p]);
    }
    return best != UINT64_MAX ? best : end;
}

/* Largest first, earlier first among equals, so that the result does not depend on a sort's whims. */
static void order_by_size(const uint64_t *bytes, uint32_t *order, uint32_t n)
{
    uint32_t i, j;
    for (i = 1; i < n; i++) {
        uint32_t t = order[i];
        for (j = i; j > 0 && bytes[order[j - 1]] < bytes[t]; j--)
            order[j] = order[j - 1];
        order[j] = t;
    }
}

uint64_t lmb_edge_plan(const uint64_t *bytes, const uint32_t *birth, const uint32_t *death, const uint32_t *owner,
                       uint32_t n, uint64_t *offset)
{
    uint32_t *order = malloc(2 * (size_t)n * sizeof *order + 1), *placed = order + n;
    layout l = { bytes, offset, birth, death, placed, 0 };
    uint32_t owners = 0, i, j;
    uint64_t arena = 0;
    if (!order)
        return UINT64_MAX;
    for (i = 0; i < n; i++)
        if (owner[i] == i)
            order[owners++] = i;
    order_by_size(bytes, order, owners);
    for (i = 0; i < owners; i++) {
        uint32_t t = order[i];
        offset[t] = best_gap(&l, t);
        for (j = l.n_placed++; j > 0 && offset[placed[j - 1]] > offset[t]; j--)
            placed[j] = placed[j - 1];
        placed[j] = t;
        if (offset[t] + padded(bytes[t]) > arena)
            arena = offset[t] + padded(bytes[t]);
    }
    for (i = 0; i < n; i++)
        if (owner[i] != i)
            offset[i] = offset[owner[i]];
    free(order);
    return arena;
}
