/* launch/groups.c - see groups.h. */
#include "launch/groups.h"

#include <stdlib.h>

typedef struct group_config {
    int64_t clients;
    const lmb_tree *model;
} group_config;
static const lmb_field group_fields[] = {
    LMB_INT(group_config, clients, 1, 1, 100000, "", "of this group; the last ones of all"),
    LMB_TREE(group_config, model, "name and options"),
    LMB_FIELD_END,
};

static lmb_status divide(const lmb_federation_config *c, lmb_client_group *out, int n, lmb_error *err)
{
    const lmb_tree *t = c->groups ? c->groups->child : NULL;
    int64_t listed = 0;
    group_config g;

    for (int k = 1; k < n; k++, t = t->next) {
        LMB_TRY(lmb_fields_bind(group_fields, t, &g, err));
        if (!g.model)
            return lmb_tree_fail(t, err, LMB_E_ARG, "a group of clients needs a `model`");
        listed += g.clients;
        if (listed >= c->clients)
            return lmb_tree_fail(
                t, err, LMB_E_ARG,
                "federation.groups has more clients than the %lld of the federation (federation.clients), less one",
                (long long)c->clients);
        out[k] = (lmb_client_group){ 0, g.clients, g.model };
    }
    out[0].clients = c->clients - listed;
    for (int k = 1; k < n; k++)
        out[k].from = out[k - 1].from + out[k - 1].clients;
    return LMB_OK;
}

lmb_status lmb_client_groups(const lmb_federation_config *c, lmb_client_group **out, int *n, lmb_error *err)
{
    const lmb_tree *list = c->groups;

    if (list && list->kind != LMB_TREE_LIST)
        return lmb_tree_fail(list, err, LMB_E_ARG, "federation.groups is a list of {clients, model}");
    if (list && !c->distill)
        return lmb_tree_fail(
            list, err, LMB_E_ARG,
            "clients with different models learn from each other through federation.distill alone; add that section");
    *n = 1 + (list ? (int)lmb_tree_count(list) : 0);
    *out = calloc((size_t)*n, sizeof **out);
    if (!*out)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d groups", *n);
    lmb_status st = divide(c, *out, *n, err);
    if (st != LMB_OK)
        free(*out);
    return st;
}
