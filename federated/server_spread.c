/* federated/server_spread.c - what the clients of a round have told of how they fare, until it ends. */
#include <math.h>
#include <stdlib.h>

#include "federated/server_parts.h"

void lmbi_fares_begin(lmb_server *s)
{
    for (int k = 0; k < LMB_FARES; k++)
        s->fare[k].n = 0;
}

void lmbi_fares_add(lmb_server *s, const lmb_figures *told)
{
    double fare[LMB_FARES];

    lmb_fares_of(told, fare);
    for (int k = 0; k < LMB_FARES; k++) {
        lmbi_fares *f = &s->fare[k];
        if (isnan(fare[k]))
            continue;
        if (f->n == f->cap) {
            double *more = realloc(f->v, (f->cap ? 2 * f->cap : 64) * sizeof *more);
            if (!more)
                continue; /* a figure less; the round does not depend on it */
            f->v = more;
            f->cap = f->cap ? 2 * f->cap : 64;
        }
        f->v[f->n++] = fare[k];
    }
}

void lmbi_fares_end(lmb_server *s)
{
    for (int k = 0; k < LMB_FARES; k++)
        s->report.fare[k] = lmb_spread_of(s->fare[k].v, s->fare[k].n);
}

void lmbi_fares_free(lmb_server *s)
{
    for (int k = 0; k < LMB_FARES; k++)
        free(s->fare[k].v);
}
