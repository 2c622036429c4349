/* launch/groups.h - `federation.groups`: clients of a simulation that have other models than the configuration's. */
#ifndef LMB_LAUNCH_GROUPS_H
#define LMB_LAUNCH_GROUPS_H

#include "launch/federation.h"

typedef struct lmb_client_group {
    int64_t from, clients; /* of the federation's clients */
    const lmb_tree *model; /* NULL: the configuration's */
} lmb_client_group;

/* The clients of the listed groups are the last ones; the first group has the others, and the configuration's `model`.
 *   owns    out, for free()
 *   errors  E_ARG names what to change */
LMB_MUST_CHECK lmb_status lmb_client_groups(const lmb_federation_config *c, lmb_client_group **out, int *n,
                                            lmb_error *err);

#endif
