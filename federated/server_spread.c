/* federated/server_spread.c - what the clients of a round have told of how they fare, when it ends. */
#include <math.h>
#include <stdlib.h>

#include "federated/server_parts.h"

lmb_status lmbi_round_spread(lmb_server *s, lmb_error *err)
{
    size_t all = 0, n;

    for (const member *m = s->members; m; m = m->next)
        all++;
    double *v = malloc((all + 1) * sizeof *v);
    if (!v)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for what %zu clients have told", all);
    for (int k = 0; k < LMB_FARES; k++) {
        n = 0;
        for (const member *m = s->members; m; m = m->next)
            if (m->status == MEMBER_DELIVERED && !isnan(m->fare[k]))
                v[n++] = m->fare[k];
        s->report.fare[k] = lmb_spread_of(v, n);
    }
    free(v);
    return LMB_OK;
}
