/* core/edge/within.c - working memory within a bound: what the fastest kernels may take of it. A file of its own, so that
 * a program which does not ask has none of it. */
#include "core/edge/internal.h"

lmb_edge_status lmb_edge_within(lmb_edge_model *m, size_t bytes)
{
    uint64_t before = m->scratch_max;
    m->scratch_max = 0;
    size_t least = lmb_edge_arena_bytes(m);
    m->scratch_max = bytes < least ? before : bytes - least;
    if (bytes < least)
        return LMB_EDGE_E_ARG;
    m->steps = NULL; /* what was packed was packed for other kernels */
    return LMB_EDGE_OK;
}
