/* core/edge/plan.c - see plan.h. Quadratic in the number of tensors, of which there are at most a thousand. */
#include "core/edge/plan.h"

static uint64_t aligned(uint64_t bytes) { return (bytes + 63) & ~(uint64_t)63; }

static int together(const lmbi_edge_life *a, const lmbi_edge_life *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Merge sharers into the tensor that comes first, whose life grows; returns the blocks, largest first. */
static int collect_blocks(lmbi_edge_life *t, int n, int *order)
{
    int blocks = 0;
    for (int i = n - 1; i >= 0; i--) /* back to front: a chain of sharers adds up in its head */
        if (t[i].shares >= 0 && t[i].last > t[t[i].shares].last)
            t[t[i].shares].last = t[i].last;
    for (int i = 0; i < n; i++) {
        if (t[i].shares >= 0)
            continue;
        int j = blocks++;
        for (; j > 0 && t[order[j - 1]].bytes < t[i].bytes; j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
    return blocks;
}

/* Smallest gap between the placed blocks (sorted by place) that live together with `b`. */
static uint64_t best_fit(const lmbi_edge_life *t, const int *placed, int n, const lmbi_edge_life *b)
{
    uint64_t end = 0, best = 0, best_gap = UINT64_MAX;
    for (int i = 0; i < n; i++) {
        const lmbi_edge_life *p = &t[placed[i]];
        if (!together(p, b))
            continue;
        if (p->place >= end && p->place - end >= b->bytes && p->place - end < best_gap) {
            best = end;
            best_gap = p->place - end;
        }
        if (aligned(p->place + p->bytes) > end)
            end = aligned(p->place + p->bytes);
    }
    return best_gap == UINT64_MAX ? end : best;
}

uint64_t lmbi_edge_plan(lmbi_edge_life *t, int n, int *order)
{
    uint64_t arena = 0;
    int blocks = collect_blocks(t, n, order);
    for (int i = 0; i < blocks; i++) {
        int b = order[i], j = i;
        t[b].place = best_fit(t, order, i, &t[b]);
        if (t[b].place + t[b].bytes > arena)
            arena = t[b].place + t[b].bytes;
        for (; j > 0 && t[order[j - 1]].place > t[b].place; j--) /* keep the placed part sorted by place */
            order[j] = order[j - 1];
        order[j] = b;
    }
    for (int i = 0; i < n; i++)
        if (t[i].shares >= 0)
            t[i].place = t[t[i].shares].place;
    return arena;
}
